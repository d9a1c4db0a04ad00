// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "l7engine/filter/exchange.hpp"
#include "l7engine/http/reply.hpp"
#include "l7engine/io/cancel.hpp"
#include "l7engine/io/stream.hpp"
#include "l7engine/io/task.hpp"
#include "l7engine/proxy/downstream.hpp"
#include "l7engine/proxy/relay.hpp"
#include "l7engine/proxy/tcp_stats.hpp"

namespace weft::l7 {

/// What the client's TLS hello named.
struct ServerName {
    std::string text;     ///< empty: nothing
    bool unknown = false; ///< the client may speak TLS, and its hello could not be read: policies take it for any name
};

/// A client connection that is passed through untouched: judged as a connection, connected to an endpoint of the
/// service that was dialled (or to the pod), then relayed until both sides have ended. Refusal and failure are a reset
/// without a byte. A new snapshot judges it again; a drain leaves it alone until the time is up.
///
/// Owned by its coroutine's frame. One worker's thread.
class Tunnel final : public Downstream, private PeerWatcher {
public:
    Tunnel(Proxy& proxy, std::unique_ptr<ByteStream> client, const Accepted& accepted, ServerName name);
    ~Tunnel() override;

    /// `first`: what was read from the client already.
    [[nodiscard]] static Task<void> run(std::unique_ptr<Tunnel> self, Slice first);

    void drain() override {}
    void cut() override;
    void policy_changed() override;
    [[nodiscard]] bool is_gone() const override { return gone_; }
    [[nodiscard]] size_t under_way() const override { return 1; }

private:
    Task<bool> connect();
    Task<void> relay(Slice first);
    bool choose(Exchange& x);
    [[nodiscard]] bool may_try_again(const Error& error, uint32_t tries) const;
    void refuse(const Exchange& x, const LocalReply& why);
    void open(const Exchange& x, ResponseFlags flags);
    [[nodiscard]] bool is_still_allowed() const;
    [[nodiscard]] Exchange described() const;
    void peer_lost(const Error&) override { cut(); }

    std::unique_ptr<ByteStream> client_;
    std::unique_ptr<ByteStream> server_;
    const ServerName server_name_;
    SocketAddress endpoint_; ///< outbound: where it goes
    OpenRequest open_;       ///< at the endpoint
    TcpSeriesPtr series_;    ///< once it is known who talks to whom
    Cancel dial_;
    std::optional<Relay> relay_;
    bool gone_ = false;
};

} // namespace weft::l7
