// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/base/net.hpp"
#include "l7engine/http/head.hpp"
#include "l7engine/policy/labels.hpp"
#include "l7engine/policy/request.hpp"
#include "l7engine/policy/view.hpp"

namespace weft::l7 {

class EndpointPicker;

/// Which of a pod's two kinds of listeners accepted the connection.
enum class Direction : uint8_t { outbound, inbound };

/// The other end of the connection, as far as it is known.
struct Peer {
    SocketAddress address;                      ///< the client pod's address (source.ip), never a loopback one
    const config::Workload* workload = nullptr; ///< nullptr: no identity
};

/// Counted among the open requests of an endpoint as long as it lives. The counter is the EndpointPicker's.
struct NoLongerOpen {
    void operator()(uint32_t* count) const { --*count; }
};
using OpenRequest = std::unique_ptr<uint32_t, NoLongerOpen>;

/// Where the request goes. Written by the router filter; the endpoint again by the proxy for each further try.
struct RouteChoice {
    const config::RouteRule* rule = nullptr;
    const config::Cluster* cluster = nullptr;
    std::optional<uint32_t> endpoint;           ///< index into cluster->endpoints; inbound: none
    SocketAddress address;                      ///< of the endpoint
    const config::Workload* workload = nullptr; ///< of the endpoint; inbound: known before the chain
    OpenRequest open;                           ///< at the endpoint
    std::vector<uint32_t> tried;                ///< endpoints that failed this request: choose_again()
};

/// Milliseconds of the worker's clock; the duration of metrics counts from `start`.
struct ExchangeTimes {
    uint64_t start_ms = 0;
    uint64_t upstream_start_ms = 0; ///< request head sent
    uint64_t upstream_head_ms = 0;  ///< response head received
};

/// One request and its response, from head to end. Owned by its coroutine; filters, router and proxy write the fields
/// that their names say, everybody reads. Borrows the snapshot's view, which outlives it; all pointers here are into
/// it. One worker's thread.
struct Exchange {
    const SnapshotView* view; ///< never nullptr

    // before the chain: serve
    Direction direction = Direction::outbound;
    uint32_t pod_id = 0;                        ///< whose listener accepted
    const config::LocalPod* pod = nullptr;      ///< the same in this snapshot; nullptr: not known (any more)
    const config::Frontend* frontend = nullptr; ///< the service that was dialled; inbound: the only one of the port
    Peer peer = {};
    SocketAddress destination = {};  ///< what the client dialled: service address and port, or pod address and port
    Judged judged = Judged::request; ///< a connection has no request: nothing of it is read
    std::string_view sni = {};       ///< what the client's TLS hello named; empty: nothing
    bool sni_unknown = false;        ///< it may have named one that could not be read
    Head request = {};
    ExchangeTimes times = {};
    EndpointPicker* picker = nullptr; ///< the worker's balancing state
    /// The request as policies and routes read it: request_view(). Who changes it later (method, path, authority)
    /// resets this.
    std::optional<RequestView> viewed = std::nullopt;

    // filters
    RouteChoice choice = {};

    // response
    Head response = {};
    ResponseFlags flags = {};
    uint16_t status_sent = 0; ///< 0: none was sent
    std::optional<uint32_t> grpc_status = std::nullopt;
    uint64_t request_bytes = 0;  ///< on the wire, downstream
    uint64_t response_bytes = 0; ///< on the wire, downstream

    /// Made at the first question, which comes behind sanitize.
    [[nodiscard]] const RequestView& request_view() {
        if (!viewed)
            viewed = RequestView::of(request);
        return *viewed;
    }
};

} // namespace weft::l7
