// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/daemonset.hpp"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "agent/kube/http.hpp"
#include "agent/source/json.hpp"
#include "config/base/clock.hpp"
#include "config/base/log.hpp"

namespace weft::agent::kube {
namespace {

constexpr int ok = 200;
constexpr int not_found = 404;

/// The API server's own word about this object: a proxy before it may say 404 too.
bool is_not_found(std::string_view body, const std::string& name) {
    const auto status = parse_json(body);
    return status && text_member(&*status, "kind") == "Status" && text_member(&*status, "reason") == "NotFound" &&
           text_member(status->find("details"), "name") == name;
}

} // namespace

DaemonSetFollower::Ask DaemonSetFollower::next() const {
    const std::string collection = "/apis/apps/v1/namespaces/" + ns_ + "/daemonsets";
    if (!watching_)
        return {.path = collection + "/" + name_, .watch = false};
    return {.path = collection + "?watch=true&allowWatchBookmarks=true&fieldSelector=metadata.name%3D" + name_ +
                    "&resourceVersion=" + resource_version_ + "&timeoutSeconds=" + std::to_string(watch_min_s),
            .watch = true};
}

bool DaemonSetFollower::take_piece(int status, std::string_view piece) {
    if (buffer_.size() + piece.size() > event_bytes_max)
        return false;
    buffer_ += piece;
    if (!watching_ || status != ok)
        return true;
    size_t begin = 0;
    for (size_t end = buffer_.find('\n'); end != std::string::npos; end = buffer_.find('\n', begin)) {
        take_event(std::string_view(buffer_).substr(begin, end - begin));
        begin = end + 1;
    }
    buffer_.erase(0, begin);
    return true;
}

uint64_t DaemonSetFollower::ended(const Outcome& outcome) {
    const bool watched = std::exchange(watching_, false);
    const std::string body = std::exchange(buffer_, {});
    if (watched && outcome.status == ok)
        return watch_pause_ms; // its time is over, or the version is forgotten
    if (outcome.status == not_found && !watched && is_not_found(body, name_)) {
        existence_ = Existence::deleted;
        fault_.clear();
        return retry_max_ms;
    }
    const auto object = parse_json(body);
    if (outcome.status == ok && outcome.error.empty() && object) {
        take_object(*object);
        watching_ = !resource_version_.empty();
        fault_.clear();
        failures_ = 0;
        return watching_ ? 0 : retry_max_ms;
    }
    fault_ = outcome.status != 0 && outcome.status != ok ? "HTTP status " + std::to_string(outcome.status)
             : outcome.error.empty()                     ? "the answer cannot be read"
                                                         : outcome.error;
    return std::min(retry_min_ms << std::min<uint64_t>(failures_++, 8), retry_max_ms);
}

void DaemonSetFollower::take_event(std::string_view line) {
    const auto event = parse_json(line);
    const Value* object = event ? event->find("object") : nullptr;
    if (object == nullptr)
        return;
    const std::string type = text_member(&*event, "type");
    if (type == "DELETED")
        existence_ = Existence::deleted;
    else if (type == "ADDED" || type == "MODIFIED")
        take_object(*object);
}

/// With a deletionTimestamp it only waits for its pods.
void DaemonSetFollower::take_object(const Value& object) {
    const Value* meta = object.find("metadata");
    resource_version_ = text_member(meta, "resourceVersion");
    existence_ = text_member(meta, "deletionTimestamp").empty() ? Existence::wanted : Existence::deleted;
}

// ------------------------------------------------------------------ the thread

struct DaemonSetWatch::State final : Http::Receiver {
    State(ApiServer server, std::string ns, std::string name)
        : http(std::move(server)), follower(std::move(ns), std::move(name)) {}

    void began(int) override {}
    bool take_piece(int status, std::string_view piece) override {
        const bool more = follower.take_piece(status, piece);
        publish();
        return more;
    }
    void ended(const Outcome& outcome) override {
        due_ms = monotonic_ms() + follower.ended(outcome);
        under_way = false;
        publish();
    }

    void publish() {
        existence.store(follower.existence());
        if (follower.fault() == said)
            return;
        said = follower.fault();
        if (!said.empty())
            log::warn("daemonset_unknown", log::kv("reason", said));
    }

    void run(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            const uint64_t now = monotonic_ms();
            if (!under_way && now >= due_ms) {
                const DaemonSetFollower::Ask ask = follower.next();
                under_way = true;
                http.begin({.path = ask.path, .endless = ask.watch}, *this);
            }
            http.turn(under_way ? turn_ms : static_cast<int>(std::min<uint64_t>(due_ms - now, turn_ms)));
        }
    }

    static constexpr int turn_ms = 60'000;
    Http http;
    DaemonSetFollower follower;
    bool under_way = false;
    uint64_t due_ms = 0;
    std::string said;
    std::atomic<Existence> existence = Existence::unknown;
    std::jthread thread;
};

DaemonSetWatch::DaemonSetWatch(ApiServer server, std::string ns, std::string name)
    : state_(std::make_unique<State>(std::move(server), std::move(ns), std::move(name))) {
    state_->thread = std::jthread([state = state_.get()](const std::stop_token& stop) { state->run(stop); });
}

DaemonSetWatch::~DaemonSetWatch() {
    state_->thread.request_stop();
    state_->http.wake();
    state_->thread.join();
}

Existence DaemonSetWatch::existence() const {
    return state_->existence.load();
}

} // namespace weft::agent::kube
