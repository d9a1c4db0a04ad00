// SPDX-License-Identifier: Apache-2.0
// The parts of proxy and server that need no peer.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "l7engine/proxy/proxy.hpp"
#include "l7engine/server/heartbeat.hpp"
#include "l7engine/server/series_ledger.hpp"
#include "tests/unit/server/fake_agent.hpp"

namespace weft::l7::test {
namespace {

UniqueFd any_socket() {
    return UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

std::vector<UniqueFd> sockets(size_t count) {
    std::vector<UniqueFd> made;
    for (size_t index = 0; index < count; ++index)
        made.push_back(any_socket());
    return made;
}

// ------------------------------------------------------------------ stock

class StockTest : public testing::Test {
protected:
    Task<void> wait_for_socket(Deadline deadline) {
        ++waiting;
        Result<UniqueFd> got = co_await stock.wait(7, false, deadline);
        --waiting;
        results.push_back(got ? std::optional<Error>() : got.error());
    }
    void turn_until(size_t count) {
        for (int turn = 0; turn < 2'000 && results.size() < count; ++turn)
            worker->turn(5);
        ASSERT_EQ(results.size(), count);
    }

    std::unique_ptr<Worker> worker = std::move(*Worker::create(0, {.entries = 16, .buffers = 4, .buffer_bytes = 1024}));
    ProxySettings settings;
    Counters counters;
    std::vector<SocketStock::Wish> wishes;
    SocketStock stock{*worker, settings, counters, [this](SocketStock::Wish wish) { wishes.push_back(wish); }};
    size_t waiting = 0;
    std::vector<std::optional<Error>> results;
};

TEST_F(StockTest, asks_once_refills_below_half_and_doubles_when_it_ran_empty) {
    stock.add_pod(7);
    EXPECT_FALSE(stock.try_take(7, false));
    EXPECT_FALSE(stock.try_take(7, false));
    ASSERT_EQ(wishes.size(), 1U) << "one wish at a time";
    EXPECT_EQ(wishes[0].count, settings.stock_start);
    stock.give(7, false, sockets(8));
    for (int taken = 0; taken < 4; ++taken)
        EXPECT_TRUE(stock.try_take(7, false));
    EXPECT_EQ(wishes.size(), 1U) << "half is left";
    EXPECT_TRUE(stock.try_take(7, false));
    ASSERT_EQ(wishes.size(), 2U);
    EXPECT_EQ(wishes[1].count, 5U);
    for (int taken = 0; taken < 3; ++taken)
        EXPECT_TRUE(stock.try_take(7, false));
    EXPECT_FALSE(stock.try_take(7, false));
    EXPECT_FALSE(stock.try_take(7, false));
    EXPECT_EQ(stock.target(7, false), 2 * settings.stock_start) << "once for each time that it ran empty";
    for (int round = 0; round < 20; ++round) {
        stock.give(7, false, sockets(1));
        while (stock.try_take(7, false)) {
        }
    }
    EXPECT_EQ(stock.target(7, false), settings.stock_max);
}

TEST_F(StockTest, grows_with_use_though_it_is_never_empty) {
    stock.add_pod(7);
    (void)stock.try_take(7, false);
    size_t answered = 0;
    for (int taken = 0; taken < 200; ++taken) {
        for (; answered < wishes.size(); ++answered)
            stock.give(7, false, sockets(wishes[answered].count));
        ASSERT_TRUE(stock.try_take(7, false)) << taken;
    }
    EXPECT_EQ(stock.target(7, false), 128U); // 8 + 16 + 32 + 64 were used within a second
    EXPECT_GE(stock.size(), 64U) << "what the pod lives on while the agent is away";
}

TEST_F(StockTest, serves_waiters_in_order_and_times_out_and_fails_when_the_pod_goes) {
    stock.add_pod(7);
    worker->tasks().spawn(wait_for_socket(never));
    worker->tasks().spawn(wait_for_socket(worker->in_ms(20)));
    EXPECT_EQ(waiting, 2U);
    EXPECT_FALSE(stock.try_take(7, false)) << "not past the waiters";
    stock.give(7, false, sockets(1));
    turn_until(2);
    EXPECT_FALSE(results[0].has_value());
    ASSERT_TRUE(results[1].has_value());
    EXPECT_EQ(results[1]->code, Code::unavailable) << "ours: not a reply that is late";
    worker->tasks().spawn(wait_for_socket(never));
    stock.release_pod(7);
    turn_until(3);
    ASSERT_TRUE(results[2].has_value());
    EXPECT_EQ(results[2]->code, Code::unavailable);
    stock.give(7, false, sockets(3));
    EXPECT_EQ(counters[Counter::stock_unwanted], 3U);
    EXPECT_EQ(stock.size(), 0U);
    worker->tasks().spawn(wait_for_socket(never));
    turn_until(4);
    EXPECT_TRUE(results[3].has_value()) << "no pod, no waiting";
}

TEST_F(StockTest, fails_who_waits_when_the_agent_cannot_and_asks_a_new_agent_again) {
    stock.add_pod(7);
    worker->tasks().spawn(wait_for_socket(never));
    ASSERT_EQ(wishes.size(), 1U);
    stock.ask_again();
    EXPECT_EQ(wishes.size(), 2U);
    stock.refuse(7, false);
    turn_until(1);
    EXPECT_EQ(results[0]->code, Code::unavailable);
    stock.give(7, false, sockets(settings.stock_max + 5));
    EXPECT_EQ(stock.size(), settings.stock_max);
    EXPECT_EQ(counters[Counter::stock_unwanted], 5U);
}

TEST_F(StockTest, takes_sockets_back_only_while_the_agent_does_not_answer) {
    settings.stock_overdue_ms = 20;
    stock.add_pod(7);
    const auto give_back = [&] {
        stock.home(7, false).taker.lock()->take_back(any_socket(), stock.home(7, false).tag);
    };
    const auto pass = [&](uint64_t ms) {
        for (const uint64_t end = worker->now_ms() + ms; worker->now_ms() < end;)
            worker->turn(5);
    };
    EXPECT_FALSE(stock.try_take(7, false));
    worker->tasks().spawn(wait_for_socket(never));
    give_back();
    pass(1);
    EXPECT_TRUE(results.empty()) << "asked just now: the agent may still answer";
    pass(40);
    stock.tick();
    turn_until(1);
    EXPECT_FALSE(results[0].has_value()) << "whoever waits gets it";
    for (uint32_t count = 0; count < settings.stock_start + 3; ++count) {
        give_back();
        pass(1);
    }
    EXPECT_EQ(stock.size(), stock.target(7, false)) << "no more than the stock would be";
    EXPECT_EQ(counters[Counter::stock_recycled], 1 + stock.size());
    stock.give(7, false, {});
    ASSERT_TRUE(stock.try_take(7, false));
    give_back();
    pass(40);
    EXPECT_EQ(counters[Counter::stock_recycled], 1 + stock.target(7, false)) << "the agent is back";
}

// ------------------------------------------------------------------ dial slots

std::unique_ptr<Worker> small_worker(uint32_t index) {
    return std::move(*Worker::create(index, {.entries = 16, .buffers = 4, .buffer_bytes = 1024}));
}

TEST(DialSlots, fill_encode_and_free_within_the_workers_own_range) {
    std::vector<abi::weft_dial_slot> memory(64);
    const auto worker = small_worker(1);
    DialSlots slots(*worker, 2);
    EXPECT_FALSE(slots.take(1, 77, {}, {})) << "no table yet";
    slots.map({.slots = memory.data(), .begin = 0, .count = 64, .keep_alive = nullptr});
    const SocketAddress client = *SocketAddress::parse("10.1.2.3:4567");
    {
        Result<DialSlots::Slot> four = slots.take(1, 77, client, *SocketAddress::parse("10.0.0.2:8080"));
        Result<DialSlots::Slot> six = slots.take(1, 77, client, *SocketAddress::parse("[fd00::2]:8080"));
        ASSERT_TRUE(four && six);
        EXPECT_EQ(four->index(), 32U);
        EXPECT_EQ(four->address().to_string(), "240.0.0.32:1");
        EXPECT_EQ(six->address().to_string(), "[100::21]:1");
        EXPECT_EQ(memory[32].used, 1U);
        EXPECT_EQ(memory[32].socket_cookie, 77U);
        EXPECT_EQ(memory[32].client_port, htons(4567));
        EXPECT_EQ(memory[32].destination_port, htons(8080));
        EXPECT_EQ(IpAddress{std::to_array(memory[32].client.bytes)}.to_string(), "10.1.2.3");
        EXPECT_EQ(slots.in_use(), 2U);
        // The same map again (a new agent): what is in use stays so.
        slots.map({.slots = memory.data(), .begin = 0, .count = 64, .keep_alive = nullptr});
        Result<DialSlots::Slot> next = slots.take(1, 77, client, client);
        ASSERT_TRUE(next);
        EXPECT_EQ(next->index(), 34U);
    }
    EXPECT_EQ(slots.in_use(), 0U);
    EXPECT_EQ(memory[32].used, 0U);
}

/// A new agent may have given our old range to another engine.
TEST(DialSlots, of_a_former_range_are_not_touched_again) {
    std::vector<abi::weft_dial_slot> memory(64);
    const auto worker = small_worker(1);
    DialSlots slots(*worker, 2);
    slots.map({.slots = memory.data(), .begin = 16, .count = 16, .keep_alive = nullptr});
    {
        Result<DialSlots::Slot> before = slots.take(1, 77, {}, {});
        ASSERT_TRUE(before);
        EXPECT_EQ(before->index(), 24U);
        slots.map({.slots = memory.data(), .begin = 32, .count = 16, .keep_alive = nullptr});
        Result<DialSlots::Slot> after = slots.take(1, 78, {}, {});
        ASSERT_TRUE(after);
        EXPECT_EQ(after->index(), 40U);
        memory[24].socket_cookie = 99; // the other engine's
    }
    EXPECT_EQ(memory[24].used, 1U);
    EXPECT_EQ(memory[40].used, 0U);
    EXPECT_EQ(slots.in_use(), 0U);
}

TEST(DialSlots, leave_room_for_other_pods) {
    std::vector<abi::weft_dial_slot> memory(16);
    const auto worker = small_worker(0);
    DialSlots slots(*worker, 1);
    slots.map({.slots = memory.data(), .begin = 0, .count = 16, .keep_alive = nullptr});
    std::vector<DialSlots::Slot> held;
    for (int taken = 0; taken < 4; ++taken)
        held.push_back(std::move(*slots.take(1, 77, {}, {})));
    EXPECT_EQ(slots.take(1, 77, {}, {}).error().code, Code::unavailable);
    for (uint32_t pod = 2; pod < 5; ++pod) {
        for (int taken = 0; taken < 4; ++taken)
            held.push_back(std::move(*slots.take(pod, 77, {}, {})));
    }
    EXPECT_EQ(slots.take(9, 77, {}, {}).error().code, Code::unavailable);
    held.clear();
    EXPECT_TRUE(slots.take(9, 77, {}, {}));
}

Task<void> dial(DialSlots& slots, uint32_t pod, Until until, std::vector<std::string>& trace) {
    Result<DialSlots::Slot> slot = co_await slots.wait(pod, 77, {}, {}, until);
    trace.push_back(slot ? std::to_string(pod) : name(slot.error().code));
    if (slot)
        slots.dialled(std::move(*slot));
}

TEST(DialSlots, are_free_after_the_turn_that_submits_the_connect_and_waited_for_until_then) {
    std::vector<abi::weft_dial_slot> memory(4);
    const auto worker = small_worker(0);
    DialSlots slots(*worker, 1); // one for each pod
    slots.map({.slots = memory.data(), .begin = 0, .count = 4, .keep_alive = nullptr});
    std::vector<std::string> trace;
    TaskGroup group;
    for (int count = 0; count < 3; ++count)
        group.spawn(dial(slots, 1, worker->in_ms(10'000), trace));
    group.spawn(dial(slots, 2, worker->in_ms(10'000), trace));
    EXPECT_THAT(trace, testing::ElementsAre("1", "2")) << "another pod does not wait";
    EXPECT_EQ(memory[0].used, 1U) << "not before the submission";
    for (int turn = 0; turn < 100 && group.size() > 0; ++turn)
        worker->turn(5);
    EXPECT_THAT(trace, testing::ElementsAre("1", "2", "1", "1"));
    for (int turn = 0; turn < 100 && slots.in_use() > 0; ++turn)
        worker->turn(5);
    EXPECT_EQ(slots.in_use(), 0U);
}

TEST(DialSlots, waiting_for_one_ends_in_time_when_canceled_and_when_the_map_comes) {
    std::vector<abi::weft_dial_slot> memory(4);
    const auto worker = small_worker(0);
    DialSlots slots(*worker, 1);
    std::vector<std::string> trace;
    TaskGroup group;
    Cancel cancel;
    group.spawn(dial(slots, 1, worker->in_ms(1), trace));
    for (int turn = 0; turn < 100 && trace.empty(); ++turn)
        worker->turn(5);
    group.spawn(dial(slots, 1, {never, &cancel}, trace));
    cancel.now();
    for (int turn = 0; turn < 100 && trace.size() < 2; ++turn)
        worker->turn(5);
    group.spawn(dial(slots, 1, {never, &cancel}, trace)); // canceled already
    for (int turn = 0; turn < 100 && trace.size() < 3; ++turn)
        worker->turn(5);
    group.spawn(dial(slots, 1, worker->in_ms(10'000), trace));
    slots.map({.slots = memory.data(), .begin = 0, .count = 4, .keep_alive = nullptr});
    for (int turn = 0; turn < 100 && trace.size() < 4; ++turn)
        worker->turn(5);
    EXPECT_THAT(trace, testing::ElementsAre("unavailable", "canceled", "canceled", "1"));
    EXPECT_EQ(group.size(), 0U);
}

// ------------------------------------------------------------------ admission

TEST(Admit, knows_what_a_connection_is_for_or_why_it_is_refused) {
    config::Snapshot snapshot = snapshot_with(*SocketAddress::parse("10.0.1.1:80"));
    snapshot.frontends.push_back({.id = 0x010002,
                                  .addresses = {*IpAddress::parse("fd00::1")},
                                  .port = 443,
                                  .ns = "n",
                                  .service = "s",
                                  .host = "s.n",
                                  .l7 = true,
                                  .consumer_routes = {}});
    const SnapshotView view(std::make_shared<const config::Snapshot>(snapshot));
    struct Case {
        abi::weft_listener_kind kind;
        std::string_view local;
        std::string_view wanted; ///< destination, or the reason
    };
    using enum abi::weft_listener_kind;
    const Case cases[] = {
        {WEFT_LISTENER_OUTBOUND4, "127.1.0.1:15001", "10.96.0.1:80"},
        {WEFT_LISTENER_OUTBOUND4, "127.0.0.1:15001", "not_redirected"},
        {WEFT_LISTENER_OUTBOUND4, "127.1.0.1:15002", "not_redirected"},
        {WEFT_LISTENER_OUTBOUND4, "10.0.0.1:15001", "not_redirected"},
        {WEFT_LISTENER_OUTBOUND4, "127.9.9.9:15001", "unknown_service"},
        {WEFT_LISTENER_OUTBOUND4, "127.1.0.2:15001", "unknown_service"}, // has no IPv4 address
        {WEFT_LISTENER_OUTBOUND6, "[fd00::1]:443", "[fd00::1]:443"},
        {WEFT_LISTENER_OUTBOUND6, "[fd00::1]:444", "unknown_service"},
        {WEFT_LISTENER_OUTBOUND6, "[::1]:15001", "not_redirected"},
        {WEFT_LISTENER_INBOUND4, "10.0.0.2:8080", "10.0.0.2:8080"},
        {WEFT_LISTENER_INBOUND4, "127.0.0.1:15006", "not_steered"},
        {WEFT_LISTENER_INBOUND6, "[::1]:15006", "not_steered"},
        {WEFT_LISTENER_INBOUND6, "[fd00::9]:80", "[fd00::9]:80"},
    };
    for (const Case& one : cases) {
        const auto got =
            admit(one.kind, 1, *SocketAddress::parse(one.local), *SocketAddress::parse("10.9.9.9:1"), view);
        const std::string text =
            got ? got->destination.to_string() : std::string(counter_names[static_cast<size_t>(got.error())].reason);
        EXPECT_EQ(text, one.wanted) << one.local;
    }
}

// ------------------------------------------------------------------ statistics

RequestRecord record_of(uint16_t code, double duration_ms = 3) {
    RequestRecord record;
    record.facts.response_code = code;
    record.duration_ms = duration_ms;
    record.request_bytes = 100;
    record.response_bytes = 2'000;
    return record;
}

TEST(Stats, count_by_labels_and_overflow_into_one_series) {
    const config::Snapshot snapshot = snapshot_with({});
    Counters counters;
    StatsShard shard(2, counters);
    for (int count = 0; count < 3; ++count)
        shard.record(snapshot, record_of(200));
    shard.record(snapshot, record_of(404));
    shard.record(snapshot, record_of(500));
    shard.snapshot_changed();
    shard.record(snapshot, record_of(503));
    EXPECT_EQ(counters[Counter::series_overflow], 2U);
    std::map<std::string, uint64_t> requests;
    for (const StatsSeries& series : shard.collect())
        requests[series.labels[21]] = series.counts.requests;
    EXPECT_THAT(requests,
                testing::ElementsAre(testing::Pair("200", 3), testing::Pair("404", 1), testing::Pair("overflow", 2)));
    EXPECT_TRUE(shard.collect().empty());
}

TEST(Stats, fill_the_documented_buckets) {
    const config::Snapshot snapshot = snapshot_with({});
    Counters counters;
    StatsShard shard(10, counters);
    for (const double duration : {0.0, 0.5, 0.6, 5.0, 4e6})
        shard.record(snapshot, record_of(200, duration));
    const SeriesCounts counts = shard.collect().at(0).counts;
    EXPECT_EQ(counts.duration_ms.buckets[0], 2U); // bounds are inclusive
    EXPECT_EQ(counts.duration_ms.buckets[1], 1U);
    EXPECT_EQ(counts.duration_ms.buckets[2], 1U);
    EXPECT_EQ(counts.duration_ms.buckets.back(), 1U);
    EXPECT_DOUBLE_EQ(counts.duration_ms.sum, 4e6 + 6.1);
    EXPECT_DOUBLE_EQ(counts.request_bytes.sum, 500);
}

StatsSeries series_of(std::string name, uint64_t requests) {
    StatsSeries series{.labels = std::vector<std::string>(label_names.size(), std::move(name)), .counts = {}};
    series.counts.requests = requests;
    return series;
}

std::map<std::string, uint64_t> totals(const SeriesLedger& ledger) {
    proto::EngineReport report;
    ledger.write(report);
    std::map<std::string, uint64_t> totals;
    for (const proto::RequestSeries& series : report.requests())
        totals[series.labels(0)] = series.requests_total();
    return totals;
}

TEST(SeriesLedger, merges_workers_overflows_and_forgets_what_is_idle) {
    SeriesLedger ledger({.series_max = 2, .idle_ms_max = 1'000});
    const auto add = [&](std::string name, uint64_t requests, uint64_t now_ms) {
        std::vector<StatsSeries> part;
        part.push_back(series_of(std::move(name), requests));
        ledger.add(std::move(part), now_ms);
    };
    add("a", 1, 100);
    add("a", 2, 100);
    add("b", 5, 600);
    add("c", 7, 600);
    add("d", 1, 600);
    EXPECT_THAT(totals(ledger),
                testing::ElementsAre(testing::Pair("a", 3), testing::Pair("b", 5), testing::Pair("overflow", 8)));
    ledger.forget_idle(1'099);
    EXPECT_EQ(ledger.size(), 3U);
    ledger.forget_idle(1'100);
    EXPECT_THAT(totals(ledger), testing::ElementsAre(testing::Pair("b", 5), testing::Pair("overflow", 8)));
}

TEST(SeriesLedger, keeps_connections_apart_from_requests) {
    SeriesLedger ledger({.series_max = 1, .idle_ms_max = 1'000});
    const auto add = [&](std::string name, uint64_t bytes) {
        std::vector<TcpSeries> part;
        part.push_back({.labels = std::vector<std::string>(tcp_label_names.size(), std::move(name)),
                        .counts = {.opened = 1, .closed = 0, .sent_bytes = bytes, .received_bytes = 2}});
        ledger.add(std::move(part), 100);
    };
    add("a", 5);
    add("a", 6);
    add("b", 7);
    proto::EngineReport report;
    ledger.write(report);
    EXPECT_EQ(report.requests_size(), 0);
    std::map<std::string, uint64_t> sent;
    for (const proto::TcpSeries& series : report.connections()) {
        EXPECT_EQ(static_cast<size_t>(series.labels_size()), tcp_label_names.size());
        sent[series.labels(0)] = series.sent_bytes();
    }
    EXPECT_THAT(sent, testing::ElementsAre(testing::Pair("a", 11), testing::Pair("overflow", 7)));
    ledger.forget_idle(1'100);
    EXPECT_EQ(ledger.size(), 0U);
}

TEST(TcpStats, an_open_connection_goes_on_counting_in_its_series) {
    const config::Snapshot snapshot = snapshot_with({});
    Counters counters;
    TcpStats stats(1, counters);
    LabelFacts facts;
    facts.protocol = RequestProtocol::tcp;
    TcpSeriesPtr open = stats.series_of(snapshot, facts);
    ++open->counts.opened;
    ASSERT_EQ(stats.collect().size(), 1U);
    EXPECT_EQ(stats.collect().at(0).counts, TcpCounts()) << "nothing new, and not to be forgotten";
    open->counts.sent_bytes += 5;
    EXPECT_EQ(stats.series_of(snapshot, facts), open);
    facts.flags.add(ResponseFlag::UF);
    const TcpSeriesPtr other = stats.series_of(snapshot, facts);
    EXPECT_EQ(other->labels, overflow_labels(tcp_label_names.size()));
    EXPECT_EQ(counters[Counter::series_overflow], 1U);
    const std::vector<TcpSeries> series = stats.collect();
    ASSERT_EQ(series.size(), 2U);
    EXPECT_EQ(series[0].counts.sent_bytes + series[1].counts.sent_bytes, 5U);
    ++open->counts.closed;
    open.reset();
    uint64_t closed = 0;
    for (const TcpSeries& one : stats.collect())
        closed += one.counts.closed;
    EXPECT_EQ(closed, 1U);
    EXPECT_EQ(stats.size(), 1U) << "only the one that is held";
}

// ------------------------------------------------------------------ heartbeat

TEST(Heartbeat, stops_when_one_worker_hangs) {
    const UniqueFd memory(memfd_create("state", MFD_CLOEXEC));
    ASSERT_EQ(ftruncate(memory.get(), 4096), 0);
    const auto written = [&] {
        uint64_t value = 0;
        EXPECT_EQ(pread(memory.get(), &value, sizeof value, 0), 8);
        return value;
    };
    Heartbeat heartbeat(2);
    EXPECT_FALSE(heartbeat.beat({1, 1}, 5)) << "nowhere to write";
    ASSERT_TRUE(heartbeat.map(memory));
    EXPECT_TRUE(heartbeat.beat({1, 1}, 10));
    EXPECT_EQ(written(), 10U);
    const uint64_t late = 5 + Heartbeat::worker_silent_ns_max; // the turns were first seen at 5
    EXPECT_TRUE(heartbeat.beat({9, 1}, late));
    EXPECT_FALSE(heartbeat.beat({99, 1}, late + 1));
    EXPECT_EQ(written(), late);
    EXPECT_TRUE(heartbeat.beat({99, 2}, late + 2));
    heartbeat.stop();
    EXPECT_FALSE(heartbeat.beat({100, 3}, late + 3));
}

TEST(Heartbeat, refuses_what_cannot_be_mapped) {
    Heartbeat heartbeat(1);
    EXPECT_FALSE(heartbeat.map(any_socket()));
    EXPECT_FALSE(map_dial_slots(any_socket(), 0, 0));
    EXPECT_FALSE(map_dial_slots(any_socket(), 0, WEFT_DIAL_SLOTS_MAX + 1));
    EXPECT_FALSE(map_dial_slots(any_socket(), WEFT_DIAL_SLOTS_MAX, 1));
    EXPECT_FALSE(map_dial_slots(any_socket(), UINT32_MAX, 1));
}

} // namespace
} // namespace weft::l7::test
