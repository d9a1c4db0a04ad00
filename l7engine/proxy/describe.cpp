// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/describe.hpp"

#include "l7engine/filter/authz.hpp"
#include "l7engine/proxy/proxy.hpp"

namespace weft::l7 {

void describe(Exchange& x, const Accepted& accepted, Proxy& proxy) {
    x.direction = accepted.direction;
    x.pod_id = accepted.pod_id;
    x.pod = x.view->pod(accepted.pod_id);
    x.destination = accepted.destination;
    x.peer.address = accepted.client;
    x.picker = &proxy.picker();
    x.times.start_ms = proxy.worker().now_ms();
    if (accepted.direction == Direction::inbound) {
        x.peer.workload = x.view->workload(accepted.client.address);
        if (x.pod != nullptr) { // nothing of this is chosen later: a refusal has these labels, too
            x.choice.workload = x.view->workload(x.pod->workload);
            x.frontend = x.view->service_of(*x.pod, accepted.destination.port);
        }
        return;
    }
    x.frontend = x.view->frontend(accepted.frontend_id);
    x.peer.workload = x.pod == nullptr ? nullptr : x.view->workload(x.pod->workload);
    // The client is on its own loopback here: policies mean the pod's address, of the family it dialled if it has one.
    if (x.peer.workload == nullptr || x.peer.workload->addresses.empty())
        return;
    x.peer.address.address = x.peer.workload->addresses.front();
    for (const IpAddress& address : x.peer.workload->addresses) {
        if (address.is_v4() == accepted.destination.address.is_v4())
            x.peer.address.address = address;
    }
}

bool is_still_allowed(Exchange& x, const SocketAddress& endpoint, uint32_t trusted_hops) {
    if (judge_arrival(x, trusted_hops))
        return false;
    if (x.direction == Direction::inbound)
        return true;
    // By its address: the pod may have come to Weft since, or come back under another id.
    const config::LocalPod* pod = x.view->pod(endpoint.address);
    return pod == nullptr || judge_pod(x, *pod, endpoint, trusted_hops);
}

} // namespace weft::l7
