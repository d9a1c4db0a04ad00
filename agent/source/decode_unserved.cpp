// SPDX-License-Identifier: Apache-2.0
#include "agent/source/decode.hpp"

/// Kinds that are read so that nobody believes them to be served: refused whole, with whom they concern.
namespace weft::agent {
namespace {

template <class Route>
void decode_route(Fields& object, Route& out) {
    object.faults().push({.field = "kind",
                          .message = std::string(Route::kind) + "s are not served by this release",
                          .unsupported = true});
    object.map("spec", [&](Fields& spec) {
        out.parents = decode_parents(spec, out.meta.ns);
        spec.ignore({"hostnames", "rules", "useDefaultGateways"});
    });
    object.ignore({"status"});
}

} // namespace

void decode(Fields& object, GrpcRoute& out) {
    decode_route(object, out);
}
void decode(Fields& object, TcpRoute& out) {
    decode_route(object, out);
}
void decode(Fields& object, TlsRoute& out) {
    decode_route(object, out);
}

void decode(Fields& object, RequestAuthentication& out) {
    object.faults().push(
        {.field = "kind", .message = "RequestAuthentications are not served by this release", .unsupported = true});
    object.map("spec", [&](Fields& spec) {
        spec.ignore({"jwtRules", "selector"});
        if (spec.has("targetRefs") || spec.has("targetRef"))
            out.targets = decode_targets(spec, out.meta.ns);
    });
    object.ignore({"status"});
}

} // namespace weft::agent
