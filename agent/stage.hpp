// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "agent/reconcile/state.hpp"

namespace weft::agent {

/// What the kernel may hold before an engine has the snapshot that belongs to `wanted`. Pure. `hold`: loosening waits.
///
/// Tightening goes in at once: new pods, stricter ports, fail-closed. A service does not become L7 yet: its clients
/// would be sent to an engine that does not know it. Loosening waits for the engine, so that a snapshot which it
/// refuses leaves the kernel as strict as it was; with no engine connected there is nobody to wait for (no `hold`), and
/// a pod that shall be let go is let go.
[[nodiscard]] KernelState before_engine(const KernelState& now, const KernelState& wanted, bool hold);
} // namespace weft::agent
