// SPDX-License-Identifier: Apache-2.0
#include "agent/reconcile/app_protocol.hpp"

#include <algorithm>
#include <span>
#include <string_view>

#include "agent/source/names.hpp"

namespace weft::agent {
namespace {

using Speaks = config::Protocol; ///< beside the transport, agent::Protocol

struct Name {
    std::string_view name;
    Speaks protocol;
};

/// Names that Kubernetes defines for appProtocol; no port can be called so.
constexpr Name kubernetes_names[] = {
    {"kubernetes.io/h2c", Speaks::http2}, {"kubernetes.io/ws", Speaks::http1}, {"kubernetes.io/wss", Speaks::tls}};

constexpr Name istio_names[] = {
    {"http", Speaks::http1}, {"http_proxy", Speaks::http1}, {"http2", Speaks::http2}, {"grpc", Speaks::grpc},
    {"https", Speaks::tls},  {"tls", Speaks::tls},          {"tcp", Speaks::tcp},     {"udp", Speaks::tcp},
    {"mongo", Speaks::tcp},  {"mysql", Speaks::tcp},        {"redis", Speaks::tcp},
};

Speaks find(std::span<const Name> names, std::string_view name) {
    const auto found = std::ranges::find(names, name, &Name::name);
    return found == names.end() ? Speaks::undeclared : found->protocol;
}

bool speaks_server_first(uint16_t port) {
    return std::ranges::find(server_first_ports, port) != server_first_ports.end();
}

} // namespace

config::Protocol app_protocol(const ServicePort& port) {
    if (port.protocol != Protocol::tcp)
        return Speaks::tcp;
    const std::string name = names::lower_case(port.app_protocol.value_or(port.name));
    // The one name with a dash inside.
    if (name.starts_with("grpc-web"))
        return Speaks::grpc;
    Speaks declared = port.app_protocol ? find(kubernetes_names, name) : Speaks::undeclared;
    if (declared == Speaks::undeclared)
        declared = find(istio_names, std::string_view(name).substr(0, name.find('-')));
    if (declared == Speaks::undeclared && speaks_server_first(port.port))
        return Speaks::tcp;
    return declared;
}

} // namespace weft::agent
