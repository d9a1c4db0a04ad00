// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel.hpp"

#include <algorithm>

#include "agent/reconcile/plan.hpp"
#include "agent/reconcile/progress.hpp"
#include "config/base/clock.hpp"
#include "config/base/log.hpp"

namespace weft::agent {

using metrics::Event;

Kernel::Kernel(bpf::Datapath& datapath, metrics::Counters& counters)
    : datapath_(datapath), counters_(counters), now_(datapath.current()) {
    for (const uint32_t pod_id : datapath.attached_pods())
        attached_.insert(pod_id);
    cut_due_ = attached_; // the former agent may have died between a rule and the cut
    if (const Result<void> can = probe_cut(); !can) {
        cut_fault_ = to_string(can.error());
        log::warn("connections_cannot_be_cut", log::kv("reason", cut_fault_));
    }
}

void Kernel::move_to(const KernelState& target) {
    if (now_ != target) {
        const KernelState before = now_;
        apply(target);
        note_changed_ports(before);
    }
    if (const Result<void> followed = datapath_.follow_governed(); !followed)
        note(followed.error(), "link");
}

void Kernel::apply(const KernelState& target) {
    bool whole = true;
    uint64_t waiting = 0;
    Progress progress(now_, target);
    for (const MapOperation& operation : plan(now_, target)) {
        if (!whole && progress.must_wait(operation)) {
            ++waiting;
            continue;
        }
        if (const Result<void> applied = datapath_.apply({&operation, 1}); !applied) {
            note(applied.error(), applied.error().code == Code::too_large ? "map_full" : "map");
            whole = false;
        } else {
            progress.took(operation);
        }
    }
    if (waiting != 0)
        counters_.add(Event::apply_failure, "waits", waiting);
    now_ = whole ? target : datapath_.current();
}

void Kernel::set_listeners(const Capture& capture) {
    for (const auto kind : {abi::WEFT_LISTENER_INBOUND4, abi::WEFT_LISTENER_INBOUND6}) {
        const UniqueFd& listener = capture.listeners[kind];
        if (!listener || listening_.contains({capture.id, kind}))
            continue;
        if (const Result<void> set = datapath_.set_listener(capture.id, kind, listener.get()); !set)
            note(set.error(), "listener");
        else
            listening_.emplace(capture.id, kind);
    }
}

void Kernel::attach(const Capture& capture) {
    // Without its entries the pod's connections would pass unjudged: better a later link than an early one.
    const auto entry = now_.pods.find(capture.netns.cookie());
    if (attached_.contains(capture.id) || entry == now_.pods.end() || entry->second.id != capture.id)
        return;
    const Result<UniqueFd> netns = capture.netns.reopen();
    if (!netns)
        return; // the sweep will find that it is gone
    if (const Result<void> done = datapath_.attach_pod(capture.id, netns->get()); !done) {
        note(done.error(), "link");
        return;
    }
    attached_.insert(capture.id);
    cut_due_.insert(capture.id);
}

void Kernel::note_changed_ports(const KernelState& before) {
    const auto note_missing = [this](const KernelState& these, const KernelState& others) {
        for (const auto& [key, action] : these.inbound_ports) {
            const auto there = others.inbound_ports.find(key);
            if (there == others.inbound_ports.end() || there->second != action)
                cut_due_.insert(key.pod_id);
        }
    };
    note_missing(before, now_);
    note_missing(now_, before);
}

CutRules Kernel::cut_rules(uint32_t pod_id, uint64_t cookie) const {
    CutRules rules;
    for (auto each = now_.inbound_ports.lower_bound({.pod_id = pod_id, .port = 0});
         each != now_.inbound_ports.end() && each->first.pod_id == pod_id; ++each)
        rules.actions[each->first.port] = each->second;
    if (const auto pod = now_.pods.find(cookie); pod != now_.pods.end())
        rules.addresses = pod->second.addresses;
    rules.is_judged = [this](const SocketAddress& client, const SocketAddress& server) {
        return datapath_.is_judged(client, server);
    };
    return rules;
}

void Kernel::cut_unjudged(const std::vector<CapturePtr>& captures) {
    for (const CapturePtr& capture : captures) {
        if (attached_.contains(capture->id) && cut_due_.contains(capture->id) && capture->netns.exists())
            cut(*capture, false);
    }
}

void Kernel::cut_after_handshakes(const std::vector<CapturePtr>& captures) {
    if (handshakes_.empty())
        return;
    for (const CapturePtr& capture : captures) {
        if (handshakes_.contains(capture->id) && !cut_due_.contains(capture->id) && capture->netns.exists())
            cut(*capture, true);
    }
}

/// `again`: of the handshakes only those that were known count: a newer one meets the rules as they are.
void Kernel::cut(const Capture& capture, bool again) {
    const CutRules rules = cut_rules(capture.id, capture.netns.cookie());
    Result<CutResult> done = agent::cut_unjudged(capture.netns, datapath_.inbound_marks_fd(), rules);
    if (!done) {
        note(done.error(), "cut");
        cut_due_.insert(capture.id);
        return;
    }
    cut_due_.erase(capture.id);
    Handshakes& followed = handshakes_[capture.id];
    if (again) {
        std::erase_if(followed.cookies, [&](uint64_t cookie) { return !done->handshakes.contains(cookie); });
    } else {
        followed = {.cookies = std::move(done->handshakes), .waited_until_ms = monotonic_ms() + handshake_wait_ms};
    }
    if (followed.cookies.empty() || !cut_fault_.empty())
        handshakes_.erase(capture.id);
    if (done->cut != 0 || done->left != 0)
        log::info("connections_cut", log::kv("pod", capture.uid), log::kv("cut", done->cut),
                  log::kv("left", done->left));
    counters_.add(Event::connection_cut, "", done->cut);
    counters_.add(Event::connection_left, "", done->left);
}

bool Kernel::awaits_handshakes() const {
    const uint64_t now = monotonic_ms();
    return std::ranges::any_of(handshakes_, [&](const auto& item) { return item.second.waited_until_ms > now; });
}

void Kernel::detach(uint32_t pod_id) {
    if (const Result<void> done = datapath_.detach_pod(pod_id); !done)
        note(done.error(), "link");
    attached_.erase(pod_id);
    drop_listeners(pod_id);
}

void Kernel::drop_listeners(uint32_t pod_id) {
    for (const auto kind : {abi::WEFT_LISTENER_INBOUND4, abi::WEFT_LISTENER_INBOUND6})
        if (const Result<void> done = datapath_.remove_listener(pod_id, kind); !done)
            note(done.error(), "listener");
    std::erase_if(listening_, [&](const auto& item) { return item.first == pod_id; });
    cut_due_.erase(pod_id);
    handshakes_.erase(pod_id);
}

std::set<uint32_t> Kernel::detach_others(const KernelState& target) {
    std::set<uint32_t> others = attached_;
    for (const auto& [cookie, pod] : target.pods)
        others.erase(pod.id);
    for (const uint32_t pod_id : others)
        detach(pod_id);
    return others;
}

void Kernel::forget(uint32_t pod_id) {
    detach(pod_id);
    KernelState without = now_;
    std::erase_if(without.pods, [&](const auto& item) { return item.second.id == pod_id; });
    std::erase_if(without.inbound_ports, [&](const auto& item) { return item.first.pod_id == pod_id; });
    move_to(without);
}

void Kernel::note(const Error& error, const char* reason) {
    counters_.add(Event::apply_failure, reason);
    std::string text = to_string(error);
    if (std::ranges::find(faults_, text) == faults_.end())
        faults_.push_back(std::move(text));
}

metrics::DatapathReport Kernel::report(const std::map<uint32_t, std::string>& pod_names) const {
    metrics::DatapathReport report;
    for (const bpf::CounterValue& counter : datapath_.counters())
        report.totals.push_back({.name = counter.name, .help = counter.help, .value = counter.value});
    for (const bpf::PodRefusals& refusals : datapath_.pod_refusals()) {
        const auto name = pod_names.find(refusals.pod_id);
        report.refusals.push_back({.pod = name == pod_names.end() ? std::to_string(refusals.pod_id) : name->second,
                                   .reason = refusals.counter,
                                   .value = refusals.value});
    }
    for (const bpf::MapUsage& map : datapath_.usage())
        report.maps.push_back({.name = map.name, .entries = map.entries, .entries_max = map.entries_max});
    return report;
}

uint64_t Kernel::heartbeat_age_ms() const {
    const uint64_t stamp = datapath_.heartbeat_ns();
    const uint64_t now = monotonic_ns();
    return stamp == 0 ? UINT64_MAX : (now > stamp ? now - stamp : 0) / 1'000'000U;
}

} // namespace weft::agent
