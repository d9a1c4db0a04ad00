// SPDX-License-Identifier: Apache-2.0
// What the loop tells others: weftctl, probes, metrics, the log.
#include <algorithm>

#include "agent/loop.hpp"
#include "agent/status.hpp"
#include "config/base/clock.hpp"
#include "config/base/json.hpp"
#include "config/base/log.hpp"

namespace weft::agent {

using metrics::Event;

namespace {

/// Text of manifests and of the engine may hold any bytes: replaced, not thrown on.
std::string text_of(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

} // namespace

std::vector<std::string> Loop::missing() const {
    std::vector<std::string> lines;
    if (objects_.held()) {
        for (const std::string& reason : objects_.hold())
            lines.push_back("everything is left as the former agent had it, and new pods are not captured: " + reason);
        return lines;
    }
    if (!begun_ && !objects_.unread().empty()) {
        for (const std::string& part : objects_.unread())
            lines.push_back("the source is not read whole yet: " + part);
        return lines;
    }
    if (!begun_) {
        lines.emplace_back("waiting for the engine that survived the former agent");
        return lines;
    }
    if (!engine_.connected())
        lines.emplace_back("engine not connected");
    else if (!engine_.error().empty())
        lines.push_back("the engine refused the snapshot: " + engine_.error());
    else if (!engine_.acknowledged())
        lines.emplace_back("the engine has not applied the snapshot yet");
    for (const std::string& fault : kernel_.faults())
        lines.push_back("kernel: " + fault);
    if (lines.empty())
        for (const CapturePtr& capture : pods_.held())
            if (!kernel_.attached(capture->id))
                lines.push_back("kernel: pod " + capture->uid + " is not attached yet");
    return lines;
}

void Loop::answer_waiters() {
    if (waiters_.empty())
        return;
    std::vector<std::string> lacking = missing();
    for (const Pods::Failure& pod : pods_.unserved())
        lacking.push_back("pod " + pod.uid + ": " + pod.reason);
    if (kernel_.awaits_handshakes())
        lacking.emplace_back("handshakes from before a rule are under way");
    const uint64_t now = monotonic_ms();
    Json answer = {{"generation", generation_wanted_},
                   {"warnings", sync_warnings(objects_.faults(), compiled_.diagnostics, pods_.missing())}};
    // Waiting does not help against these: the rest is in force, and the answer is no.
    const std::vector<std::string> unreadable = unreadable_lines(objects_.unreadable(), objects_.faults());
    std::erase_if(waiters_, [&](const Waiter& waiter) {
        if ((!waiter.read || !lacking.empty()) && now < waiter.deadline_ms)
            return false;
        std::vector<std::string> reasons = lacking;
        reasons.insert(reasons.end(), unreadable.begin(), unreadable.end());
        if (!waiter.read)
            reasons.emplace_back("a file of the source is still being written");
        std::string why;
        for (const std::string& line : reasons)
            why += (why.empty() ? "" : "; ") + line;
        control_.reply(waiter.token, {.ok = reasons.empty(), .error = std::move(why), .json = text_of(answer)});
        return true;
    });
}

std::string Loop::status() const {
    const StatusFacts facts{.version = settings_.version,
                            .source_path = objects_.source().name(),
                            .source_read_s = objects_.read_s(),
                            .source_faults = objects_.faults(),
                            .source_parts = objects_.source().parts(),
                            .source_ignored = objects_.ignored(),
                            .generation_wanted = generation_wanted_,
                            .generation_applied = generation_applied_,
                            .missing = missing(),
                            .engine = control_.engine(),
                            .snapshot_error = engine_.error(),
                            .cgroup = settings_.cgroup,
                            .pin_dir = settings_.pin_dir,
                            .heartbeat_age_ms = kernel_.heartbeat_age_ms(),
                            .maps = kernel_.usage(),
                            .kernel_faults = kernel_.faults(),
                            .cut_fault = kernel_.cut_fault(),
                            .kubelet = kubelet_.view(),
                            .statuses = compiled_.statuses,
                            .diagnostics = compiled_.diagnostics,
                            .pods = pods_.views(),
                            .cni = cni_status(),
                            .writer =
                                settings_.writer == nullptr ? std::nullopt : std::optional(settings_.writer->report())};
    return text_of(status_json(facts));
}

void Loop::publish_readiness() {
    std::vector<std::string> lacking = missing();
    // During an upgrade another pod's engine may serve: that one is about to go.
    if (lacking.empty() && !settings_.group.empty() && control_.engine().group != settings_.group)
        lacking.emplace_back("an engine of another group serves, not this agent's own yet");
    metrics::AgentReport report{.engine_connected = engine_.connected(),
                                .generation_wanted = generation_wanted_,
                                .generation_applied = generation_applied_,
                                .pods_captured = pods_.captured().size(),
                                .pods_missing = pods_.missing().size(),
                                .kubelet_found = kubelet_.view().pid != 0 && kubelet_.view().fault.empty()};
    const std::lock_guard lock(mutex_);
    ready_ = {.good = lacking.empty(), .text = lacking.empty() ? "ready" : lacking.front()};
    report_ = report;
}

/// Before the first generation nothing is known of what shall be.
void Loop::tell_writer() {
    if (settings_.writer == nullptr || !begun_ || !settings_.writer->wants_news())
        return;
    status::View view{.store = objects_.store(),
                      .statuses = compiled_.statuses,
                      .serial = compile_serial_,
                      .versions = objects_.versions(),
                      .in_force = generation_applied_ == generation_wanted_,
                      .captured = {},
                      .enrolled = {}};
    for (const Pods::View& pod : pods_.views()) {
        if (pod.state == Pods::State::releasing)
            continue;
        view.enrolled.insert(pod.uid);
        if (pod.state == Pods::State::captured && kernel_.attached(pod.id))
            view.captured.emplace(pod.uid, pod.id);
    }
    settings_.writer->look(view);
}

/// One line per fault when it appears; nothing on retries; gone and back again is a new one.
void Loop::log_faults() {
    std::set<std::string> present;
    for (const SourceFault& fault : objects_.faults()) {
        const std::string line = line_of(fault);
        if (present.insert(line).second && !faults_said_.contains(line)) {
            counters_.add(Event::source_fault, "");
            log::error("source_fault", log::kv("origin", fault.origin), log::kv("object", fault.object),
                       log::kv("field", fault.field), log::kv("message", fault.message));
        }
    }
    for (const Diagnostic& diagnostic : compiled_.diagnostics) {
        const std::string line = line_of(diagnostic);
        if (diagnostic.severity == Diagnostic::Severity::warning || !present.insert(line).second ||
            faults_said_.contains(line))
            continue;
        const bool refused = diagnostic.severity == Diagnostic::Severity::refused;
        counters_.add(refused ? Event::object_refused : Event::object_error, "");
        log::error(refused ? "object_refused" : "object_error", log::kv("object", diagnostic.object),
                   log::kv("field", diagnostic.field), log::kv("message", diagnostic.message));
    }
    for (const std::string& reason : objects_.hold())
        if (present.insert("hold: " + reason).second && !faults_said_.contains("hold: " + reason)) {
            counters_.add(Event::source_hold, "");
            log::error("former_state_held", log::kv("reason", reason));
        }
    for (const std::string& fault : kernel_.faults())
        if (present.insert("kernel: " + fault).second && !faults_said_.contains("kernel: " + fault))
            log::error("kernel_operation_failed", log::kv("reason", fault));
    faults_said_ = std::move(present);
}

Loop::Readiness Loop::ready() const {
    const std::lock_guard lock(mutex_);
    return ready_;
}

Loop::Readiness Loop::healthy() const {
    const uint64_t last = last_turn_ms_.load();
    const uint64_t now = monotonic_ms();
    const bool stuck = now > last && now - last > stuck_ms;
    return {.good = !stuck, .text = stuck ? "the reconcile loop is stuck" : "ok"};
}

metrics::AgentReport Loop::report() const {
    const std::lock_guard lock(mutex_);
    return report_;
}

} // namespace weft::agent
