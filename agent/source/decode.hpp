// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "agent/source/fields.hpp"
#include "agent/source/objects.hpp"

/// From one manifest to one typed object, strictly. `object` views the whole document with apiVersion and kind already
/// read; `meta` is decoded. Anything wrong is added to the faults, and then the result must not be used.
namespace weft::agent {

void decode(Fields& object, Namespace& out);
void decode(Fields& object, Pod& out);
void decode(Fields& object, Service& out);
void decode(Fields& object, EndpointSlice& out);
void decode(Fields& object, GatewayClass& out);
void decode(Fields& object, Gateway& out);
void decode(Fields& object, HttpRoute& out);
void decode(Fields& object, AuthorizationPolicy& out);
void decode(Fields& object, GrpcRoute& out);
void decode(Fields& object, TcpRoute& out);
void decode(Fields& object, TlsRoute& out);
void decode(Fields& object, RequestAuthentication& out);

void decode_meta(Fields& meta, ObjectMeta& out);
/// Whether decode_meta() keeps an annotation of that name.
[[nodiscard]] bool is_read_annotation(std::string_view name);
/// One rules[] entry of an AuthorizationPolicy in namespace `ns`.
void decode_policy_rule(Fields& rule, const std::string& ns, config::PolicyRule& out);
LabelSelector decode_selector(Fields& selector);
/// spec.parentRefs of any route in namespace `ns`.
std::vector<HttpRoute::Parent> decode_parents(Fields& spec, const std::string& ns);
/// spec.selector, targetRefs and targetRef of any policy in namespace `ns`.
std::vector<AuthorizationPolicy::Target> decode_targets(Fields& spec, const std::string& ns);

} // namespace weft::agent
