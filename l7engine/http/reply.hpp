// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "config/base/error.hpp"
#include "l7engine/http/head.hpp"

namespace weft::l7 {

/// An answer of our own: what an Error means to the client and to the metrics. All views are of static memory.
struct LocalReply {
    uint16_t status = 500;       ///< 0: nobody is left to be answered; metrics say response_code "0"
    std::string_view flag = "-"; ///< Envoy's response flag
    std::string_view body = {};  ///< text/plain, often empty
};

/// The one table from Error to reply.
[[nodiscard]] LocalReply local_reply(const Error& error);

/// The outcomes of filters that are not failures of a peer, as Errors for the table.
[[nodiscard]] Error no_configuration();    ///< a pod that the snapshot does not know: 503
[[nodiscard]] Error no_route();            ///< no rule matched, or the service is gone: 404
[[nodiscard]] Error invalid_backend();     ///< the chosen backendRef does not resolve, or none has weight: 500
[[nodiscard]] Error no_healthy_upstream(); ///< no ready endpoint: 503
[[nodiscard]] Error denied_by_policy();    ///< 403

/// Limits of ours that a new request meets. The body names the limit; the flag is Envoy's: OM of its overload manager,
/// UO of a circuit breaker (istio.md 3.2).
[[nodiscard]] Error memory_short();             ///< 503 OM
[[nodiscard]] Error too_many_requests_of_pod(); ///< 503 UO
[[nodiscard]] Error too_much_buffered_of_pod(); ///< 503 UO
[[nodiscard]] Error too_many_requests();        ///< 503 UO: the worker's limit

/// The head of an answer of our own. `http_date` is the current time as IMF-fixdate (RFC 9110 5.6.7).
[[nodiscard]] Head make_local_reply(uint16_t status, uint64_t content_length, std::string_view http_date);
/// The same, in the words of the client: a gRPC one (is_grpc() of the request) gets 200, the status as
/// grpc_status_of_http() and the body as grpc-message: trailers only. The body follows the head if its content_length
/// is above zero, which it never is for gRPC. `reply.status` is not 0.
[[nodiscard]] Head make_local_reply(const LocalReply& reply, bool grpc, std::string_view http_date);

} // namespace weft::l7
