// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "config/wire/channel.hpp"
#include "config/wire/message.hpp"
#include "config/wire/snapshot_codec.hpp"
#include "l7engine/server/control.hpp"

namespace weft::l7::test {

/// The agent's end of the socket, played by the test; the engine runs in threads of this process.
class FakeAgent {
public:
    FakeAgent();
    ~FakeAgent();

    /// The engine with its control thread; short times.
    void start_engine(uint32_t workers = 2);
    /// SIGTERM, as it were; waits until the control thread has ended.
    void stop_engine();
    /// Waits for the engine's connection and its whole hello; descriptors of the hello are in `hello_fds`.
    proto::EngineHello accept_engine();
    void welcome();
    void send(const proto::ToEngine& message, const std::vector<int>& fds = {});
    void send_bytes(std::string_view bytes);
    /// The next message within 5 s.
    proto::ToAgent receive();
    /// The next message of that kind; sockets are given on request meanwhile.
    proto::ToAgent receive(proto::ToAgent::MessageCase kind);
    /// Waits for the end of the connection.
    bool engine_hung_up();
    void hang_up() { channel_.reset(); }
    /// In force on all workers, or fails the test.
    void apply(const config::Snapshot& snapshot);
    void give_listener(uint32_t pod_id, abi::weft_listener_kind kind, int fd);
    uint64_t heartbeat() const;
    Engine& engine() { return *engine_; }

    std::vector<UniqueFd> hello_fds;
    UniqueFd engine_state;
    UniqueFd dial_slots;

private:
    void answer_wish(const proto::SocketsWanted& wanted);

    std::filesystem::path folder_;
    UniqueFd listener_;
    std::optional<wire::FrameChannel> channel_;
    ControlInbox inbox_;
    std::unique_ptr<Engine> engine_;
    std::unique_ptr<Control> control_;
    std::jthread thread_;
};

/// One client pod (1), one service 10.96.0.1:80 (id 0x010001) with one endpoint.
config::Snapshot snapshot_with(const SocketAddress& endpoint, uint64_t generation = 1);

/// This process gets a network namespace of its own with lo up, once.
void enter_own_network();
UniqueFd tcp_listener(const SocketAddress& address);
SocketAddress bound_to(const UniqueFd& socket);
/// Sends the request, reads until the peer's FIN or `bytes_max`.
std::string talk(const SocketAddress& address, std::string_view request, bool* reset = nullptr);

} // namespace weft::l7::test
