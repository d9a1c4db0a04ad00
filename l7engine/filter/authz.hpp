// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "l7engine/filter/filter.hpp"

namespace weft::l7 {

/// Judgement of what arrived: outbound by the policies of the service that was dialled, inbound by the pod's guards.
/// nullopt: allowed; else the refusal. A connection (Exchange::judged) is judged as one.
[[nodiscard]] std::optional<LocalReply> judge_arrival(Exchange& exchange, uint32_t trusted_hops);

/// Unnamed judgement of the chosen endpoint's own pod (architecture 3), since the server's side will not judge this
/// connection again: by all guards of a pod of this node, unless the policies of the dialled service are among them.
/// nullopt: nothing to judge, or allowed; else the refusal.
[[nodiscard]] std::optional<LocalReply> judge_endpoint(Exchange& exchange, uint32_t trusted_hops);
/// The same for a pod of this node that was chosen before, maybe by another snapshot. Is it allowed?
[[nodiscard]] bool judge_pod(Exchange& exchange, const config::LocalPod& pod, const SocketAddress& address,
                             uint32_t trusted_hops);

} // namespace weft::l7
