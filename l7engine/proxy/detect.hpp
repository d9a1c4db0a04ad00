// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "config/base/slab.hpp"
#include "config/model/protocol.hpp"
#include "l7engine/http/sniff.hpp"
#include "l7engine/io/stream.hpp"
#include "l7engine/io/task.hpp"
#include "l7engine/proxy/downstream.hpp"
#include "l7engine/proxy/tunnel.hpp"

namespace weft::l7 {

/// Serves an accepted connection by what its port declares, or by what its first bytes say.
void serve_by_protocol(Proxy& proxy, std::unique_ptr<ByteStream> stream, const Accepted& accepted);

/// A connection of which it is not yet known what it speaks, or for whom: the client's first bytes say so.
///
///   undeclared ──sniffed──▶ Connection, Tunnel, or as a declared one (TLS)
///        └─────silence────▶ Tunnel: the server speaks first
///   TLS ──hello, or none that can be read──▶ Tunnel
///
/// Owned by its coroutine's frame. One worker's thread.
class Detector final : public InSlab, public Downstream {
public:
    Detector(Proxy& proxy, std::unique_ptr<ByteStream> stream, const Accepted& accepted, config::Protocol declared);

    /// Until it is known; what serves the connection from then on has a coroutine of its own.
    [[nodiscard]] static Task<void> run(std::unique_ptr<Detector> self);

    /// It is not known yet what would be cut: the client has its time, as ever.
    void drain() override {}
    void cut() override;
    [[nodiscard]] bool is_gone() const override { return gone_; }
    [[nodiscard]] size_t under_way() const override { return 0; }

private:
    Task<bool> find_out();
    [[nodiscard]] bool knows(Bytes bytes);
    void ended_before_known();
    static void hand_over(std::unique_ptr<Detector> self);

    std::unique_ptr<ByteStream> stream_;
    Sniffed kind_;         ///< `tls`: the hello is wanted
    Slice first_;          ///< all that was read
    std::string gathered_; ///< the same, as long as it is not known
    ServerName name_;
    Deadline deadline_;
    bool gone_ = false;
};

} // namespace weft::l7
