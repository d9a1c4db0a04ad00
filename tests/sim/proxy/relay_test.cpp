// SPDX-License-Identifier: Apache-2.0
// Two scripted ends with a relay between them: what one says is what the other hears, and so are the ends.
#include "l7engine/proxy/relay.hpp"

#include "tests/sim/proxy/stage.hpp"

namespace weft::l7::test {
namespace {

Task<void> run(Relay& relay, Slice early_client, Slice early_server, std::optional<RelayEnd>& end) {
    end = co_await relay.run(std::move(early_client), std::move(early_server));
}

struct Between {
    explicit Between(uint64_t seed, sim::Faults faults = Stage::calm(), RelaySettings settings = {},
                     std::optional<PipeSettings> pipe_settings = {})
        : frames_before(FramePool::live_bytes()), world(seed, faults) {
        worker = std::move(*Worker::create(0, {}));
        if (pipe_settings)
            pipes.emplace(*worker, *pipe_settings);
        auto [client_socket, client_peer] = world.connected();
        auto [server_socket, server_peer] = world.connected();
        client = client_peer;
        server = server_peer;
        client_stream = make_tcp_stream(*worker, std::move(client_socket), tcp);
        server_stream = make_tcp_stream(*worker, std::move(server_socket), tcp);
        settings.account = &account;
        relay.emplace(*worker, RelaySide{*client_stream, to_client}, RelaySide{*server_stream, to_server}, settings,
                      pipes ? std::optional(RelaySplicing{.pipes = *pipes, .counters = counters}) : std::nullopt);
    }
    ~Between() {
        EXPECT_TRUE(until([&] { return worker->tasks().size() == 0; })) << "hangs, seed " << world.seed();
        relay.reset();
        EXPECT_EQ(account.bytes, 0U) << "seed " << world.seed();
        client_stream.reset();
        server_stream.reset();
        EXPECT_TRUE(until([&] { return world.open_descriptors() == 0; })) << "descriptors, seed " << world.seed();
        if (pipes)
            EXPECT_EQ(pipes->in_use(), 0U) << "pipes, seed " << world.seed();
        EXPECT_EQ(FramePool::live_bytes(), frames_before);
        for (const std::string& misuse : world.misuses())
            ADD_FAILURE() << misuse << ", seed " << world.seed();
    }
    void start(std::string_view early_client = {}, std::string_view early_server = {}) {
        worker->tasks().spawn(run(*relay, Slice::copy_of(early_client), Slice::copy_of(early_server), end));
    }
    template <class Done>
    bool until(Done done, uint64_t limit_ms = 1'000'000) {
        const uint64_t last_ms = world.now_ms() + limit_ms;
        for (int turn = 0; turn < 200'000 && world.now_ms() < last_ms && !done(); ++turn)
            worker->turn(100);
        return done();
    }

    size_t frames_before;
    BufferAccount account;
    sim::World world;
    TcpSettings tcp{.receive_high_bytes = 4096, .receive_low_bytes = 1024};
    std::unique_ptr<Worker> worker;
    Counters counters;
    std::optional<PipePool> pipes;
    sim::Peer client;
    sim::Peer server;
    std::unique_ptr<ByteStream> client_stream;
    std::unique_ptr<ByteStream> server_stream;
    uint64_t to_client = 0;
    uint64_t to_server = 0;
    std::optional<Relay> relay;
    std::optional<RelayEnd> end;
};

TEST(Relay, carries_early_bytes_first_and_each_fin_behind_the_last_byte) {
    Between between(1);
    between.start("early ", "hello ");
    between.client.send("request");
    between.client.shutdown();
    ASSERT_TRUE(between.until([&] { return between.server.saw_fin(); }));
    EXPECT_EQ(between.server.received(), "early request");
    EXPECT_FALSE(between.client.over());
    between.server.send("answer"); // the other direction goes on
    ASSERT_TRUE(between.until([&] { return between.client.received() == "hello answer"; }));
    EXPECT_FALSE(between.end);
    between.server.shutdown();
    ASSERT_TRUE(between.until([&] { return between.end.has_value(); }));
    EXPECT_EQ(between.end, RelayEnd::finished);
    ASSERT_TRUE(between.until([&] { return between.client.saw_fin(); }));
    EXPECT_FALSE(between.client.saw_reset());
    EXPECT_FALSE(between.server.saw_reset());
    EXPECT_EQ(between.to_server, 13U);
    EXPECT_EQ(between.to_client, 12U);
}

TEST(Relay, makes_a_reset_of_a_reset_in_both_directions) {
    for (const bool of_client : {true, false}) {
        Between between(2);
        between.start();
        sim::Peer& one = of_client ? between.client : between.server;
        sim::Peer& other = of_client ? between.server : between.client;
        one.send("last words");
        one.reset();
        ASSERT_TRUE(between.until([&] { return other.over(); }));
        EXPECT_TRUE(other.saw_reset());
        EXPECT_EQ(other.received(), "last words");
        ASSERT_TRUE(between.until([&] { return between.end.has_value(); }));
        EXPECT_EQ(between.end, RelayEnd::reset);
    }
}

TEST(Relay, delivers_what_a_lost_server_said_while_the_client_was_sending) {
    Between between(3);
    between.start();
    between.server.pause();
    between.client.send(std::string(200'000, 'q'));
    between.until([] { return false; }, 100);
    between.server.send(std::string(3'000, 'a'));
    between.server.close(); // bytes are unread: a reset follows
    ASSERT_TRUE(between.until([&] { return between.client.over(); }));
    EXPECT_TRUE(between.client.saw_reset());
    EXPECT_EQ(between.client.received(), std::string(3'000, 'a'));
}

TEST(Relay, does_not_wait_for_ever_for_a_client_that_takes_nothing_of_a_lost_server) {
    sim::Faults faults = Stage::calm();
    faults.window_bytes_max = 1'000;
    Between between(4, faults, {.lost_timeout_ms = 2'000});
    between.start();
    between.client.pause();
    between.server.send(std::string(50'000, 'a'));
    between.until([] { return false; }, 100);
    between.server.reset();
    const uint64_t lost_ms = between.world.now_ms();
    ASSERT_TRUE(between.until([&] { return between.end.has_value(); }));
    EXPECT_EQ(between.end, RelayEnd::reset);
    EXPECT_LT(between.world.now_ms() - lost_ms, 3'000U);
    EXPECT_TRUE(between.until([&] { return between.client.saw_reset(); }));
}

TEST(Relay, ends_what_is_idle_in_both_directions_only) {
    Between between(5, Stage::calm(), {.idle_timeout_ms = 10'000});
    between.start();
    const uint64_t start_ms = between.world.now_ms();
    for (uint64_t at_ms = 5'000; at_ms <= 30'000; at_ms += 5'000)
        between.world.after(at_ms, [&] { between.server.send("."); });
    ASSERT_TRUE(between.until([&] { return between.end.has_value(); }));
    EXPECT_EQ(between.end, RelayEnd::idle);
    EXPECT_GE(between.world.now_ms() - start_ms, 40'000U);
    EXPECT_LT(between.world.now_ms() - start_ms, 41'000U);
    EXPECT_TRUE(between.until([&] { return between.client.saw_reset() && between.server.saw_reset(); }));
}

TEST(Relay, cut_resets_both) {
    Between between(6);
    between.start("x");
    ASSERT_TRUE(between.until([&] { return between.server.received() == "x"; }));
    between.relay->cut();
    ASSERT_TRUE(between.until([&] { return between.end.has_value(); }));
    EXPECT_EQ(between.end, RelayEnd::canceled);
    ASSERT_TRUE(between.until([&] { return between.client.saw_reset() && between.server.saw_reset(); }));
}

/// One end with everything that it may do, and what it said.
struct Talker {
    sim::Peer peer;
    std::string said;
    bool reset = false;

    void script(sim::World& world, char letter) {
        const uint64_t pieces = world.random(6);
        uint64_t at_ms = 0;
        for (uint64_t piece = 0; piece < pieces; ++piece) {
            std::string text(1 + world.random(world.chance(200) ? 100'000 : 500), letter);
            for (char& c : text)
                c = static_cast<char>(letter + static_cast<char>(world.random(20)));
            at_ms += world.random(50);
            said += text;
            world.after(at_ms, [one = peer, text] {
                if (!one.saw_reset())
                    one.send(text);
            });
        }
        if (world.chance(300)) {
            peer.pause();
            world.after(world.random(1'000), [one = peer] { one.resume(); });
        }
        at_ms += world.random(100);
        reset = world.chance(200);
        world.after(at_ms, [one = peer, hard = reset] { hard ? one.reset() : one.shutdown(); });
    }
};

void judge(Between& between, const Talker& client, const Talker& server, uint64_t seed) {
    const std::string& heard_by_server = between.server.received();
    const std::string& heard_by_client = between.client.received();
    ASSERT_TRUE(client.said.starts_with(heard_by_server)) << "seed " << seed;
    ASSERT_TRUE(server.said.starts_with(heard_by_client)) << "seed " << seed;
    if (client.reset || server.reset) {
        EXPECT_EQ(between.end, RelayEnd::reset) << "seed " << seed;
        EXPECT_TRUE(client.reset || between.client.saw_reset()) << "seed " << seed;
        EXPECT_TRUE(server.reset || between.server.saw_reset()) << "seed " << seed;
        return;
    }
    EXPECT_EQ(between.end, RelayEnd::finished) << "seed " << seed;
    ASSERT_EQ(heard_by_server.size(), client.said.size()) << "seed " << seed;
    ASSERT_EQ(heard_by_client.size(), server.said.size()) << "seed " << seed;
    EXPECT_EQ(between.to_server, client.said.size()) << "seed " << seed;
    EXPECT_EQ(between.to_client, server.said.size()) << "seed " << seed;
}

/// What the relays of a test did with the kernel's help.
struct Spliced {
    uint64_t begun = 0;
    uint64_t bytes = 0;
    uint64_t idle = 0;
    uint64_t small = 0;
    uint64_t unsupported = 0;

    void add(const Counters& counters) {
        begun += counters[Counter::splices_begun];
        bytes += counters[Counter::spliced_bytes];
        idle += counters[Counter::splices_ended_idle];
        small += counters[Counter::splices_ended_small];
        unsupported += counters[Counter::splices_ended_unsupported];
    }
};

Spliced run_seeds(uint64_t count, const sim::Faults& faults, const RelaySettings& settings,
                  std::optional<PipeSettings> pipes) {
    Spliced sum;
    for (uint64_t seed = 0; seed < count && !testing::Test::HasFatalFailure(); ++seed) {
        Between between(seed, faults, settings, pipes);
        Talker client{.peer = between.client, .said = {}};
        Talker server{.peer = between.server, .said = {}};
        client.script(between.world, 'a');
        server.script(between.world, 'A');
        between.start();
        [&] { ASSERT_TRUE(between.until([&] { return between.end.has_value(); })) << "hangs, seed " << seed; }();
        between.client.resume();
        between.server.resume();
        between.until([] { return false; }, 100);
        judge(between, client, server, seed);
        sum.add(between.counters);
    }
    return sum;
}

TEST(Relay, thousands_of_seeds_lose_no_byte_and_leave_nothing) {
    EXPECT_EQ(run_seeds(2'000, {}, {}, {}).begun, 0U);
}

// ------------------------------------------------------------------ bulk

/// Bulk is soon reached and soon over, so that a direction changes its way often.
constexpr BulkRules nervous{
    .begin_bytes_min = 3'000, .keep_bytes_min = 3'000, .rounds = 4, .window_ms = 1'000, .idle_ms = 30};

TEST(Relay, thousands_of_seeds_lose_no_byte_while_they_begin_and_end_splices) {
    const Spliced sum = run_seeds(3'000, {}, {.bulk = nervous}, PipeSettings{});
    EXPECT_GT(sum.begun, 2'000U);
    EXPECT_GT(sum.bytes, 10'000'000U);
    EXPECT_GT(sum.idle, 100U);
    EXPECT_GT(sum.small, 10U);
    EXPECT_GT(sum.unsupported, 100U);
}

TEST(Relay, thousands_of_seeds_lose_no_byte_while_splices_meet_tiny_windows) {
    sim::Faults faults;
    faults.window_bytes_max = 3'000;
    const Spliced sum = run_seeds(1'000, faults, {.bulk = nervous}, PipeSettings{.pipes_max = 1});
    EXPECT_GT(sum.begun, 300U);
}

TEST(Relay, splices_bulk_and_gives_the_pipe_back_when_it_is_over) {
    Between between(7, Stage::calm(), {.bulk = nervous}, PipeSettings{.unused_ms = 500});
    between.start();
    between.client.send("small");
    ASSERT_TRUE(between.until([&] { return between.server.received() == "small"; }));
    EXPECT_EQ(between.counters[Counter::splices_begun], 0U);
    std::string said = "small";
    for (int piece = 0; piece < 10; ++piece) {
        said += std::string(20'000, static_cast<char>('a' + piece));
        between.client.send(std::string_view(said).substr(said.size() - 20'000));
        between.until([&] { return between.server.received().size() == said.size(); }, 20);
    }
    ASSERT_TRUE(between.until([&] { return between.server.received() == said; }));
    EXPECT_EQ(between.counters[Counter::splices_begun], 1U);
    EXPECT_GT(between.counters[Counter::spliced_bytes], 100'000U);
    EXPECT_EQ(between.pipes->in_use(), 1U);
    ASSERT_TRUE(between.until([&] { return between.pipes->in_use() == 0; }, 1'000));
    EXPECT_EQ(between.counters[Counter::splices_ended_idle], 1U);
    EXPECT_EQ(between.pipes->unused(), 1U);
    ASSERT_TRUE(between.until([&] { return between.pipes->unused() == 0; }, 2'000));
    between.client.send("small again");
    ASSERT_TRUE(between.until([&] { return between.server.received() == said + "small again"; }));
    EXPECT_EQ(between.to_server, said.size() + 11);
    between.relay->cut();
}

TEST(Relay, copies_bulk_when_no_pipe_is_left) {
    Between between(8, Stage::calm(), {.bulk = nervous}, PipeSettings{.pipes_max = 0});
    between.start();
    const std::string said(200'000, 'b');
    between.client.send(said);
    between.client.shutdown();
    ASSERT_TRUE(between.until([&] { return between.server.saw_fin(); }));
    EXPECT_EQ(between.server.received(), said);
    EXPECT_GT(between.counters[Counter::splice_refused_limit], 0U);
    EXPECT_EQ(between.counters[Counter::splices_begun], 0U);
    between.relay->cut();
}

TEST(Relay, copies_for_good_what_splice_does_not_take) {
    sim::Faults faults = Stage::calm();
    faults.unspliceable = 1'000;
    Between between(9, faults, {.bulk = nervous}, PipeSettings{});
    between.start();
    const std::string said(500'000, 'c');
    between.server.send(said);
    between.server.shutdown();
    ASSERT_TRUE(between.until([&] { return between.client.saw_fin(); }));
    EXPECT_EQ(between.client.received(), said);
    EXPECT_EQ(between.counters[Counter::splices_begun], 1U);
    EXPECT_EQ(between.counters[Counter::splices_ended_unsupported], 1U);
    between.relay->cut();
}

TEST(Relay, ends_a_splice_that_waits_for_its_reader_when_the_source_is_lost_or_it_is_cut) {
    for (const bool cut : {true, false}) {
        sim::Faults faults = Stage::calm();
        faults.window_bytes_max = 10'000;
        Between between(10, faults, {.lost_timeout_ms = 2'000, .bulk = nervous}, PipeSettings{});
        between.start();
        between.server.send(std::string(2'000'000, 'd'));
        ASSERT_TRUE(between.until([&] { return between.counters[Counter::spliced_bytes] > 0; }));
        between.client.pause();
        between.server.send(std::string(500'000, 'd'));
        between.until([] { return false; }, 100);
        EXPECT_EQ(between.pipes->in_use(), 1U);
        EXPECT_FALSE(between.end);
        if (cut)
            between.relay->cut();
        else
            between.server.reset();
        const uint64_t lost_ms = between.world.now_ms();
        ASSERT_TRUE(between.until([&] { return between.end.has_value(); }));
        EXPECT_EQ(between.end, cut ? RelayEnd::canceled : RelayEnd::reset);
        EXPECT_LT(between.world.now_ms() - lost_ms, 3'000U);
        EXPECT_TRUE(between.until([&] { return between.client.saw_reset(); }));
        EXPECT_EQ(between.pipes->unused(), 0U) << "it was not empty";
    }
}

} // namespace
} // namespace weft::l7::test
