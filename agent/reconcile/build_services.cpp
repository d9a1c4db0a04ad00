// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "agent/reconcile/build.hpp"
#include "config/model/limits.hpp"

/// Services, where their ports lead, and how clients dial them.
namespace weft::agent {
namespace {

std::optional<uint16_t> target_port(const ServicePort& port, const Pod& pod) {
    if (const auto* number = std::get_if<uint16_t>(&port.target))
        return *number;
    const auto& name = std::get<std::string>(port.target);
    for (const auto& each : pod.ports) {
        if (each.name == name && each.protocol == port.protocol)
            return each.port;
    }
    return std::nullopt;
}

bool wants(const Service& service, const IpAddress& address) {
    return address.is_v4() ? service.ipv4 : service.ipv6;
}

void add_selected(const Build& build, const ServiceBuild& service, const PortBuild& port, bool authoritative,
                  std::vector<Member>& out) {
    for (const uint32_t index : service.selected) {
        const auto& item = build.pods.items()[index];
        const auto target = target_port(*port.port, *item.pod);
        if (!target)
            continue;
        const bool ready = service.service->publish_not_ready || (item.pod->ready && !item.pod->meta.deleting);
        const bool any_family = !service.service->ipv4 && !service.service->ipv6;
        bool first = true;
        for (const auto& address : item.pod->host_network ? item.pod->addresses : item.addresses) {
            const bool endpoint = any_family ? std::exchange(first, false) : wants(*service.service, address);
            out.push_back({.address = {.address = address, .port = *target},
                           .pod = index,
                           .ready = ready,
                           .authoritative = authoritative && endpoint});
        }
    }
}

void add_sliced(const Build& build, const ServiceBuild& service, const PortBuild& port, std::vector<Member>& out) {
    for (const auto* slice : service.slices) {
        for (const auto& each : slice->ports) {
            if (each.name != port.port->name || each.protocol != port.port->protocol || !each.port)
                continue;
            for (const auto& endpoint : slice->endpoints) {
                for (const auto& address : endpoint.addresses)
                    out.push_back({.address = {.address = address, .port = *each.port},
                                   .pod = build.pods.by_address(address),
                                   .ready = endpoint.ready,
                                   .authoritative = true});
            }
        }
    }
}

void index_services(Build& build) {
    for (const auto& [name, entry] : build.store.all<Service>()) {
        if (!entry.good)
            continue;
        auto& service = build.services[name];
        service.service = entry.good.get();
        service.name = name;
        service.age = age_of(name, entry);
        if (!service.service->external_name)
            service.selected = build.pods.select(name.ns, service.service->selector);
        for (const auto& port : service.service->ports)
            service.ports.push_back({.port = &port,
                                     .protocol = app_protocol(port),
                                     .cluster = config::none,
                                     .frontend = config::none,
                                     .producer = {},
                                     .consumer = {}});
    }
    for (const auto& [name, entry] : build.store.all<EndpointSlice>()) {
        if (!entry.good || entry.good->service.empty())
            continue;
        if (auto* service = build.service({.ns = name.ns, .name = entry.good->service}))
            service->slices.push_back(entry.good.get());
    }
}

/// Of two services with one cluster address and port, the older one answers.
void claim_addresses(Build& build) {
    std::vector<ServiceBuild*> order;
    for (auto& [name, service] : build.services)
        order.push_back(&service);
    std::sort(order.begin(), order.end(), [](const auto* left, const auto* right) { return left->age < right->age; });
    std::unordered_map<IpAddress, const ServiceBuild*> owners;
    for (auto* service : order) {
        for (const auto& address : service->service->cluster_ips) {
            const auto [owner, fresh] = owners.emplace(address, service);
            if (fresh)
                service->vips.push_back(address);
            else
                build.diagnose(object_id(Service::kind, service->name), "spec.clusterIPs",
                               address.to_string() + " is also the address of the older " +
                                   object_id(Service::kind, owner->second->name) + ", which keeps it",
                               Diagnostic::Severity::error);
        }
    }
}

std::string host_of(const Build& build, const ObjectName& service) {
    return service.name + "." + service.ns + ".svc." + build.options.cluster_domain;
}

/// port.cluster stays `none` where there is no room: then the port has no frontend either, and no route leads to it.
void add_cluster(Build& build, const ServiceBuild& service, PortBuild& port) {
    if (build.out.snapshot.clusters.size() >= config::limits::clusters_max)
        return build.diagnose(object_id(Service::kind, service.name), "",
                              "not served: more than " + std::to_string(config::limits::clusters_max) +
                                  " ports of services",
                              Diagnostic::Severity::error);
    config::Cluster cluster{.ns = service.name.ns,
                            .service = service.name.name,
                            .host = host_of(build, service.name),
                            .port = port.port->port,
                            .protocol = port.protocol,
                            .endpoints = {}};
    for (const auto& member : members_of(build, service, port)) {
        if (!member.authoritative || !member.ready)
            continue;
        if (!cluster.endpoints.empty() && cluster.endpoints.back().address == member.address)
            continue;
        const bool known = member.pod != PodIndex::none;
        cluster.endpoints.push_back({.address = member.address,
                                     .workload = known ? member.pod : config::none,
                                     .local_pod = known ? build.local_ids[member.pod] : 0});
    }
    if (cluster.endpoints.size() > config::limits::endpoints_max) {
        build.diagnose(object_id(Service::kind, service.name), "",
                       "has " + std::to_string(cluster.endpoints.size()) + " endpoints; only the first " +
                           std::to_string(config::limits::endpoints_max) + " are used",
                       Diagnostic::Severity::error);
        cluster.endpoints.resize(config::limits::endpoints_max);
    }
    port.cluster = static_cast<uint32_t>(build.out.snapshot.clusters.size());
    build.out.snapshot.clusters.push_back(std::move(cluster));
}

void add_frontend(Build& build, const ServiceBuild& service, PortBuild& port) {
    auto& frontends = build.out.snapshot.frontends;
    if (frontends.size() >= config::limits::frontends_max)
        return build.diagnose(object_id(Service::kind, service.name), "",
                              "not served: more than " + std::to_string(config::limits::frontends_max) +
                                  " service ports",
                              Diagnostic::Severity::error);
    config::Frontend frontend;
    frontend.addresses = service.vips;
    frontend.port = port.port->port;
    frontend.ns = service.name.ns;
    frontend.service = service.name.name;
    frontend.host = host_of(build, service.name);
    frontend.protocol = port.protocol;
    frontend.cluster = port.cluster;
    if (const auto fault = give_ids(build, frontend))
        return build.diagnose(object_id(Service::kind, service.name), "", *fault, Diagnostic::Severity::error);
    port.frontend = static_cast<uint32_t>(frontends.size());
    frontends.push_back(std::move(frontend));
}

} // namespace

std::vector<Member> members_of(const Build& build, const ServiceBuild& service, const PortBuild& port) {
    std::vector<Member> out;
    add_selected(build, service, port, service.slices.empty(), out);
    add_sliced(build, service, port, out);
    // One address may be named several times: the entry that makes it a ready endpoint comes first.
    std::sort(out.begin(), out.end(), [](const Member& left, const Member& right) {
        return std::tuple(left.address, !left.authoritative, !left.ready, left.pod) <
               std::tuple(right.address, !right.authoritative, !right.ready, right.pod);
    });
    return out;
}

void build_services(Build& build) {
    index_services(build);
    claim_addresses(build);
    for (auto& [name, service] : build.services) {
        for (auto& port : service.ports) {
            if (port.port->protocol != Protocol::tcp)
                continue;
            add_cluster(build, service, port);
            if (!service.vips.empty() && port.cluster != config::none)
                add_frontend(build, service, port);
        }
    }
}

} // namespace weft::agent
