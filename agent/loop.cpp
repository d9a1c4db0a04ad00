// SPDX-License-Identifier: Apache-2.0
#include "agent/loop.hpp"

#include <poll.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "agent/heap.hpp"
#include "agent/stage.hpp"
#include "agent/status.hpp"
#include "config/base/clock.hpp"
#include "config/base/log.hpp"

namespace weft::agent {

using metrics::Event;

namespace {

/// For maps without a history. After --cleanup an engine of the former agent may still come back and accept on
/// listeners under its pods' ids: the same numbers would name other pods now. Service ids need no such care: nobody is
/// sent to a service before the engine has this agent's snapshot.
uint32_t any_pod_id() {
    uint32_t id = 0;
    if (getrandom(&id, sizeof(id), GRND_NONBLOCK) != sizeof(id))
        id = static_cast<uint32_t>(monotonic_ns() >> 10U);
    return 1 + id % first_id_max;
}

} // namespace

Loop::Loop(Settings settings, std::unique_ptr<Source> source, ObjectStore store, bpf::Datapath& datapath, Inbox& inbox,
           engine::Control& control, metrics::Counters& counters)
    : settings_(std::move(settings)), inbox_(inbox), control_(control), counters_(counters),
      kernel_(datapath, counters), kubelet_(settings_.kubelet_port, datapath),
      pods_(Discovery({.root = settings_.kubepods_root})),
      objects_(std::move(source), std::move(store), settings_.objects_file, counters),
      service_ids_(datapath.service_ids()), last_turn_ms_(monotonic_ms()) {
    std::vector<Pods::Former> former;
    for (const auto& [cookie, pod] : kernel_.now().pods)
        former.push_back({.pod = {.id = pod.id, .netns_cookie = cookie},
                          .addresses = pod.addresses,
                          .attached = kernel_.attached(pod.id)});
    const uint32_t next = datapath.pod_id_next();
    pods_.adopt(former, next > 1 ? next : any_pod_id());
}

void Loop::run() {
    const bool wait_for_engine = settings_.adopted || settings_.former_engine.has_value();
    begin_at_ms_ = monotonic_ms() + (wait_for_engine ? engine_grace_ms : 0);
    load_source();
    while (!stopping_)
        turn();
}

void Loop::turn() {
    std::array<pollfd, 2> items = {{{.fd = inbox_.fd(), .events = POLLIN, .revents = 0},
                                    {.fd = objects_.source().fd(), .events = POLLIN, .revents = 0}}};
    const uint64_t now = monotonic_ms();
    const uint64_t wait = next_tick_ms_ > now ? next_tick_ms_ - now : 0;
    poll(items.data(), items.size(), static_cast<int>(wait));
    for (LoopEvent& event : inbox_.take())
        take(std::move(event));
    if (items[1].revents != 0 && objects_.source().ready())
        reload();
    // Once for all pods that start and go now: after a reboot there are a hundred, and each compile takes its time.
    // Before tick(): until the pods that are wanted are told anew, their places may be those of former sandboxes.
    if (stale_)
        recompile();
    if (monotonic_ms() >= next_tick_ms_) {
        next_tick_ms_ = monotonic_ms() + tick_ms;
        tick();
    }
    answer_waiters();
    answer_going();
    answer_starting();
    publish_readiness();
    tell_writer();
    last_turn_ms_.store(monotonic_ms());
}

void Loop::take(LoopEvent event) {
    if (auto* control = std::get_if<engine::ControlEvent>(&event)) {
        std::visit([this](auto&& what) { on(std::forward<decltype(what)>(what)); }, std::move(*control));
    } else if (auto* plugin = std::get_if<cni::Event>(&event)) {
        std::visit([this](auto&& what) { on(std::forward<decltype(what)>(what)); }, std::move(*plugin));
    } else if (auto* wanted = std::get_if<ReportWanted>(&event)) {
        std::map<uint32_t, std::string> names;
        for (const CapturePtr& capture : pods_.held())
            names[capture->id] = capture->uid;
        wanted->answer.set_value(kernel_.report(names));
    } else {
        stopping_ = true;
    }
}

void Loop::on(engine::EngineArrived event) {
    engine_.arrived();
    engine_acknowledged_ = 0;
    for (OfferedListener& offer : event.offers)
        static_cast<void>(pods_.offer(std::move(offer)));
    if (event.hello.applied_generation >= generation_wanted_) {
        // Its number is from another agent, or from this one before it came back: a higher one leaves no doubt.
        generation_wanted_ = event.hello.applied_generation + (begun_ ? 1 : 0);
        engine_.renumbered(generation_wanted_);
        if (begun_ && !snapshot_fault_.empty())
            refuse_snapshot();
        else if (begun_)
            send_snapshot(std::string(sent_body()));
    }
    if (!begun_)
        begin();
    else
        converge();
}

void Loop::on(const engine::EngineApplied& event) {
    if (event.error.empty())
        engine_acknowledged_ = std::max(engine_acknowledged_, event.generation);
    if (event.generation != generation_wanted_)
        return; // of a snapshot that is no longer the newest
    if (event.error.empty()) {
        engine_.applied(event.generation);
    } else {
        engine_.refused(event.error);
        counters_.add(Event::snapshot_refused, "engine");
        log::error("snapshot_refused", log::kv("generation", event.generation), log::kv("reason", event.error));
    }
    converge();
}

void Loop::on(const engine::EngineGone&) {
    engine_.gone();
    engine_acknowledged_ = 0;
    converge();
}

void Loop::on(const engine::CtlAsked& event) {
    if (event.request.verb == engine::CtlRequest::Verb::status) {
        control_.reply(event.token, {.ok = true, .error = "", .json = status()});
        return;
    }
    if (event.request.verb == engine::CtlRequest::Verb::ready) {
        const bool meant = event.request.group.empty() || event.request.group == settings_.group;
        const Readiness said = settings_.ready ? settings_.ready() : ready();
        control_.reply(
            event.token,
            {.ok = meant && said.good, .error = meant ? said.text : "another agent serves on this node", .json = ""});
        return;
    }
    if (event.request.verb == engine::CtlRequest::Verb::step_aside) {
        log::info("stepping_aside", log::kv("engine_connected", engine_.connected()));
        control_.reply(event.token, {.ok = true, .error = "", .json = engine_.connected() ? "true" : "false"});
        settings_.step_aside();
        return;
    }
    const uint32_t wait = std::min(event.request.timeout_ms, sync_wait_max_ms);
    waiters_.push_back({.token = event.token, .deadline_ms = monotonic_ms() + wait});
    pods_.retry_now();
    if (!objects_.source().unsettled()) // else the source says when: half a file may be a good one with less in it
        reload();
}

void Loop::tick() {
    const uint64_t now = monotonic_ms();
    kubelet_.tick(now);
    close_named();
    sandboxes_.note(objects_.store(), now);
    if (!begun_) {
        if (objects_.held() && now >= held_reload_at_ms_ && !objects_.source().unsettled())
            load_source();
        if (now >= begin_at_ms_)
            begin();
        return;
    }
    if (sweep_pods() || (pods_.has_kept() && prune_severed()))
        recompile();
    else if (!kernel_.faults().empty() && now >= kernel_retry_at_ms_)
        converge();
    kernel_.cut_after_handshakes(pods_.held());
    if (now >= heap_trim_at_ms_) {
        heap_trim_at_ms_ = UINT64_MAX;
        give_back_heap();
    }
}

/// The engine of a former agent has come back, or had its time to.
void Loop::begin() {
    // What is known may lack a policy: nothing comes into force before all of it is there.
    if (objects_.source().unsettled())
        return;
    load_source();
    begun_ = !objects_.held();
    recompile();
    // After the first round: an adopted engine that is gone starts with everything ready for it.
    if (settings_.runs_engine && !std::exchange(engine_wanted_, true))
        control_.run_engine(settings_.former_engine);
}

/// True: what is in force may change by it.
bool Loop::load_source() {
    const KernelState& found = kernel_.now();
    const bool was_held = objects_.held(); // then until the source is whole, also when the last pod has gone meanwhile
    const bool may_hold = !begun_ && (was_held || !found.pods.empty() || !found.services.empty());
    using Former = SourceView::Former;
    const bool changed = objects_.load(begun_ ? Former::replaced : may_hold ? Former::in_force : Former::recorded);
    sandboxes_.note(objects_.store(), monotonic_ms());
    ++compile_serial_;
    if (was_held && !objects_.held())
        log::info("source_complete", log::kv("source", objects_.source().name()));
    if (!may_hold)
        return changed;
    held_reload_at_ms_ = monotonic_ms() + held_reload_ms;
    log_faults();
    return true;
}

void Loop::reload() {
    const bool changed = load_source();
    if (!begun_ && !objects_.held() && monotonic_ms() >= begin_at_ms_)
        begin();
    for (Waiter& waiter : waiters_)
        waiter.read = true;
    if (changed || !waiters_.empty())
        recompile();
    else
        log_faults();
}

void Loop::recompile() {
    stale_ = false;
    if (!begun_)
        return;
    objects_.record();
    Compiled next = compile_completed();
    std::ranges::move(sandboxes_.contradictions(objects_.store()), std::back_inserter(next.diagnostics));
    service_ids_ = next.service_ids;
    ++compile_serial_;
    std::expected<std::string, std::string> body = engine::snapshot_body(next.snapshot, sent_body());
    next.snapshot = {}; // in a large cluster the largest thing there is, and the body says the same
    const bool same_snapshot = body ? snapshot_fault_.empty() && *body == sent_body() : body.error() == snapshot_fault_;
    const bool same = generation_wanted_ != 0 && generation_sent_ == generation_wanted_ && same_snapshot &&
                      next.kernel == compiled_.kernel;
    if (same && new_captures_.empty())
        compiled_ = std::move(next); // diagnostics may differ
    else
        publish(std::move(next), std::move(body));
    converge();
    heap_trim_at_ms_ = std::min(heap_trim_at_ms_, monotonic_ms() + heap_trim_ms);
}

/// From the objects and what weft-cni knows more of them. The pods are captured in between.
Compiled Loop::compile_completed() {
    const cni::Completion completion = sandboxes_.complete(objects_.store_to_complete());
    std::vector<Diagnostic> diagnostics;
    PodIndex index(objects_.store(), settings_.compile.node, diagnostics);
    std::vector<Diagnostic> repeated; // compile() gives them again
    std::vector<PodToCapture> wanted = pods_to_capture(index, repeated);
    sandboxes_.place(wanted);
    pods_.want(std::move(wanted));
    sweep_pods();
    prune_severed();
    return compile(objects_.store(), std::move(index), std::move(diagnostics), settings_.compile, pods_.enforced(),
                   service_ids_);
}

/// A new generation: to the engine at once, to the kernel by converge().
void Loop::publish(Compiled next, std::expected<std::string, std::string> body) {
    compiled_ = std::move(next);
    engine_.published(++generation_wanted_);
    snapshot_fault_ = body ? "" : body.error();
    if (body)
        send_snapshot(*std::move(body));
    else
        refuse_snapshot();
}

void Loop::refuse_snapshot() {
    generation_sent_ = generation_wanted_;
    engine_.refused(snapshot_fault_);
    counters_.add(Event::snapshot_refused, "agent");
    log::error("snapshot_refused", log::kv("generation", generation_wanted_), log::kv("reason", engine_.error()));
}

std::string_view Loop::sent_body() const {
    return message_ ? std::string_view(*message_).substr(0, body_bytes_) : std::string_view();
}

void Loop::send_snapshot(std::string body) {
    body_bytes_ = body.size();
    message_ = std::make_shared<const std::string>(engine::snapshot_message(std::move(body), generation_wanted_));
    generation_sent_ = generation_wanted_;
    // (1) before (3): a listener that the engine has must be where the kernel steers to.
    kernel_.start_round();
    for (const CapturePtr& capture : new_captures_)
        kernel_.set_listeners(*capture);
    control_.publish(generation_wanted_, message_);
    for (CapturePtr& capture : std::exchange(new_captures_, {}))
        control_.add_pod(std::move(capture));
    log::debug("generation_published", log::kv("generation", generation_wanted_));
}

void Loop::converge() {
    if (!begun_ || stale_) // recompile() comes first, in this turn
        return;
    kernel_.start_round();
    kernel_retry_at_ms_ = monotonic_ms() + kernel_retry_ms;
    const bool loosen = engine_.may_loosen();
    const KernelState target =
        engine_.acknowledged() ? compiled_.kernel : before_engine(kernel_.now(), compiled_.kernel, !loosen);
    const CapturedPods captured = pods_.captured();
    const std::vector<CapturePtr> held = pods_.held();
    for (const CapturePtr& capture : held)
        if (captured.contains(capture->uid))
            kernel_.set_listeners(*capture);
    if (loosen)
        for (const uint32_t pod_id : kernel_.detach_others(target))
            pods_.severed(pod_id);
    kernel_.move_to(target);
    for (const CapturePtr& capture : held)
        if (captured.contains(capture->uid))
            kernel_.attach(*capture);
    kernel_.cut_unjudged(held);
    if (loosen)
        let_go();
    if (missing().empty())
        generation_applied_ = generation_wanted_;
    log_faults();
}

} // namespace weft::agent
