// SPDX-License-Identifier: Apache-2.0
#include "config/wire/snapshot_codec.hpp"

#include <string_view>
#include <utility>

namespace weft::wire {
namespace {

/// Optional indices travel as index + 1, so that 0 is "none".
uint32_t plus_one(uint32_t index) {
    return index == config::none ? 0 : index + 1;
}

std::string bytes_of(const IpAddress& address) {
    return {reinterpret_cast<const char*>(address.bytes.data()), address.bytes.size()};
}

/// A field of length-delimited wire type; its number is below 16.
void append_bytes(int field, std::string_view bytes, std::string& out) {
    constexpr unsigned length_delimited = 2;
    out += static_cast<char>(static_cast<unsigned>(field) << 3U | length_delimited);
    size_t length = bytes.size();
    for (; length >= 0x80; length >>= 7U)
        out += static_cast<char>(length | 0x80U);
    out += static_cast<char>(length);
    out += bytes;
}
/// As proto3 does: an empty one is not written.
void append_text(int field, std::string_view text, std::string& out) {
    if (!text.empty())
        append_bytes(field, text, out);
}

void encode(const config::Workload& from, proto::Workload& to) {
    to.set_ns(from.ns);
    to.set_pod(from.pod);
    to.set_service_account(from.service_account);
    to.set_name(from.name);
    to.set_canonical_service(from.canonical_service);
    to.set_canonical_revision(from.canonical_revision);
    to.set_app(from.app);
    to.set_version(from.version);
    to.set_principal(from.principal);
    for (const auto& address : from.addresses)
        to.add_addresses(bytes_of(address));
}

void encode(const config::Cluster& from, proto::Cluster& to) {
    to.set_ns(from.ns);
    to.set_service(from.service);
    to.set_host(from.host);
    to.set_port(from.port);
    to.set_protocol(std::to_underlying(from.protocol));
    for (const auto& endpoint : from.endpoints) {
        auto& item = *to.add_endpoints();
        item.mutable_address()->set_ip(bytes_of(endpoint.address.address));
        item.mutable_address()->set_port(endpoint.address.port);
        item.set_workload(plus_one(endpoint.workload));
        item.set_local_pod(endpoint.local_pod);
    }
}

void encode(const config::Frontend& from, proto::Frontend& to) {
    to.set_id(from.id);
    for (const auto& address : from.addresses)
        to.add_addresses(bytes_of(address));
    to.set_port(from.port);
    to.set_ns(from.ns);
    to.set_service(from.service);
    to.set_host(from.host);
    to.set_protocol(std::to_underlying(from.protocol));
    to.set_l7(from.l7);
    to.set_cluster(plus_one(from.cluster));
    to.set_routes(plus_one(from.routes));
    to.set_policies(plus_one(from.policies));
    for (const auto& routes : from.consumer_routes) {
        auto& item = *to.add_consumer_routes();
        item.set_client_namespace(routes.client_namespace);
        item.set_table(plus_one(routes.table));
    }
}

void encode(const config::RouteMatch::Pair& from, proto::Pair& to) {
    to.set_name(from.name);
    to.set_value(from.value);
}

void encode(const config::RouteTable& from, proto::RouteTable& to) {
    for (const auto& entry : from.entries) {
        auto& item = *to.add_entries();
        item.set_exact(entry.match.path_kind == config::RouteMatch::Path::exact);
        item.set_path(entry.match.path);
        item.set_method(entry.match.method);
        for (const auto& header : entry.match.headers)
            encode(header, *item.add_headers());
        for (const auto& query : entry.match.queries)
            encode(query, *item.add_queries());
        for (const auto& hostname : entry.match.hostnames)
            item.add_hostnames(hostname);
        item.set_rule(entry.rule);
    }
    for (const auto& rule : from.rules) {
        auto& item = *to.add_rules();
        item.set_route(rule.route);
        item.set_name(rule.name);
        for (const auto& backend : rule.backends) {
            auto& weighted = *item.add_backends();
            weighted.set_cluster(plus_one(backend.cluster));
            weighted.set_weight(backend.weight);
        }
    }
}

void encode(const config::StringPattern& from, proto::StringPattern& to) {
    to.set_kind(std::to_underlying(from.kind));
    to.set_value(from.value);
}
void encode(const config::PathPattern& from, proto::PathPattern& to) {
    to.set_is_template(from.is_template);
    if (from.is_template)
        to.set_pattern(from.pattern);
    else
        encode(from.text, *to.mutable_text());
}
void encode(const config::ServiceAccountRef& from, proto::ServiceAccountRef& to) {
    to.set_ns(from.ns);
    to.set_name(from.name);
}
void encode(const Cidr& from, proto::Block& to) {
    to.set_ip(bytes_of(from.address));
    to.set_bits(from.prefix_bits);
}

/// Any pair of lists of messages. `open` makes the message only if there is something to say.
template <class T, class Open>
void encode_matches(const config::Matches<T>& from, Open&& open) {
    if (from.empty())
        return;
    auto& to = *open();
    for (const auto& value : from.values)
        encode(value, *to.add_values());
    for (const auto& value : from.not_values)
        encode(value, *to.add_not_values());
}
/// The same for lists of plain values: namespaces, ports.
template <class T, class Open>
void encode_plain(const config::Matches<T>& from, Open&& open) {
    if (from.empty())
        return;
    auto& to = *open();
    for (const auto& value : from.values)
        to.add_values(value);
    for (const auto& value : from.not_values)
        to.add_not_values(value);
}

void encode(const config::PolicySource& from, proto::PolicySource& to) {
    encode_matches(from.principals, [&] { return to.mutable_principals(); });
    encode_plain(from.namespaces, [&] { return to.mutable_namespaces(); });
    encode_matches(from.service_accounts, [&] { return to.mutable_service_accounts(); });
    encode_matches(from.ip_blocks, [&] { return to.mutable_ip_blocks(); });
    encode_matches(from.remote_ip_blocks, [&] { return to.mutable_remote_ip_blocks(); });
}

void encode(const config::PolicyOperation& from, proto::PolicyOperation& to) {
    encode_matches(from.hosts, [&] { return to.mutable_hosts(); });
    encode_plain(from.ports, [&] { return to.mutable_ports(); });
    encode_matches(from.methods, [&] { return to.mutable_methods(); });
    encode_matches(from.paths, [&] { return to.mutable_paths(); });
}

void encode(const config::PolicyCondition& from, proto::PolicyCondition& to) {
    to.set_key(std::to_underlying(from.key));
    to.set_header(from.header);
    encode_matches(from.strings, [&] { return to.mutable_strings(); });
    encode_plain(from.namespaces, [&] { return to.mutable_namespaces(); });
    encode_matches(from.service_accounts, [&] { return to.mutable_service_accounts(); });
    encode_matches(from.blocks, [&] { return to.mutable_blocks(); });
    encode_plain(from.ports, [&] { return to.mutable_ports(); });
}

void encode(const config::Policy& from, proto::Policy& to) {
    to.set_ns(from.ns);
    to.set_name(from.name);
    to.set_deny(from.action == config::Policy::Action::deny);
    for (const auto& rule : from.rules) {
        auto& item = *to.add_rules();
        for (const auto& source : rule.from)
            encode(source, *item.add_from());
        for (const auto& operation : rule.to)
            encode(operation, *item.add_to());
        for (const auto& condition : rule.when)
            encode(condition, *item.add_when());
    }
}

void encode(const config::PolicySet& from, proto::PolicySet& to) {
    for (const uint32_t index : from.deny)
        to.add_deny(index);
    for (const uint32_t index : from.allow)
        to.add_allow(index);
}

void encode(const config::LocalPod& from, proto::LocalPod& to) {
    to.set_id(from.id);
    to.set_workload(plus_one(from.workload));
    for (const auto& inbound : from.inbound) {
        auto& item = *to.add_inbound();
        item.set_port(inbound.port);
        item.set_protocol(std::to_underlying(inbound.protocol));
        for (const auto& guard : inbound.guards) {
            auto& out = *item.add_guards();
            out.set_policies(plus_one(guard.policies));
            out.set_destination_port(guard.destination_port);
            out.set_frontend(plus_one(guard.frontend));
        }
    }
}

} // namespace

void to_proto(const config::Snapshot& snapshot, proto::Snapshot& out) {
    to_proto_without_workloads(snapshot, out);
    for (const auto& workload : snapshot.workloads)
        encode(workload, *out.add_workloads());
}

void append_workloads(std::span<const config::Workload> workloads, std::string& out) {
    using F = proto::Workload;
    std::string one;
    for (const auto& from : workloads) {
        one.clear();
        append_text(F::kNsFieldNumber, from.ns, one);
        append_text(F::kPodFieldNumber, from.pod, one);
        append_text(F::kServiceAccountFieldNumber, from.service_account, one);
        append_text(F::kNameFieldNumber, from.name, one);
        append_text(F::kCanonicalServiceFieldNumber, from.canonical_service, one);
        append_text(F::kCanonicalRevisionFieldNumber, from.canonical_revision, one);
        append_text(F::kAppFieldNumber, from.app, one);
        append_text(F::kVersionFieldNumber, from.version, one);
        append_text(F::kPrincipalFieldNumber, from.principal, one);
        for (const auto& address : from.addresses)
            append_bytes(F::kAddressesFieldNumber, bytes_of(address), one);
        append_bytes(proto::Snapshot::kWorkloadsFieldNumber, one, out);
    }
}

void append_snapshot(std::string_view snapshot, std::string& out) {
    append_bytes(proto::ToEngine::kSnapshotFieldNumber, snapshot, out);
}

void to_proto_without_workloads(const config::Snapshot& snapshot, proto::Snapshot& out) {
    out.Clear();
    out.set_generation(snapshot.generation);
    out.set_trust_domain(snapshot.trust_domain);
    out.set_cluster_id(snapshot.cluster_id);
    for (const auto& cluster : snapshot.clusters)
        encode(cluster, *out.add_clusters());
    for (const auto& frontend : snapshot.frontends)
        encode(frontend, *out.add_frontends());
    for (const auto& table : snapshot.route_tables)
        encode(table, *out.add_route_tables());
    for (const auto& policy : snapshot.policies)
        encode(policy, *out.add_policies());
    for (const auto& set : snapshot.policy_sets)
        encode(set, *out.add_policy_sets());
    for (const auto& pod : snapshot.pods)
        encode(pod, *out.add_pods());
}

proto::Snapshot to_proto(const config::Snapshot& snapshot) {
    proto::Snapshot out;
    to_proto(snapshot, out);
    return out;
}

} // namespace weft::wire
