// SPDX-License-Identifier: Apache-2.0
#include "agent/status/writer.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "agent/status/lease_keeper.hpp"
#include "agent/status/object_writer.hpp"
#include "agent/status/pod_writer.hpp"
#include "config/base/clock.hpp"
#include "config/base/log.hpp"
#include "config/base/random.hpp"

namespace weft::agent::status {
namespace {

using metrics::Event;

constexpr uint64_t turn_max_ms = 1'000;
/// At the end, for what was begun before.
constexpr uint64_t under_way_max_ms = 1'000;

/// What the loop's thread hands to the writer's. Each part is set when it is new; the newest replaces what was not
/// taken.
struct News {
    std::optional<Versions> in_force;
    std::optional<std::vector<PodMark>> marks;
    std::optional<std::vector<PodMark>> marked;
    std::optional<std::vector<WantedStatus>> wanted;
};

} // namespace

struct Writer::State {
    State(Settings of, metrics::Counters& counting)
        : settings(std::move(of)), counters(counting), api(settings.server, counting),
          leases({.ns = settings.ns, .node = settings.node, .seed = any_seed()}, api),
          objects(api, settings.node, any_seed()), pods(api, any_seed()),
          thread([this](const std::stop_token& stop) { run(stop); }) {}

    void run(const std::stop_token& stop);
    void take_news(uint64_t now_ms);
    void lead(uint64_t now_ms);
    void tell();
    void say_faults();
    void release();
    void finish(uint64_t end_ms);

    const Settings settings;
    metrics::Counters& counters;

    // the loop's thread
    PodIds acknowledged;          ///< once captured with everything in force
    std::optional<uint64_t> seen; ///< View::serial
    std::optional<uint64_t> seen_wanted;
    PodIds seen_acknowledged;
    std::set<std::string> seen_enrolled;

    // both
    std::atomic<bool> wants_news{true};
    std::atomic<bool> leading{false};
    std::atomic<bool> wants_all{false}; ///< a new leader, who knows nothing yet
    std::atomic<bool> unmark{false};
    mutable std::mutex mutex;
    News news;
    WriterReport report;

    // the writer's own thread
    Api api;
    LeaseKeeper leases;
    ObjectWriter objects;
    PodWriter pods;
    std::vector<PodMark> marked; ///< to be removed at the end
    std::set<std::string> faults_said;
    uint64_t acks_read = 0;
    uint64_t news_at_ms = 0;
    std::jthread thread; ///< the last: it ends before what it uses
};

void Writer::State::run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
        const uint64_t now = monotonic_ms();
        take_news(now);
        leases.step(now, objects.awaiting_nodes() != 0);
        lead(now);
        pods.step(now);
        tell();
        const uint64_t due = std::min({leases.due_ms(), objects.due_ms(), pods.due_ms(), news_at_ms + news_ms});
        api.turn(static_cast<int>(std::min(due > now ? due - now : 1, turn_max_ms)));
    }
    release();
}

void Writer::State::take_news(uint64_t now_ms) {
    if (now_ms < news_at_ms + news_ms)
        return;
    news_at_ms = now_ms;
    News fresh;
    {
        const std::lock_guard lock(mutex);
        fresh = std::exchange(news, {});
    }
    wants_news.store(true);
    if (fresh.in_force)
        leases.in_force(*std::move(fresh.in_force));
    if (fresh.marked)
        marked = *std::move(fresh.marked);
    if (fresh.marks)
        pods.take(*std::move(fresh.marks), now_ms);
    if (fresh.wanted && leading.load())
        objects.take(*std::move(fresh.wanted), leases.acks(), now_ms);
}

void Writer::State::lead(uint64_t now_ms) {
    const bool leads = leases.leads(now_ms);
    if (leading.exchange(leads) != leads) {
        counters.add(Event::leader_change, leads ? "acquired" : "lost");
        log::info(leads ? "status_leader_acquired" : "status_leader_lost", log::kv("leader", leases.leader()));
        objects.stop();
        wants_all.store(leads);
    }
    if (!leads)
        return;
    if (std::exchange(acks_read, leases.acks_read()) != leases.acks_read())
        objects.acknowledged(leases.acks(), now_ms);
    objects.step(now_ms);
}

void Writer::State::tell() {
    WriterReport now{.leader = leases.leader(),
                     .leads = leading.load(),
                     .writes = api.writes(),
                     .failures = api.failures(),
                     .pending = objects.pending() + pods.pending(),
                     .awaiting = objects.awaiting_nodes(),
                     .nodes = leases.acks().nodes(),
                     .silent = leases.acks().silent(),
                     .faults = api.faults()};
    say_faults();
    const std::lock_guard lock(mutex);
    report = std::move(now);
}

/// One line per fault when it appears; gone and back again is a new one.
void Writer::State::say_faults() {
    std::set<std::string> present;
    for (std::string& fault : api.faults()) {
        if (!faults_said.contains(fault))
            log::warn("api_write_failed", log::kv("reason", fault));
        present.insert(std::move(fault));
    }
    faults_said = std::move(present);
}

void Writer::State::release() {
    const bool ending = unmark.load();
    const uint64_t start = monotonic_ms();
    finish(start + under_way_max_ms); // a renewal that arrives later would keep the Lease
    leases.release(ending);
    finish(start + release_max_ms);
    if (!ending)
        return;
    std::map<std::string, PodMark> left; // by uid
    for (std::vector<PodMark>& some : std::array{std::move(marked), pods.unseen()})
        for (PodMark& mark : some)
            left.insert_or_assign(mark.uid, std::move(mark));
    while (!left.empty() && monotonic_ms() < start + unmark_max_ms) {
        for (size_t i = 0; i < pods_under_way_max && !left.empty(); ++i)
            api.call(mark_request(left.extract(left.begin()).mapped()), mark_permission(),
                     [](Verdict, const kube::Answer&) {});
        finish(start + unmark_max_ms);
    }
    if (!left.empty())
        log::warn("pods_still_marked", log::kv("count", left.size()));
}

/// Until every call has ended, or the time.
void Writer::State::finish(uint64_t end_ms) {
    for (uint64_t now = monotonic_ms(); api.under_way() != 0 && now < end_ms; now = monotonic_ms())
        api.turn(static_cast<int>(end_ms - now));
}

Writer::Writer(Settings settings, metrics::Counters& counters)
    : state_(std::make_unique<State>(std::move(settings), counters)) {}

Writer::~Writer() {
    stop(false);
}

bool Writer::wants_news() const {
    return state_->wants_news.load();
}

void Writer::look(const View& view) {
    State& s = *state_;
    if (!s.wants_news.exchange(false))
        return;
    std::erase_if(s.acknowledged, [&](const auto& pod) {
        const auto now = view.captured.find(pod.first);
        return now == view.captured.end() || now->second != pod.second;
    });
    if (view.in_force)
        s.acknowledged.insert(view.captured.begin(), view.captured.end());
    News news;
    if (view.in_force)
        news.in_force = acknowledged_versions(view.versions);
    const bool changed = std::exchange(s.seen, view.serial) != view.serial;
    const bool moved = s.acknowledged != s.seen_acknowledged || view.enrolled != s.seen_enrolled;
    if (changed || moved) {
        news.marks = marks_to_change(view.store, s.settings.node, s.acknowledged, view.enrolled);
        news.marked = marks_to_remove(view.store, s.settings.node);
        s.seen_acknowledged = s.acknowledged;
        s.seen_enrolled = view.enrolled;
    }
    const bool all = s.wants_all.exchange(false);
    if (s.leading.load() && (std::exchange(s.seen_wanted, view.serial) != view.serial || all))
        news.wanted = wanted_statuses(view.store, view.statuses);
    const std::lock_guard lock(s.mutex);
    const auto put = [](auto& place, auto& fresh) {
        if (fresh)
            place = std::move(fresh);
    };
    put(s.news.in_force, news.in_force);
    put(s.news.marks, news.marks);
    put(s.news.marked, news.marked);
    put(s.news.wanted, news.wanted);
}

WriterReport Writer::report() const {
    const std::lock_guard lock(state_->mutex);
    return state_->report;
}

void Writer::stop(bool unmark) {
    if (!state_->thread.joinable())
        return;
    state_->unmark.store(unmark);
    state_->thread.request_stop();
    state_->api.wake();
    state_->thread.join();
}

} // namespace weft::agent::status
