// SPDX-License-Identifier: Apache-2.0
// The io layer over the simulated ring: a relay between scripted clients and servers, under every fault, for thousands
// of seeds. Bytes arrive exactly, or the connection ends with an error; nothing hangs and nothing is left.
// One seed again: WEFT_SIM_SEED=n sim_io.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>

#include "l7engine/io/frame_pool.hpp"
#include "l7engine/io/tcp.hpp"
#include "l7engine/io/worker.hpp"
#include "tests/support/sim_world.hpp"

namespace weft::l7 {
namespace {

using sim::Faults;
using sim::Peer;
using sim::World;

constexpr uint64_t virtual_limit_ms = 3'600'000;
constexpr uint64_t turns_max = 200'000;

const SocketAddress front{.address = *IpAddress::parse("10.0.0.1"), .port = 80};
const SocketAddress back{.address = *IpAddress::parse("10.0.0.2"), .port = 9080};

// ---- the engine's side

struct RelaySettings {
    TcpSettings tcp{};
    uint64_t deadline_ms = never;
    bool yields = false; ///< the pump sleeps now and then: a slow consumer
};

struct Relay {
    std::unique_ptr<ByteStream> client;
    std::unique_ptr<ByteStream> server;
    Worker& worker;
    RelaySettings settings;
    bool failed = false;

    [[nodiscard]] Deadline deadline() const { return worker.in_ms(settings.deadline_ms); }
    /// One direction failed: the other cannot go on either.
    void fail_both(Error error) {
        failed = true;
        client->abort(error, true);
        server->abort(error, true);
    }
};

Task<void> pump(Relay& relay, ByteStream& from, ByteStream& to) {
    for (;;) {
        Result<Slice> read = co_await from.read(relay.deadline());
        if (!read)
            co_return relay.fail_both(read.error());
        if (read->empty()) {
            to.shutdown_write();
            co_return;
        }
        if (relay.settings.yields && World::current().chance(200))
            co_await sleep(relay.worker, World::current().random(50));
        // Two slices, so that vectors are sent too.
        std::array slices{read->split_front(read->size() / 2), std::move(*read)};
        while (!slices[0].empty() || !slices[1].empty()) {
            const Result<size_t> written = co_await to.write(slices, relay.deadline());
            if (!written)
                co_return relay.fail_both(written.error());
            const size_t first = std::min(*written, slices[0].size());
            slices[0].remove_prefix(first);
            slices[1].remove_prefix(*written - first);
        }
    }
}

Task<void> relay_connection(Worker& worker, UniqueFd socket, RelaySettings settings) {
    auto client = make_tcp_stream(worker, std::move(socket), settings.tcp);
    auto server =
        co_await connect_tcp(worker, World::current().socket(), back, worker.in_ms(settings.deadline_ms), settings.tcp);
    if (!server) {
        client->abort(server.error(), true);
        co_return;
    }
    Relay relay{.client = std::move(client), .server = std::move(*server), .worker = worker, .settings = settings};
    TaskGroup pumps;
    pumps.spawn(pump(relay, *relay.client, *relay.server));
    pumps.spawn(pump(relay, *relay.server, *relay.client));
    co_await pumps.join();
}

// ---- the scripted side

enum class Ending : uint8_t { fin, close_early, reset_early, stops_reading };

/// A client that sends in random parts at random times; the server gives back what it gets.
struct Client {
    Peer peer;
    std::string text;
    size_t sent = 0;
    Ending ending = Ending::fin;
    size_t ends_at = SIZE_MAX;
};

std::string random_text(World& world, size_t size) {
    std::string text(size, '\0');
    for (char& c : text)
        c = static_cast<char>(world.random(256));
    return text;
}

void send_some(World& world, Client& client) {
    if (client.peer.saw_reset())
        return client.peer.close();
    if (client.sent >= client.ends_at) {
        if (client.ending == Ending::close_early)
            return client.peer.close();
        if (client.ending == Ending::reset_early)
            return client.peer.reset();
        if (client.ending == Ending::stops_reading)
            client.peer.pause();
    }
    const size_t size =
        std::min<size_t>(client.text.size() - client.sent, 1 + world.random(world.chance(300) ? 20'000 : 300));
    client.peer.send(std::string_view(client.text).substr(client.sent, size));
    client.sent += size;
    if (client.sent == client.text.size())
        return client.peer.shutdown();
    world.after(world.random(10), [&] { send_some(world, client); });
}

/// What became of one connection to the server.
struct Served {
    Peer peer;
    size_t echoed = 0;
    bool broke_softly = false; ///< a FIN in the middle: the one way to a truncated stream without a reset
};

/// Gives back what came; ends when the other end does. `broken` servers end as they like.
void echo(const std::shared_ptr<Served>& served, size_t breaks_at, bool hard) {
    served->peer.on_event([=](Peer self) {
        const std::string& all = self.received();
        const bool breaks = all.size() >= breaks_at;
        if (!self.saw_reset() && all.size() > served->echoed) {
            const std::string part = all.substr(served->echoed);
            served->echoed = all.size();
            self.send(part);
        }
        served->broke_softly = breaks && !hard && !self.saw_reset();
        if (breaks && hard)
            self.reset();
        else if (breaks || self.saw_reset() || self.saw_fin())
            self.close();
        if (self.over())
            self.on_event({});
    });
}

// ---- one run

struct Plan {
    Faults faults{};
    RingSettings ring{.entries = 16, .buffers = 8, .buffer_bytes = 512};
    RelaySettings relay{};
    bool endings = false; ///< clients and servers break off
    size_t clients = 4;
    size_t text_bytes_max = 40'000;
};

struct Outcome {
    size_t complete = 0;
    size_t prefix = 0;
    RingCounts counts;
    uint64_t virtual_ms = 0;
    uint64_t digest = 0; ///< of all that was observed: two runs of one seed are the same
};

using Servers = std::vector<std::shared_ptr<Served>>;

void script_clients(World& world, const Plan& plan, std::vector<Client>& clients, Servers& servers) {
    for (Client& client : clients) {
        client.text = random_text(world, 1 + world.random(plan.text_bytes_max));
        if (plan.endings) {
            client.ending = static_cast<Ending>(world.random(4));
            client.ends_at = world.random(client.text.size());
        }
        world.after(world.random(100), [&] {
            client.peer = world.connect(front);
            send_some(world, client);
        });
    }
    world.serve(back, [&](Peer server) {
        const bool breaks = plan.endings && world.chance(300);
        servers.push_back(std::make_shared<Served>(Served{.peer = server}));
        echo(servers.back(), breaks ? world.random(20'000) : SIZE_MAX, world.chance(500));
    });
}

bool was_broken_softly(const Client& client, const Servers& servers) {
    return std::ranges::any_of(servers, [&](const std::shared_ptr<Served>& served) {
        return served->broke_softly && client.text.starts_with(served->peer.received());
    });
}

void judge(World& world, const Plan& plan, const std::vector<Client>& clients, const Servers& servers,
           Outcome& outcome) {
    for (const Client& client : clients) {
        const std::string& got = client.peer.received();
        const std::string what = " seed " + std::to_string(world.seed());
        ASSERT_LE(got.size(), client.sent) << what;
        ASSERT_EQ(got, client.text.substr(0, got.size())) << "wrong bytes," << what;
        const bool complete = got.size() == client.text.size() && client.peer.saw_fin();
        if (!plan.endings && plan.relay.deadline_ms == never && plan.faults.connect_refused == 0)
            ASSERT_TRUE(complete) << "lost bytes," << what << ": " << got.size() << " of " << client.text.size();
        ASSERT_TRUE(client.peer.over()) << "never told," << what;
        // A client that waits for the whole must not take a part for it.
        if (client.ending == Ending::fin && !complete && client.peer.saw_fin())
            ASSERT_TRUE(was_broken_softly(client, servers)) << "cut, but ends in a clean FIN," << what;
        ++(complete ? outcome.complete : outcome.prefix);
        outcome.digest = outcome.digest * 31 + got.size() * 2 + (complete ? 1 : 0);
    }
}

Outcome run(uint64_t seed, const Plan& plan) {
    const std::string what = "seed " + std::to_string(seed);
    Outcome outcome;
    World world(seed, plan.faults);
    auto created = Worker::create(0, plan.ring);
    EXPECT_TRUE(created.has_value());
    std::unique_ptr<Worker> worker = std::move(*created);
    std::vector<Client> clients(plan.clients);
    Servers servers;
    size_t accepted = 0;
    auto acceptor = std::make_unique<Acceptor>(*worker, world.listen(front), [&](UniqueFd socket) {
        ++accepted;
        worker->tasks().spawn(relay_connection(*worker, std::move(socket), plan.relay));
    });
    script_clients(world, plan, clients, servers);
    const uint64_t start = world.now_ms();
    while (accepted < plan.clients || worker->tasks().size() > 0) {
        worker->turn(1000);
        if (world.now_ms() - start > virtual_limit_ms || worker->turns() > turns_max) {
            ADD_FAILURE() << "hangs, " << what << ": " << worker->tasks().size() << " tasks after " << worker->turns()
                          << " turns";
            std::abort(); // frames in flight cannot be taken apart
        }
    }
    acceptor.reset();
    while (world.open_descriptors() > 0 && worker->turns() < turns_max)
        worker->turn(10);
    for (uint64_t settle = world.now_ms() + 100; world.now_ms() < settle;)
        worker->turn(10); // last events reach the scripts
    judge(world, plan, clients, servers, outcome);
    outcome.virtual_ms = world.now_ms() - start;
    outcome.counts = worker->ring().counts();
    EXPECT_EQ(worker->ring().in_flight(), 1U) << "only the mailbox, " << what;
    EXPECT_EQ(worker->ring().free_buffers(), plan.ring.buffers) << what;
    EXPECT_EQ(worker->timers().size(), 0U) << what;
    EXPECT_EQ(world.open_descriptors(), 0U) << what;
    worker.reset();
    EXPECT_EQ(FramePool::live_bytes(), 0U) << what;
    EXPECT_TRUE(world.misuses().empty()) << what << ": " << world.misuses().front();
    outcome.digest = outcome.digest * 31 + outcome.virtual_ms + outcome.counts.completions;
    return outcome;
}

/// All seeds of a plan, or the one that the environment names. Stops at the first that fails.
Outcome run_seeds(uint64_t count, const Plan& plan) {
    Outcome sum;
    uint64_t first = 1;
    if (const char* wanted = std::getenv("WEFT_SIM_SEED"); wanted != nullptr) {
        first = std::strtoull(wanted, nullptr, 10);
        count = 1;
    }
    for (uint64_t seed = first; seed < first + count && !testing::Test::HasFailure(); ++seed) {
        const Outcome one = run(seed, plan);
        sum.complete += one.complete;
        sum.prefix += one.prefix;
        sum.counts.buffer_shortages += one.counts.buffer_shortages;
        sum.counts.buffer_copies += one.counts.buffer_copies;
    }
    return sum;
}

bool all_seeds() {
    return std::getenv("WEFT_SIM_SEED") == nullptr;
}

TEST(sim_relay, delivers_exactly_under_faults) {
    const Outcome sum = run_seeds(1000, {.relay = {.tcp = {.receive_high_bytes = 2048, .receive_low_bytes = 512}}});
    EXPECT_EQ(sum.prefix, 0U);
    if (all_seeds()) {
        EXPECT_GT(sum.counts.buffer_shortages, 1000U) << "the faults happened";
        EXPECT_GT(sum.counts.buffer_copies, 1000U);
    }
}

TEST(sim_relay, delivers_exactly_with_one_buffer) {
    run_seeds(300, {.ring = {.entries = 4, .buffers = 1, .buffer_bytes = 64},
                    .relay = {.tcp = {.receive_high_bytes = 100, .receive_low_bytes = 0}, .yields = true},
                    .text_bytes_max = 5000});
}

TEST(sim_relay, delivers_exactly_through_tiny_windows_and_slow_pumps) {
    Plan plan{.relay = {.tcp = {.receive_high_bytes = 1000, .receive_low_bytes = 999}, .yields = true},
              .text_bytes_max = 10'000};
    plan.faults.window_bytes_max = 200;
    plan.faults.short_send = 300;
    run_seeds(500, plan);
}

TEST(sim_relay, delivers_exactly_when_everything_goes_wrong_often) {
    Plan plan{.relay = {.tcp = {.receive_high_bytes = 4096, .receive_low_bytes = 1024}, .yields = true},
              .text_bytes_max = 8000};
    plan.faults = {.delay = 700,
                   .delay_ms_max = 200,
                   .short_read = 900,
                   .short_send = 500,
                   .no_buffers = 300,
                   .multishot_end = 500,
                   .accept_shortage = 600,
                   .accept_aborted = 300,
                   .interrupted = 300,
                   .canceled_late = 900};
    run_seeds(300, plan);
}

TEST(sim_relay, peers_that_break_off_never_yield_wrong_bytes) {
    Plan plan{.relay = {.tcp = {.receive_high_bytes = 2048, .receive_low_bytes = 512}, .deadline_ms = 30'000},
              .endings = true};
    plan.faults.connect_refused = 50;
    const Outcome sum = run_seeds(1500, plan);
    if (all_seeds()) {
        EXPECT_GT(sum.complete, 100U);
        EXPECT_GT(sum.prefix, 1000U) << "peers did break off";
    }
}

TEST(sim_relay, short_deadlines_race_with_completions) {
    Plan plan{
        .relay = {.tcp = {.receive_high_bytes = 2048, .receive_low_bytes = 512}, .deadline_ms = 18, .yields = true},
        .endings = true};
    plan.faults.delay_ms_max = 15;
    plan.faults.window_bytes_max = 3000;
    const Outcome sum = run_seeds(1500, plan);
    if (all_seeds()) {
        EXPECT_GT(sum.complete, 100U);
        EXPECT_GT(sum.prefix, 1000U);
    }
}

TEST(sim_relay, unanswered_connects_end_at_their_deadline) {
    for (uint64_t seed = 1; seed <= 200 && !HasFailure(); ++seed) {
        World world(seed);
        world.ignore(back);
        auto worker = std::move(*Worker::create(0, {}));
        auto [socket, client] = world.connected();
        const uint64_t start = world.now_ms();
        worker->tasks().spawn(
            relay_connection(*worker, std::move(socket), {.tcp = {}, .deadline_ms = 500, .yields = false}));
        while (worker->tasks().size() > 0 && worker->turns() < turns_max)
            worker->turn(1000);
        EXPECT_EQ(worker->tasks().size(), 0U);
        EXPECT_GE(world.now_ms() - start, 500U);
        EXPECT_LE(world.now_ms() - start, 500 + 2 * world.faults().delay_ms_max);
        while (world.open_descriptors() > 0 && worker->turns() < turns_max)
            worker->turn(10);
        EXPECT_TRUE(client.saw_reset()) << seed;
        EXPECT_TRUE(world.misuses().empty()) << seed;
    }
}

TEST(sim_relay, a_seed_repeats_exactly) {
    const Plan plan{.relay = {.tcp = {.receive_high_bytes = 2048, .receive_low_bytes = 512}, .yields = true},
                    .endings = true};
    uint64_t different = 0;
    for (uint64_t seed = 1; seed <= 50; ++seed) {
        const Plan limited{.faults = plan.faults,
                           .ring = plan.ring,
                           .relay = {.tcp = plan.relay.tcp, .deadline_ms = 20'000, .yields = true},
                           .endings = true};
        const Outcome one = run(seed, limited);
        EXPECT_EQ(one.digest, run(seed, limited).digest) << seed;
        different += one.digest != run(seed + 1, limited).digest ? 1 : 0;
    }
    EXPECT_GT(different, 40U) << "seeds differ from each other";
}

// ---- a listener is handed over

TEST(sim_acceptor, stop_hands_over_what_was_accepted) {
    for (uint64_t seed = 1; seed <= 500 && !HasFailure(); ++seed) {
        World world(seed);
        auto worker = std::move(*Worker::create(0, {}));
        size_t accepted = 0;
        bool stopped = false;
        std::vector<Peer> peers;
        Acceptor acceptor(*worker, world.listen(front), [&](UniqueFd socket) {
            EXPECT_FALSE(stopped);
            ++accepted;
            worker->ring().close(socket.release());
        });
        for (int i = 0; i < 10; ++i)
            world.after(world.random(30), [&] { peers.push_back(world.connect(front)); });
        world.after(world.random(30), [&] { acceptor.stop([&] { stopped = true; }); });
        while ((!stopped || peers.size() < 10) && worker->turns() < turns_max)
            worker->turn(10);
        ASSERT_TRUE(stopped) << seed;
        for (int i = 0; i < 10; ++i)
            worker->turn(10);
        size_t served = 0;
        for (const Peer& peer : peers) {
            ASSERT_TRUE(peer.over()) << seed;
            served += peer.saw_fin() ? 1 : 0;
        }
        EXPECT_EQ(served, accepted) << seed;
        EXPECT_EQ(world.open_descriptors(), 0U) << seed;
    }
}

} // namespace
} // namespace weft::l7
