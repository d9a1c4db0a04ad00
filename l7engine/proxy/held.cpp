// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/held.hpp"

#include "l7engine/proxy/proxy.hpp"

namespace weft::l7 {

HeldConnection::HeldConnection(Proxy& proxy, std::unique_ptr<ByteStream> stream, const Accepted& accepted)
    : Downstream(proxy, accepted), stream_(std::move(stream)), turn_(proxy.worker()) {
    stream_->watch_peer(this);
}

Task<void> HeldConnection::run(std::unique_ptr<HeldConnection> self, Deadline turn) {
    (void)co_await self->turn_.wait(Until(turn));
    if (self->gone_)
        co_return;
    self->stream_->watch_peer(nullptr);
    Proxy& proxy = self->proxy_;
    const Accepted accepted = self->accepted_;
    std::unique_ptr<ByteStream> stream = std::move(self->stream_);
    self.reset(); // one connection is one Downstream
    proxy.serve_now(std::move(stream), accepted);
}

void HeldConnection::cut() {
    gone_ = true;
    stream_->abort({.code = Code::canceled, .side = Side::self, .during = "cut"}, true);
    turn_.notify_all();
}

bool HeldConnection::shed_if_idle(uint64_t /*idle_ms*/) {
    if (gone_)
        return false;
    cut();
    return true;
}

void HeldConnection::peer_lost(const Error& why) {
    gone_ = true;
    stream_->abort(why, true);
    turn_.notify_all();
}

} // namespace weft::l7
