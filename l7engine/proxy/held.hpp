// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "config/base/slab.hpp"
#include "l7engine/io/signal.hpp"
#include "l7engine/io/stream.hpp"
#include "l7engine/io/task.hpp"
#include "l7engine/proxy/downstream.hpp"

namespace weft::l7 {

/// A connection that waits for its turn, unread: its pod has flooded (FloodGuard). It counts as any other. Owned by its
/// coroutine's frame. One worker's thread.
class HeldConnection final : public InSlab, public Downstream, private PeerWatcher {
public:
    HeldConnection(Proxy& proxy, std::unique_ptr<ByteStream> stream, const Accepted& accepted);

    /// Until `turn`; then the proxy serves it.
    [[nodiscard]] static Task<void> run(std::unique_ptr<HeldConnection> self, Deadline turn);

    /// Served at once, as everybody who came before the engine's end; refused if it is the pod's end.
    void drain() override { turn_.notify_all(); }
    void cut() override;
    bool shed_if_idle(uint64_t /*idle_ms*/) override;
    [[nodiscard]] bool is_gone() const override { return gone_; }
    [[nodiscard]] size_t under_way() const override { return 0; }

private:
    void peer_lost(const Error& why) override;

    std::unique_ptr<ByteStream> stream_;
    Signal turn_;
    bool gone_ = false;
};

} // namespace weft::l7
