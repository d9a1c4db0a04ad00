// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/source.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <thread>
#include <utility>

#include "agent/kube/http.hpp"
#include "agent/kube/reflector.hpp"
#include "config/base/clock.hpp"
#include "config/base/random.hpp"
#include "config/base/unique_fd.hpp"

namespace weft::agent::kube {
namespace {

constexpr int idle_turn_ms = 1'000;

std::string kind_name(const KindInfo& kind) {
    return std::string(kind.kind) + (*kind.group == 0 ? "" : std::string(" of ") + kind.group);
}

/// What the loop's thread may know of one kind.
struct KindView {
    bool served = true;
    bool synced = false;
    std::string fault;
    std::vector<std::string> nameless;
    // These alone are no news.
    bool absent = false;
    size_t objects = 0;
    uint64_t last_heard_ms = 0;
    uint64_t failures = 0;
    uint64_t version = 0; ///< known up to there

    /// Nothing may come into force without it: a kind that is not served waits for nobody.
    [[nodiscard]] bool settled() const { return synced || !served; }
    [[nodiscard]] bool says_the_same(const KindView& other) const {
        return synced == other.synced && fault == other.fault && nameless == other.nameless;
    }
};

/// One kind's requests.
class Follower final : public Http::Receiver {
public:
    Follower(const KindInfo& kind, Http& http) : reflector_(kind, any_seed()), http_(http) {}

    void ask_if_due() {
        if (const std::optional<Reflector::Ask> ask = reflector_.next(monotonic_ms()))
            http_.begin({.path = ask->path, .endless = ask->watch}, *this);
    }
    void began(int status) override { reflector_.began(status, monotonic_ms()); }
    [[nodiscard]] bool take_piece(int status, std::string_view piece) override {
        return reflector_.take_piece(status, piece, monotonic_ms());
    }
    void ended(const Outcome& outcome) override { reflector_.ended(outcome, monotonic_ms()); }
    [[nodiscard]] Reflector& reflector() { return reflector_; }
    [[nodiscard]] KindView view() const {
        return {.served = reflector_.kind().served,
                .synced = reflector_.synced(),
                .fault = reflector_.fault(),
                .nameless = reflector_.nameless(),
                .absent = reflector_.absent(),
                .objects = reflector_.objects(),
                .last_heard_ms = reflector_.last_heard_ms(),
                .failures = reflector_.failures(),
                .version = reflector_.resource_version()};
    }

private:
    Reflector reflector_;
    Http& http_;
};

} // namespace

struct KubeSource::State {
    explicit State(ApiServer server);
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State();

    void run(const std::stop_token& stop);
    void hand_over();

    const std::string url;
    UniqueFd news{eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    UniqueFd timer{timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)};
    UniqueFd epoll{epoll_create1(EPOLL_CLOEXEC)};

    // the loop's thread
    bool gathering = false; ///< the timer runs
    uint64_t told_ms = 0;   ///< when the loop was last told to load
    size_t left_out = 0;

    // both
    std::mutex mutex;
    std::vector<Change> changes;
    std::vector<KindView> views;

    // the source's own thread
    Http http;
    std::vector<std::unique_ptr<Follower>> followers;
    std::jthread thread; ///< the last: it ends before what it uses
};

KubeSource::State::State(ApiServer server) : url(server.url), http(std::move(server)) {
    for (const int fd : {news.get(), timer.get()}) {
        epoll_event event{.events = EPOLLIN, .data = {}};
        epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event);
    }
    for (const KindInfo& kind : kinds_read())
        followers.push_back(std::make_unique<Follower>(kind, http));
    views.resize(followers.size());
    thread = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

KubeSource::State::~State() {
    thread.request_stop();
    http.wake();
    thread.join();
}

void KubeSource::State::run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
        uint64_t due_ms = monotonic_ms() + idle_turn_ms;
        for (const auto& follower : followers) {
            follower->ask_if_due();
            if (follower->reflector().due_ms() > monotonic_ms())
                due_ms = std::min(due_ms, follower->reflector().due_ms());
        }
        http.turn(static_cast<int>(due_ms - std::min(due_ms, monotonic_ms())));
        hand_over();
    }
}

void KubeSource::State::hand_over() {
    std::vector<Change> fresh;
    std::vector<KindView> now;
    for (const auto& follower : followers) {
        std::ranges::move(follower->reflector().take_changes(), std::back_inserter(fresh));
        now.push_back(follower->view());
    }
    {
        const std::lock_guard lock(mutex);
        const bool same =
            std::ranges::equal(now, views, [](const KindView& a, const KindView& b) { return a.says_the_same(b); });
        views = std::move(now);
        if (fresh.empty() && same)
            return;
        std::ranges::move(fresh, std::back_inserter(changes));
    }
    const uint64_t one = 1;
    static_cast<void>(::write(news.get(), &one, sizeof one)); // a full counter is as good
}

KubeSource::KubeSource(ApiServer server) : state_(std::make_unique<State>(std::move(server))) {}
KubeSource::~KubeSource() = default;

int KubeSource::fd() const {
    return state_->epoll.get();
}

const std::string& KubeSource::name() const {
    return state_->url;
}

bool KubeSource::ready() {
    uint64_t count = 0;
    const bool due = ::read(state_->timer.get(), &count, sizeof count) == sizeof count;
    const bool news = ::read(state_->news.get(), &count, sizeof count) == sizeof count;
    if (due) { // what has come with it is loaded too
        state_->gathering = false;
        state_->told_ms = monotonic_ms();
        return true;
    }
    if (news && !std::exchange(state_->gathering, true)) {
        const uint64_t wait_ms = monotonic_ms() - state_->told_ms < quiet_ms ? gather_ms : gather_first_ms;
        const itimerspec at{.it_interval = {},
                            .it_value = {.tv_sec = 0, .tv_nsec = static_cast<long>(wait_ms * 1'000'000)}};
        timerfd_settime(state_->timer.get(), 0, &at, nullptr);
    }
    return false;
}

bool KubeSource::unsettled() {
    const std::lock_guard lock(state_->mutex);
    return !std::ranges::all_of(state_->views, &KindView::settled);
}

std::vector<SourcePart> KubeSource::parts() {
    const uint64_t now_ms = monotonic_ms();
    std::vector<SourcePart> out;
    const std::lock_guard lock(state_->mutex);
    for (size_t i = 0; i < state_->views.size(); ++i) {
        const KindView& view = state_->views[i];
        out.push_back({.name = kind_name(kinds_read()[i]),
                       .read = view.synced,
                       .absent = view.absent,
                       .objects = view.objects,
                       .silent_ms = now_ms - std::min(now_ms, view.last_heard_ms),
                       .failures = view.failures,
                       .fault = view.fault});
    }
    return out;
}

LoadResult KubeSource::load(ObjectStore previous) {
    std::vector<Change> changes;
    std::vector<KindView> views;
    {
        const std::lock_guard lock(state_->mutex);
        changes.swap(state_->changes);
        views = state_->views;
    }
    StoreUpdate update(previous, state_->url);
    for (Change& change : changes)
        std::visit([&](auto&& what) { update.apply(std::move(what)); }, std::move(change));
    state_->left_out += update.left_out();

    LoadResult result;
    result.store = std::move(previous);
    result.changed = update.changed();
    const auto report = [&](std::string object, std::string message) {
        result.faults.push_back(
            {.origin = state_->url, .object = std::move(object), .field = {}, .message = std::move(message)});
    };
    for (size_t i = 0; i < views.size(); ++i) {
        const KindInfo& kind = kinds_read()[i];
        if (!views[i].fault.empty())
            report("", kind_name(kind) + ": " + views[i].fault);
        for (const std::string& fault : views[i].nameless)
            report("", kind_name(kind) + ": " + fault);
        if (views[i].absent && kind.served) // of the others nothing ever was in force
            result.absent.emplace_back(kind.kind);
        result.versions.push_back(views[i].version);
        if (!views[i].settled()) {
            result.unread.push_back(kind_name(kind));
            result.unreadable.push_back(kind_name(kind));
        }
    }
    if (state_->left_out != 0)
        report("", "objects are left out: the agent holds no more");
    return result;
}

} // namespace weft::agent::kube
