// SPDX-License-Identifier: Apache-2.0
// What weft-cni says of pods that start and go, and what it is told.
#include <algorithm>
#include <utility>

#include "agent/loop.hpp"
#include "agent/reconcile/pod_index.hpp"
#include "config/base/clock.hpp"
#include "config/base/log.hpp"

namespace weft::agent {

using metrics::Event;
using weft::cni::Outcome;
using weft::cni::Verb;

namespace {

std::optional<NetnsId> id_of(const UniqueFd& netns) {
    const auto id = netns ? NetnsId::of("/proc/self/fd/" + std::to_string(netns.get())) : fail(Code::invalid, "netns");
    return id ? std::optional(*id) : std::nullopt;
}

} // namespace

void Loop::on(cni::Asked event) {
    switch (event.request.verb) {
    case Verb::add: return start_pod(std::move(event));
    case Verb::del: return stop_pod(event);
    case Verb::check: break;
    }
    starting_.push_back({.token = event.token, .request = std::move(event.request), .deadline_ms = 0, .lacking = ""});
}

void Loop::on(const cni::Left& event) {
    std::erase_if(starting_, [&](const Starting& each) { return each.token == event.token; });
}

void Loop::start_pod(cni::Asked event) {
    const auto refuse = [&](const char* cause, std::string why) {
        counters_.add(Event::cni_refusal, cause);
        settings_.cni_reply(event.token, {.outcome = Outcome::refused, .reason = std::move(why)});
    };
    auto addresses = cni::Sandboxes::addresses_of(event.request);
    if (!addresses)
        return refuse("address", addresses.error());
    const std::string pod = cni::pod_of(event.request);
    const std::optional<NetnsId> told = id_of(event.netns);
    const auto word = sandboxes_.word_on(pod, objects_.store());
    if (!sandboxes_.up(event.request, *std::move(addresses), std::move(event.netns), objects_.store(), monotonic_ms()))
        return refuse("full", "the agent knows the most sandboxes that it can");
    std::erase(named_, pod); // that was said of its sandbox before
    if (const CapturePtr capture = pods_.find(pod)) {
        stale_ = true;
        if (told && capture->netns.id() != *told)
            lose_pod(*capture, "it has a new sandbox");
        else if (!cni::is_told(capture->netns.path()))
            named_.push_back(pod);
    }
    const uint64_t deadline_ms = monotonic_ms() + event.request.wait_ms;
    starting_.push_back(
        {.token = event.token, .request = std::move(event.request), .deadline_ms = deadline_ms, .lacking = ""});
    pods_.retry_now();
    stale_ = stale_ || depends_on(pod, word);
}

/// What is compiled depends on what the container runtime has just said of the pod. Of one that is not enrolled only
/// the addresses are in it, and of one that the store does not have, nothing. `before`: the word until then.
bool Loop::depends_on(const std::string& pod, const std::optional<cni::Sandboxes::Word>& before) const {
    const Pod* const known = objects_.store().find<Pod>(cni::name_of(pod));
    return (known != nullptr && is_enrolled(objects_.store(), *known)) ||
           sandboxes_.word_on(pod, objects_.store()) != before;
}

/// The namespace goes: our sockets would keep it. Only that of the sandbox that is meant: the pod may have a new one.
void Loop::stop_pod(const cni::Asked& event) {
    const std::string pod = cni::pod_of(event.request);
    const CapturePtr capture = pods_.find(pod);
    const std::optional<NetnsId> told = id_of(event.netns);
    const std::optional<NetnsId> known = sandboxes_.namespace_of(pod);
    const bool same = capture && told && capture->netns.id() == *told;
    const auto word = sandboxes_.word_on(pod, objects_.store());
    if (sandboxes_.down(event.request, same, objects_.store(), monotonic_ms())) {
        std::erase_if(starting_, [&](const Starting& each) { // it does not come up any more
            if (cni::pod_of(each.request) != pod || each.request.container != event.request.container)
                return false;
            settings_.cni_reply(each.token, {.outcome = Outcome::refused, .reason = "the sandbox was deleted"});
            return true;
        });
        if (capture && (same || (known && capture->netns.id() == *known)))
            lose_pod(*capture, "its sandbox is deleted");
        stale_ = stale_ || capture || depends_on(pod, word);
    }
    going_.push_back(event.token);
}

/// The runtime gives the address to another pod next: by then the kernel has no entry of this one under it.
void Loop::answer_going() {
    for (const uint64_t token : std::exchange(going_, {}))
        settings_.cni_reply(token, {.outcome = Outcome::released, .reason = ""});
}

cni::StartFacts Loop::start_facts(Starting& starting) const {
    const std::string uid = cni::pod_of(starting.request);
    const NodeRules& node = settings_.compile.node;
    const Pod* const pod = cni::find_pod(objects_.store(), starting.request);
    cni::StartFacts facts{.not_begun = begun_ ? "" : missing().front(),
                          .uid_needed = starting.request.uid.empty() && !node.trusts_annotation,
                          .pod_known = pod != nullptr,
                          .namespace_known =
                              node.trusts_annotation ||
                              objects_.store().find<Namespace>({.ns = {}, .name = starting.request.ns}) != nullptr,
                          .not_captured = pods_.lacking(uid)};
    facts.enrolled = pod != nullptr && is_enrolled(objects_.store(), *pod) && !pod->finished;
    facts.local = pod != nullptr && is_local(*pod, node);
    const CapturePtr capture = pods_.find(uid);
    if (!begun_ || !capture || !facts.not_captured.empty())
        return facts;
    const CapturedPod here{.id = capture->id, .netns_cookie = capture->netns.cookie()};
    const std::vector<IpAddress>* const told = sandboxes_.addresses(uid);
    facts.compiled = cni::has_pod(compiled_.kernel, here, told == nullptr ? std::vector<IpAddress>() : *told);
    if (facts.compiled && starting.generation == 0)
        starting.generation = generation_wanted_;
    facts.in_kernel = kernel_.attached(here.id) && cni::holds(kernel_.now(), compiled_.kernel, here.netns_cookie);
    facts.in_engine = engine_.connected() && starting.generation != 0 && engine_acknowledged_ >= starting.generation;
    return facts;
}

void Loop::answer_starting() {
    const uint64_t now = monotonic_ms();
    std::erase_if(starting_, [&](Starting& starting) {
        cni::StartVerdict verdict = cni::judge(start_facts(starting));
        starting.lacking = verdict.lacking;
        if (!verdict.outcome && now < starting.deadline_ms)
            return false;
        const Outcome outcome = verdict.outcome.value_or(Outcome::refused);
        const std::string pod = cni::pod_of(starting.request);
        if (outcome == Outcome::refused)
            log::warn("pod_start_refused", log::kv("pod", pod), log::kv("reason", verdict.lacking));
        const CapturePtr capture = pods_.find(pod);
        if (outcome == Outcome::not_enrolled || (capture && !cni::is_told(capture->netns.path())))
            named_.push_back(pod);
        settings_.cni_reply(starting.token, {.outcome = outcome, .reason = std::move(verdict.lacking)});
        return true;
    });
}

/// Not at once: the control thread may still open the namespace by the descriptor, until it has the new path.
void Loop::close_named() {
    for (const std::string& pod : std::exchange(named_, {}))
        sandboxes_.found(pod);
}

Json Loop::cni_status() const {
    if (!settings_.cni_reply)
        return nullptr;
    Json waiting = Json::array();
    for (const Starting& each : starting_)
        waiting.push_back({{"pod", cni::pod_of(each.request)}, {"reason", each.lacking}});
    return {{"installed", settings_.cni_status ? settings_.cni_status() : Json(nullptr)},
            {"starting", std::move(waiting)},
            {"sandboxes", sandboxes_.size()}};
}

} // namespace weft::agent
