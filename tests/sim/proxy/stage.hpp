// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "l7engine/proxy/proxy.hpp"
#include "tests/support/sim_world.hpp"

namespace weft::l7::test {

inline SocketAddress address_of(std::string_view text) {
    return *SocketAddress::parse(text);
}

/// What a client got: whole replies, and how it ended.
struct Replies {
    struct One {
        int status = 0;
        std::string head;
        std::string body;
    };
    std::vector<One> whole; ///< final ones; 1xx are counted apart
    size_t informational = 0;
    bool partial = false; ///< bytes of an incomplete reply at the end
};

/// Parses what came, strictly enough to tell a whole reply from a cut one. `head_only`: replies to HEAD.
Replies parse_replies(std::string_view bytes, bool head_only = false);

/// A worker with its proxy in a simulated world: pod 1 is the client (10.0.0.1, namespace "default"), pod 2 a server
/// pod of this node. Service "plain" (127 code 0x010001), declared as HTTP, has the endpoints that the test adds.
class Stage {
public:
    static constexpr uint32_t client_pod = 1;
    static constexpr uint32_t server_pod = 2;
    static constexpr uint32_t service_id = 0x010001;

    explicit Stage(uint64_t seed, sim::Faults faults = calm(), ProxySettings settings = {});
    ~Stage();
    /// Nothing goes wrong, but reads are still cut at any byte.
    static sim::Faults calm();

    config::Snapshot snapshot; ///< change it, then apply()
    void add_endpoint(std::string_view address, uint32_t local_pod = 0);
    void apply();

    /// A client connection to service "plain".
    sim::Peer client();
    /// A client connection that reached the server pod's port directly.
    sim::Peer inbound_client(std::string_view from, uint16_t port);
    /// Turns the worker until `done`, at most for that much virtual time.
    template <class Done>
    bool until(Done done, uint64_t limit_ms = 1'000'000) {
        const uint64_t end = world.now_ms() + limit_ms;
        for (int turn = 0; turn < 200'000 && world.now_ms() < end; ++turn) {
            if (done())
                return true;
            worker->turn(100);
        }
        return done();
    }
    /// Drains and checks that nothing is left: no connection, frame, descriptor, misuse.
    void end();

    sim::World world;
    std::unique_ptr<Worker> worker;
    std::unique_ptr<Proxy> proxy;
    bool agent_gives = true; ///< sockets on request
    std::vector<SocketStock::Wish> wishes;
    std::vector<abi::weft_dial_slot> slots;

private:
    size_t frames_before_;
    size_t descriptors_before_;
    bool ended_ = false;
};

/// An HTTP/1.1 server for World::serve: calls `answer` with each whole request (head and body), sends what it returns.
/// An empty answer sends nothing.
sim::World::OnConnect http_server(std::function<std::string(std::string_view request, sim::Peer peer)> answer);

/// The length of the first whole request in `bytes`; 0: not whole yet.
size_t whole_request(std::string_view bytes);

std::string reply(std::string_view body, std::string_view extra = "", std::string_view status = "200 OK");

inline constexpr std::string_view get = "GET / HTTP/1.1\r\nhost: plain\r\n\r\n";

/// For http_server(): the request as the body of the reply.
inline std::string echo(std::string_view request, sim::Peer) {
    return reply(request);
}

/// A server that a test answers for by hand.
struct Backend {
    std::optional<sim::Peer> peer;
    [[nodiscard]] std::string_view received() const { return peer ? std::string_view(peer->received()) : ""; }
};

/// The status of the last whole reply; 0: none.
int status_of(const sim::Peer& client);
size_t replies_of(const sim::Peer& client);
inline uint64_t counted(Stage& stage, Counter counter) {
    return stage.proxy->counters()[counter];
}

/// One rule: this method.
config::Policy policy_of(config::Policy::Action action, std::string method);

} // namespace weft::l7::test
