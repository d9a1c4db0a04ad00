// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "l7engine/proxy/admit.hpp"

namespace weft::l7 {

class Proxy;
struct PodUse;

/// What serves one accepted connection, whatever it speaks: known to the proxy from its construction to its end, so
/// that it can be drained and cut. Owned by its coroutine's frame. One worker's thread.
class Downstream {
public:
    Downstream(Proxy& proxy, const Accepted& accepted);
    Downstream(const Downstream&) = delete;
    Downstream& operator=(const Downstream&) = delete;
    virtual ~Downstream();

    /// Take nothing new, end what is under way, then leave.
    virtual void drain() = 0;
    /// Ends it now with a reset.
    virtual void cut() = 0;
    /// Proxy::view() is new. An exchange keeps to the snapshot that it began with; what lasts longer is judged again.
    virtual void policy_changed() {}
    /// Is a snapshot that is not in force any more held for it? Asked from time to time after a change: what lasts
    /// lets go of it then.
    [[nodiscard]] virtual bool holds_old_snapshot() { return false; }
    /// Memory runs out: closes it if nothing is under way and nothing was for `idle_ms`. True: it was.
    virtual bool shed_if_idle([[maybe_unused]] uint64_t idle_ms) { return false; }
    /// Reset or cut: only its coroutines are still to end.
    [[nodiscard]] virtual bool is_gone() const = 0;
    /// How many exchanges a cut would break; an open tunnel is one.
    [[nodiscard]] virtual size_t under_way() const = 0;

    [[nodiscard]] uint32_t pod_id() const { return accepted_.pod_id; }
    [[nodiscard]] const Accepted& accepted() const { return accepted_; }

protected:
    Proxy& proxy_;
    const Accepted accepted_;
    PodUse& use_; ///< the proxy's account of the pod and direction

private:
    friend class Proxy;
    Downstream* next_ = nullptr;
    Downstream** previous_ = nullptr;
};

} // namespace weft::l7
