// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "agent/reconcile/state.hpp"

namespace weft::agent {

/// The steps from what the kernel maps hold to what they shall hold, in an order that never fails open in between: what
/// guards comes first, what loosens last, so that a pod's port that is guarded both now and then is guarded after every
/// step. Pure; empty if nothing differs. After an interruption, planning again from what is there converges.
///
/// Order: guarding port entries, redirected services, other services, pods, removed pods, loosened port entries,
/// services that are no longer redirected, removed services.
[[nodiscard]] std::vector<MapOperation> plan(const KernelState& now, const KernelState& wanted);

/// What an operation does to the maps: the model that agent/bpf implements and the tests check plan() against.
/// An address belongs to the pod that was put last; PutPod drops the pod's own addresses that it does not list, and
/// RemovePod those it lists, both only where they still belong to that pod.
void apply(KernelState& state, const MapOperation& operation);

/// What the kernel does with a port of a pod: its own entry, else that of port 0, else pass.
[[nodiscard]] KernelState::PortAction effective_action(const KernelState& state, const KernelState::PortKey& key);

/// What sk_lookup would do with a connection to that address and port (`pass` too if no pod has the address).
[[nodiscard]] KernelState::PortAction action_at(const KernelState& state, const IpAddress& address, uint16_t port);

} // namespace weft::agent
