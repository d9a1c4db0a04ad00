// SPDX-License-Identifier: Apache-2.0
#include <unordered_map>

#include "config/model/limits.hpp"
#include "config/wire/decoder.hpp"
#include "config/wire/policy_decode.hpp"
#include "config/wire/snapshot_codec.hpp"

namespace weft::wire {
namespace {

namespace limits = config::limits;

/// Decodes one snapshot. Sizes of the other lists are taken from the message, so that indices can point forward.
class SnapshotDecoder {
public:
    /// `workloads`: how many there are that indices may name.
    SnapshotDecoder(const proto::Snapshot& message, size_t workloads) : in_(message), workloads_(workloads) {}

    bool run();
    config::Snapshot out;
    Decoder check;

private:
    bool workload(const At& at, const proto::Workload& in, config::Workload& to);
    bool protocol(const At& at, uint32_t in, config::Protocol& to);
    bool endpoint(const At& at, const proto::Endpoint& in, config::Endpoint& to);
    bool cluster(const At& at, const proto::Cluster& in, config::Cluster& to);
    bool frontend(const At& at, const proto::Frontend& in, config::Frontend& to);
    bool entry(const At& at, const proto::RouteEntry& in, size_t rules, config::RouteEntry& to);
    bool rule(const At& at, const proto::RouteRule& in, config::RouteRule& to);
    bool table(const At& at, const proto::RouteTable& in, config::RouteTable& to);
    bool policy_set(const At& at, const proto::PolicySet& in, config::PolicySet& to);
    bool pod(const At& at, const proto::LocalPod& in, config::LocalPod& to);
    bool inbound(const At& at, const proto::InboundPort& in, config::InboundPort& to);
    bool unique_frontends();
    bool known_pods();

    const proto::Snapshot& in_;
    const size_t workloads_;
};

size_t size_of(const auto& repeated) {
    return static_cast<size_t>(repeated.size());
}

bool SnapshotDecoder::run() {
    out.generation = in_.generation();
    const At top;
    const auto each = [&](std::string_view field, const auto& from, size_t max, auto& to, auto member) {
        return check.each(At{&top, field}, from, max, to, [&](const At& at, const auto& item, auto& decoded) {
            return (this->*member)(at, item, decoded);
        });
    };
    using Self = SnapshotDecoder;
    return check.text(At{&top, "trust_domain"}, in_.trust_domain(), out.trust_domain) &&
           check.text(At{&top, "cluster_id"}, in_.cluster_id(), out.cluster_id) &&
           each("workloads", in_.workloads(), limits::workloads_max, out.workloads, &Self::workload) &&
           each("clusters", in_.clusters(), limits::clusters_max, out.clusters, &Self::cluster) &&
           each("frontends", in_.frontends(), limits::frontends_max, out.frontends, &Self::frontend) &&
           each("route_tables", in_.route_tables(), limits::route_tables_max, out.route_tables, &Self::table) &&
           check.each(At{&top, "policies"}, in_.policies(), limits::policies_max, out.policies,
                      [&](const At& at, const auto& item, auto& to) { return decode_policy(check, at, item, to); }) &&
           each("policy_sets", in_.policy_sets(), limits::policy_sets_max, out.policy_sets, &Self::policy_set) &&
           each("pods", in_.pods(), limits::pods_max, out.pods, &Self::pod) && unique_frontends() && known_pods();
}

bool SnapshotDecoder::workload(const At& at, const proto::Workload& in, config::Workload& to) {
    return check.text(At{&at, "ns"}, in.ns(), to.ns) && check.text(At{&at, "pod"}, in.pod(), to.pod) &&
           check.text(At{&at, "service_account"}, in.service_account(), to.service_account) &&
           check.text(At{&at, "name"}, in.name(), to.name) &&
           check.text(At{&at, "canonical_service"}, in.canonical_service(), to.canonical_service) &&
           check.text(At{&at, "canonical_revision"}, in.canonical_revision(), to.canonical_revision) &&
           check.text(At{&at, "app"}, in.app(), to.app) && check.text(At{&at, "version"}, in.version(), to.version) &&
           check.text(At{&at, "principal"}, in.principal(), to.principal) &&
           check.each(
               At{&at, "addresses"}, in.addresses(), limits::addresses_max, to.addresses,
               [&](const At& item, const auto& from, auto& address) { return check.address(item, from, address); });
}

bool SnapshotDecoder::protocol(const At& at, uint32_t in, config::Protocol& to) {
    return check.enumerator(At{&at, "protocol"}, in, config::Protocol::tcp, to);
}

bool SnapshotDecoder::endpoint(const At& at, const proto::Endpoint& in, config::Endpoint& to) {
    const At address{&at, "address"};
    to.local_pod = in.local_pod(); // known_pods() checks it
    return check.address(At{&address, "ip"}, in.address().ip(), to.address.address) &&
           check.port(At{&address, "port"}, in.address().port(), to.address.port) &&
           check.optional_index(At{&at, "workload"}, in.workload(), workloads_, to.workload);
}

bool SnapshotDecoder::cluster(const At& at, const proto::Cluster& in, config::Cluster& to) {
    return check.text(At{&at, "ns"}, in.ns(), to.ns) && check.text(At{&at, "service"}, in.service(), to.service) &&
           check.text(At{&at, "host"}, in.host(), to.host) && check.port(At{&at, "port"}, in.port(), to.port) &&
           protocol(at, in.protocol(), to.protocol) &&
           check.each(At{&at, "endpoints"}, in.endpoints(), limits::endpoints_max, to.endpoints,
                      [&](const At& item, const auto& from, auto& decoded) { return endpoint(item, from, decoded); });
}

bool SnapshotDecoder::frontend(const At& at, const proto::Frontend& in, config::Frontend& to) {
    if (in.id() < limits::service_id_min || in.id() > limits::service_id_max)
        return check.fail(At{&at, "id"}, "no service id: " + std::to_string(in.id()));
    to.id = in.id();
    to.l7 = in.l7();
    const auto consumer = [&](const At& item, const proto::ConsumerRoutes& from, config::ConsumerRoutes& routes) {
        if (from.table() == 0)
            return check.fail(At{&item, "table"}, "is missing");
        return check.name(At{&item, "client_namespace"}, from.client_namespace(), routes.client_namespace) &&
               check.optional_index(At{&item, "table"}, from.table(), size_of(in_.route_tables()), routes.table);
    };
    return check.each(
               At{&at, "addresses"}, in.addresses(), limits::addresses_max, to.addresses,
               [&](const At& item, const auto& from, auto& address) { return check.address(item, from, address); }) &&
           check.port(At{&at, "port"}, in.port(), to.port) && check.text(At{&at, "ns"}, in.ns(), to.ns) &&
           check.text(At{&at, "service"}, in.service(), to.service) &&
           check.text(At{&at, "host"}, in.host(), to.host) && protocol(at, in.protocol(), to.protocol) &&
           check.optional_index(At{&at, "cluster"}, in.cluster(), size_of(in_.clusters()), to.cluster) &&
           check.optional_index(At{&at, "routes"}, in.routes(), size_of(in_.route_tables()), to.routes) &&
           check.optional_index(At{&at, "policies"}, in.policies(), size_of(in_.policy_sets()), to.policies) &&
           check.each(At{&at, "consumer_routes"}, in.consumer_routes(), limits::consumer_routes_max, to.consumer_routes,
                      consumer);
}

bool SnapshotDecoder::entry(const At& at, const proto::RouteEntry& in, size_t rules, config::RouteEntry& to) {
    auto& match = to.match;
    match.path_kind = in.exact() ? config::RouteMatch::Path::exact : config::RouteMatch::Path::prefix;
    if (!in.path().starts_with('/'))
        return check.fail(At{&at, "path"}, "does not start with /");
    if (in.path().size() > limits::route_path_bytes_max)
        return check.fail(At{&at, "path"}, std::to_string(in.path().size()) + " bytes, the limit is " +
                                               std::to_string(limits::route_path_bytes_max));
    if (!in.exact() && in.path().size() > 1 && in.path().ends_with('/'))
        return check.fail(At{&at, "path"}, "a prefix that ends in /");
    match.path = in.path();
    const auto pair = [&](const At& item, const proto::Pair& from, config::RouteMatch::Pair& out_pair) {
        return check.name(At{&item, "name"}, from.name(), out_pair.name) &&
               check.text(At{&item, "value"}, from.value(), out_pair.value);
    };
    return check.text(At{&at, "method"}, in.method(), match.method) &&
           check.each(At{&at, "headers"}, in.headers(), limits::route_pairs_max, match.headers, pair) &&
           check.each(At{&at, "queries"}, in.queries(), limits::route_pairs_max, match.queries, pair) &&
           check.each(At{&at, "hostnames"}, in.hostnames(), limits::route_hostnames_max, match.hostnames,
                      [&](const At& item, const auto& from, auto& name) { return check.name(item, from, name); }) &&
           check.index(At{&at, "rule"}, in.rule(), rules, to.rule);
}

bool SnapshotDecoder::rule(const At& at, const proto::RouteRule& in, config::RouteRule& to) {
    const auto backend = [&](const At& item, const proto::WeightedCluster& from, config::WeightedCluster& weighted) {
        if (from.weight() > limits::route_weight_max)
            return check.fail(At{&item, "weight"}, std::to_string(from.weight()) + ", the limit is " +
                                                       std::to_string(limits::route_weight_max));
        weighted.weight = from.weight();
        return check.optional_index(At{&item, "cluster"}, from.cluster(), size_of(in_.clusters()), weighted.cluster);
    };
    return check.text(At{&at, "route"}, in.route(), to.route) && check.text(At{&at, "name"}, in.name(), to.name) &&
           check.each(At{&at, "backends"}, in.backends(), limits::route_backends_max, to.backends, backend);
}

bool SnapshotDecoder::table(const At& at, const proto::RouteTable& in, config::RouteTable& to) {
    return check.each(At{&at, "rules"}, in.rules(), limits::route_rules_max, to.rules,
                      [&](const At& item, const auto& from, auto& decoded) { return rule(item, from, decoded); }) &&
           check.each(At{&at, "entries"}, in.entries(), limits::route_entries_max, to.entries,
                      [&](const At& item, const auto& from, auto& decoded) {
                          return entry(item, from, size_of(in.rules()), decoded);
                      });
}

bool SnapshotDecoder::policy_set(const At& at, const proto::PolicySet& in, config::PolicySet& to) {
    // A policy in the list of the other action would do the opposite of what it says.
    const auto of_action = [&](bool deny) {
        return [this, deny](const At& item, uint32_t from, uint32_t& index) {
            if (!check.index(item, from, size_of(in_.policies()), index))
                return false;
            if (in_.policies(static_cast<int>(index)).deny() != deny)
                return check.fail(item, "policy " + std::to_string(index) + " has the other action");
            return true;
        };
    };
    return check.each(At{&at, "deny"}, in.deny(), limits::policies_per_set_max, to.deny, of_action(true)) &&
           check.each(At{&at, "allow"}, in.allow(), limits::policies_per_set_max, to.allow, of_action(false));
}

bool SnapshotDecoder::pod(const At& at, const proto::LocalPod& in, config::LocalPod& to) {
    if (in.id() == 0)
        return check.fail(At{&at, "id"}, "is 0");
    to.id = in.id();
    if (!check.optional_index(At{&at, "workload"}, in.workload(), workloads_, to.workload) ||
        !check.each(At{&at, "inbound"}, in.inbound(), limits::inbound_ports_max, to.inbound,
                    [&](const At& item, const auto& from, auto& decoded) { return inbound(item, from, decoded); }))
        return false;
    for (size_t i = 1; i < to.inbound.size(); ++i) {
        if (to.inbound[i - 1].port >= to.inbound[i].port)
            return check.fail(At{&at, "inbound", static_cast<int>(i)}, "ports are not in ascending order");
    }
    return true;
}

bool SnapshotDecoder::inbound(const At& at, const proto::InboundPort& in, config::InboundPort& to) {
    const auto guard = [&](const At& item, const proto::Guard& from, config::Guard& decoded) {
        return check.optional_index(At{&item, "policies"}, from.policies(), size_of(in_.policy_sets()),
                                    decoded.policies) &&
               check.port(At{&item, "destination_port"}, from.destination_port(), decoded.destination_port) &&
               check.optional_index(At{&item, "frontend"}, from.frontend(), size_of(in_.frontends()), decoded.frontend);
    };
    return check.port(At{&at, "port"}, in.port(), to.port) && protocol(at, in.protocol(), to.protocol) &&
           check.each(At{&at, "guards"}, in.guards(), limits::guards_max, to.guards, guard);
}

/// One id and one address name one service: otherwise nobody could say whose policies hold.
bool SnapshotDecoder::unique_frontends() {
    std::unordered_map<uint32_t, size_t> ids;
    std::unordered_map<SocketAddress, size_t> addresses;
    for (size_t i = 0; i < out.frontends.size(); ++i) {
        const auto& frontend = out.frontends[i];
        const At at{nullptr, "frontends", static_cast<int>(i)};
        if (const auto [first, fresh] = ids.emplace(frontend.id, i); !fresh)
            return check.fail(At{&at, "id"}, std::to_string(frontend.id) + " is the id of frontends[" +
                                                 std::to_string(first->second) + "] too");
        for (size_t a = 0; a < frontend.addresses.size(); ++a) {
            const SocketAddress address{frontend.addresses[a], frontend.port};
            if (const auto [first, fresh] = addresses.emplace(address, i); !fresh)
                return check.fail(At{&at, "addresses", static_cast<int>(a)},
                                  address.to_string() + " is an address of frontends[" + std::to_string(first->second) +
                                      "] too");
        }
    }
    return true;
}

/// Pod ids are unique, and an endpoint on this node names one of them.
bool SnapshotDecoder::known_pods() {
    std::unordered_map<uint32_t, size_t> ids;
    for (size_t i = 0; i < out.pods.size(); ++i) {
        const At at{nullptr, "pods", static_cast<int>(i)};
        if (const auto [first, fresh] = ids.emplace(out.pods[i].id, i); !fresh)
            return check.fail(At{&at, "id"}, std::to_string(out.pods[i].id) + " is the id of pods[" +
                                                 std::to_string(first->second) + "] too");
    }
    for (size_t c = 0; c < out.clusters.size(); ++c) {
        for (size_t e = 0; e < out.clusters[c].endpoints.size(); ++e) {
            const uint32_t id = out.clusters[c].endpoints[e].local_pod;
            if (id == 0 || ids.contains(id))
                continue;
            const At of_cluster{nullptr, "clusters", static_cast<int>(c)};
            const At at{&of_cluster, "endpoints", static_cast<int>(e)};
            return check.fail(At{&at, "local_pod"}, "no pod " + std::to_string(id));
        }
    }
    return true;
}

} // namespace

std::expected<config::Snapshot, std::string> from_proto(const proto::Snapshot& message) {
    return from_proto_part(message, size_of(message.workloads()));
}

std::expected<config::Snapshot, std::string> from_proto_part(const proto::Snapshot& message, size_t workloads) {
    SnapshotDecoder decoder(message, workloads);
    if (!decoder.run())
        return std::unexpected(decoder.check.fault());
    return std::move(decoder.out);
}

} // namespace weft::wire
