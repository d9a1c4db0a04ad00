// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "agent/reconcile/build.hpp"
#include "bpf/abi.h"

/// Service addresses as the connect hook knows them, and their ids.
namespace weft::agent {
namespace {

/// Ids of addresses that no service has now are remembered up to here; a forgotten one gets a new id, never an old one.
constexpr size_t remembered_ids_max = 4 * WEFT_SERVICES_MAX;

std::vector<SocketAddress> backends_of(const config::Cluster& cluster, bool v4) {
    std::vector<SocketAddress> out;
    for (const auto& endpoint : cluster.endpoints) {
        if (endpoint.address.address.is_v4() == v4)
            out.push_back(endpoint.address);
    }
    std::sort(out.begin(), out.end());
    return out;
}

void complain(Build& build, const config::Frontend& frontend, const std::string& message) {
    build.diagnose(object_id(Service::kind, {frontend.ns, frontend.service}), "", message, Diagnostic::Severity::error);
}

void add_service(Build& build, const config::Frontend& frontend, const IpAddress& address, size_t& backends_left) {
    const SocketAddress key{.address = address, .port = frontend.port};
    auto backends = backends_of(build.out.snapshot.clusters[frontend.cluster], address.is_v4());
    if (backends.size() > backends_left) {
        complain(build, frontend, "the kernel's table of endpoints is full: only the engine can reach this service");
        backends.clear();
    }
    backends_left -= backends.size();
    build.out.kernel.services[key] = {.id = build.out.service_ids.by_address.at(key),
                                      .l7 = frontend.l7,
                                      .translate = build.options.translate,
                                      .fail_closed = frontend.policies != config::none,
                                      .backends = std::move(backends)};
}

void forget(const KernelState& kernel, ServiceIds& ids) {
    for (auto each = ids.by_address.begin();
         each != ids.by_address.end() && ids.by_address.size() > remembered_ids_max;)
        each = kernel.services.contains(each->first) ? std::next(each) : ids.by_address.erase(each);
}

} // namespace

std::optional<std::string> give_ids(Build& build, config::Frontend& frontend) {
    if (build.addresses_served + frontend.addresses.size() > WEFT_SERVICES_MAX)
        return "not served: the kernel's table of services is full";
    auto& ids = build.out.service_ids;
    for (const auto& address : frontend.addresses) {
        const SocketAddress key{.address = address, .port = frontend.port};
        auto found = ids.by_address.find(key);
        if (found == ids.by_address.end()) {
            if (ids.next > WEFT_SERVICE_IDS_MAX)
                return "not served: all service ids have been used; restart the node's agent";
            found = ids.by_address.emplace(key, ids.next++).first;
        }
        // Only IPv4 carries the id in an address, so the IPv4 address's id is the frontend's.
        if (frontend.id == 0 || address.is_v4())
            frontend.id = found->second;
    }
    build.addresses_served += frontend.addresses.size();
    return std::nullopt;
}

void build_kernel(Build& build) {
    size_t backends_left = WEFT_BACKENDS_MAX / 2; // a change needs room for the old and the new set of a service
    for (const auto& frontend : build.out.snapshot.frontends) {
        for (const auto& address : frontend.addresses)
            add_service(build, frontend, address, backends_left);
    }
    forget(build.out.kernel, build.out.service_ids);
}

} // namespace weft::agent
