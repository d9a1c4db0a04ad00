// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics/counters.hpp"

#include <array>
#include <utility>

namespace weft::agent::metrics {
namespace {

struct Meaning {
    Event event;
    const char* name;
    const char* help;
};

constexpr std::array<Meaning, 24> meanings = {{
    {Event::source_fault, "weft_agent_source_faults_total",
     "Faults of the source: files that cannot be read or parsed."},
    {Event::object_refused, "weft_agent_refused_objects_total", "Objects refused whole because of a fault in them."},
    {Event::object_error, "weft_agent_object_errors_total",
     "Faults of objects in force: what they name is missing, or cannot be served."},
    {Event::engine_start, "weft_agent_engine_starts_total", "Engine processes started by this agent."},
    {Event::engine_loss, "weft_agent_engine_losses_total", "Engine connections that ended, by cause."},
    {Event::bad_message, "weft_agent_bad_messages_total", "Messages on the control socket that break the contract."},
    {Event::capture_failure, "weft_agent_capture_failures_total", "Attempts to capture a pod that failed."},
    {Event::pod_vanished, "weft_agent_pods_vanished_total", "Captured pods whose network namespace went away."},
    {Event::apply_failure, "weft_agent_apply_failures_total",
     "Kernel operations that failed, or wait for one that did; they are tried again."},
    {Event::snapshot_refused, "weft_agent_snapshots_refused_total", "Snapshots that an engine refused."},
    {Event::sockets_unavailable, "weft_agent_sockets_unavailable_total", "Wishes for upstream sockets not fulfilled."},
    {Event::scrape_failure, "weft_agent_scrape_failures_total", "Scrapes that lack a part."},
    {Event::connection_refused, "weft_agent_connections_refused_total", "Connections to the control socket refused."},
    {Event::source_hold, "weft_agent_source_holds_total",
     "Reasons for which a restarted agent left everything as it found it."},
    {Event::connection_cut, "weft_agent_connections_cut_total",
     "Connections of pods reset because they were older than the policy that governs their port."},
    {Event::connection_left, "weft_agent_connections_left_total",
     "Such connections that go on unjudged: the kernel is built without CONFIG_INET_DIAG_DESTROY."},
    {Event::cni_answer, "weft_agent_cni_answers_total", "Answers to weft-cni about pods that start or go."},
    {Event::cni_refusal, "weft_agent_cni_refusals_total", "Requests of weft-cni that were not taken, by cause."},
    {Event::cni_fail_open, "weft_agent_cni_fail_opens_total",
     "Pods that weft-cni let start without being captured, since its failurePolicy is failOpen."},
    {Event::cni_install, "weft_agent_cni_installs_total", "Changes of the node's CNI folders, by what was done."},
    {Event::cni_install_failure, "weft_agent_cni_install_failures_total",
     "Changes of the node's CNI folders that failed; they are tried again."},
    {Event::api_write, "weft_agent_api_writes_total", "Writes to the Kubernetes API that succeeded, by resource."},
    {Event::api_write_failure, "weft_agent_api_write_failures_total",
     "Requests for writing to the Kubernetes API that failed, by cause; they are tried again."},
    {Event::leader_change, "weft_agent_leader_changes_total",
     "This agent became or ceased to be the one that writes status."},
}};

const Meaning& meaning_of(Event event) {
    return meanings[std::to_underlying(event)];
}

consteval bool in_enum_order() {
    for (size_t i = 0; i < meanings.size(); ++i)
        if (std::to_underlying(meanings[i].event) != i)
            return false;
    return true;
}
static_assert(in_enum_order());

} // namespace

void Counters::add(Event event, std::string_view reason, uint64_t count) {
    const std::lock_guard lock(mutex_);
    std::pair key(event, std::string(reason));
    if (values_.size() >= reasons_max && !values_.contains(key))
        key.second = "other";
    values_[std::move(key)] += count;
}

uint64_t Counters::total(Event event) const {
    const std::lock_guard lock(mutex_);
    uint64_t sum = 0;
    for (const auto& [key, value] : values_)
        if (key.first == event)
            sum += value;
    return sum;
}

std::vector<Count> Counters::read() const {
    const std::lock_guard lock(mutex_);
    std::vector<Count> counts;
    for (const Meaning& meaning : meanings) {
        const size_t before = counts.size();
        for (const auto& [key, value] : values_)
            if (key.first == meaning.event)
                counts.push_back({.name = meaning.name, .reason = key.second, .value = value});
        if (counts.size() == before)
            counts.push_back({.name = meaning.name, .reason = "", .value = 0});
    }
    return counts;
}

const char* Counters::name(Event event) {
    return meaning_of(event).name;
}

const char* Counters::help(std::string_view name) {
    for (const Meaning& meaning : meanings)
        if (name == meaning.name)
            return meaning.help;
    if (name == "weft_agent_engine_series_left_out_total")
        return "Series of engines not shown: they break the contract or do not fit.";
    return "";
}

} // namespace weft::agent::metrics
