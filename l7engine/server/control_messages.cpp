// SPDX-License-Identifier: Apache-2.0
// Control's answers to what the agent gives and wants.
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <fcntl.h>

#include "config/base/clock.hpp"
#include "config/base/log.hpp"
#include "config/wire/snapshot_codec.hpp"
#include "l7engine/server/control.hpp"

namespace weft::l7 {

namespace {

bool is_option(int fd, int option, int wanted) {
    int value = 0;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 && value == wanted;
}

bool is_tcp_listener(int fd) {
    return is_option(fd, SO_PROTOCOL, IPPROTO_TCP) && is_option(fd, SO_ACCEPTCONN, 1);
}

/// Fresh and of the family that was named: a connect on anything else would reach nobody knows whom.
bool is_fresh_tcp(int fd, bool ipv6) {
    return is_option(fd, SO_PROTOCOL, IPPROTO_TCP) && is_option(fd, SO_ACCEPTCONN, 0) &&
           is_option(fd, SO_DOMAIN, ipv6 ? AF_INET6 : AF_INET);
}

} // namespace

/// One snapshot on its way to the workers.
struct Control::Applying {
    uint64_t generation;
    uint64_t started_ns;
    uint32_t left;
};

/// One report on its way from the workers. Written by the control thread only.
struct Control::Report {
    uint64_t request_id;
    uint64_t connection; ///< which asked
    uint32_t left;
    std::vector<ProxyReport> parts;
};

// ------------------------------------------------------------------ snapshot

Result<void> Control::on_snapshot(const proto::Snapshot& message) {
    const uint64_t started_ns = monotonic_ns();
    std::expected<config::Snapshot, std::string> snapshot = wire::from_proto(message);
    if (!snapshot) {
        refused_snapshot(message.generation(), snapshot.error());
        return {}; // the frame is fine: the last good snapshot stays and the connection, too
    }
    const auto view =
        std::make_shared<const SnapshotView>(std::make_shared<const config::Snapshot>(std::move(*snapshot)));
    views_.push_back(view);
    const auto applying = std::make_shared<Applying>(
        Applying{.generation = message.generation(), .started_ns = started_ns, .left = engine_.workers()});
    for (uint32_t worker = 0; worker < engine_.workers(); ++worker) {
        engine_.post(worker, [this, view, applying](Proxy& proxy) {
            proxy.apply(view);
            inbox_.post([this, applying] {
                if (--applying->left == 0)
                    applied(applying->generation, applying->started_ns);
            });
        });
    }
    return {};
}

void Control::applied(uint64_t generation, uint64_t started_ns) {
    applied_generation_ = std::max(applied_generation_, generation);
    count("weft_l7_snapshots_total", "applied");
    proto::ToAgent message;
    proto::SnapshotApplied& done = *message.mutable_snapshot_applied();
    done.set_generation(generation);
    done.set_apply_us((monotonic_ns() - started_ns) / 1000);
    send(message);
}

void Control::refused_snapshot(uint64_t generation, const std::string& why) {
    count("weft_l7_snapshots_total", "refused");
    log::error("snapshot_refused", log::kv("generation", generation), log::kv("error", why));
    proto::ToAgent message;
    proto::SnapshotApplied& done = *message.mutable_snapshot_applied();
    done.set_generation(generation);
    done.set_error(why);
    send(message);
}

// ------------------------------------------------------------------ listeners and sockets

Result<void> Control::on_listeners(const proto::GiveListeners& message, std::vector<UniqueFd> fds) {
    if (static_cast<size_t>(message.kinds_size()) != fds.size())
        return fail(Code::invalid, "GiveListeners: descriptors");
    if (draining_)
        return {}; // they close here; the agent has its own
    for (int index = 0; index < message.kinds_size(); ++index) {
        if (const Result<void> held =
                hold_listener(message.pod_id(), message.kinds(index), std::move(fds[static_cast<size_t>(index)]));
            !held)
            return held;
    }
    // The answer only behind all workers' work: it means that somebody accepts.
    const std::vector<uint32_t> shard = engine_.shard(message.pod_id());
    const auto left = std::make_shared<size_t>(shard.size());
    for (const uint32_t worker : shard) {
        engine_.post(worker, [this, left, pod_id = message.pod_id()](Proxy&) {
            inbox_.post([this, left, pod_id] {
                if (--*left != 0)
                    return;
                proto::ToAgent answer;
                answer.mutable_listeners_adopted()->set_pod_id(pod_id);
                send(answer);
            });
        });
    }
    return {};
}

Result<void> Control::hold_listener(uint32_t pod_id, uint32_t kind, UniqueFd fd) {
    struct stat status{};
    if (pod_id == 0 || kind > abi::WEFT_LISTENER_INBOUND6)
        return fail(Code::invalid, "GiveListeners: pod or kind");
    if (!is_tcp_listener(fd.get()) || fstat(fd.get(), &status) != 0)
        return fail(Code::invalid, "GiveListeners: not a listening TCP socket");
    std::vector<HeldListener>& held = listeners_[pod_id];
    if (std::ranges::find(held, status.st_ino, &HeldListener::identity) != held.end())
        return {}; // handed back to a new agent, which gives it to us again
    if (const auto oldest = std::ranges::find(held, kind, &HeldListener::kind);
        std::ranges::count(held, kind, &HeldListener::kind) >= listeners_per_kind_max) {
        held.erase(oldest); // the workers drop theirs by the same rule
        --listener_count_;
        count("weft_l7_listeners_dropped_total", "oldest");
    }
    if (listener_count_ >= settings_.listeners_max) {
        count("weft_l7_listeners_dropped_total", "limit");
        log::error("listener_dropped", log::kv("pod_id", pod_id), log::kv("listeners_max", settings_.listeners_max));
        return {};
    }
    for (const uint32_t worker : engine_.shard(pod_id)) {
        UniqueFd own(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
        if (!own)
            return std::unexpected(from_errno(errno, "listener of a worker"));
        engine_.post(worker, [pod_id, kind, own = std::move(own)](Proxy& proxy) mutable {
            proxy.add_listener(pod_id, static_cast<abi::weft_listener_kind>(kind), std::move(own));
        });
    }
    held.push_back({.kind = kind, .identity = status.st_ino, .fd = std::move(fd)});
    ++listener_count_;
    return {};
}

Result<void> Control::on_sockets(const proto::GiveSockets& message, std::vector<UniqueFd> fds) {
    if (message.worker() >= engine_.workers())
        return fail(Code::invalid, "GiveSockets.worker");
    if (message.count() != fds.size())
        return fail(Code::invalid, "GiveSockets: descriptors");
    for (const UniqueFd& fd : fds) {
        if (!is_fresh_tcp(fd.get(), message.ipv6()))
            return fail(Code::invalid, "GiveSockets: not a fresh TCP socket of the family");
    }
    const bool refused = !message.error().empty() || fds.empty();
    if (refused)
        count("weft_l7_sockets_refused_total", "");
    engine_.post(message.worker(), [pod_id = message.pod_id(), ipv6 = message.ipv6(), refused,
                                    sockets = std::move(fds)](Proxy& proxy) mutable {
        if (refused)
            proxy.stock().refuse(pod_id, ipv6);
        else
            proxy.stock().give(pod_id, ipv6, std::move(sockets));
    });
    return {};
}

Result<void> Control::on_release(uint32_t pod_id) {
    if (const auto held = listeners_.find(pod_id); held != listeners_.end()) {
        listener_count_ -= held->second.size();
        listeners_.erase(held);
    }
    const auto left = std::make_shared<uint32_t>(engine_.workers());
    for (uint32_t worker = 0; worker < engine_.workers(); ++worker) {
        engine_.post(worker, [this, pod_id, left](Proxy& proxy) {
            proxy.release_pod(pod_id, [this, pod_id, left] {
                inbox_.post([this, pod_id, left] {
                    if (--*left != 0)
                        return;
                    proto::ToAgent answer;
                    answer.mutable_pod_released()->set_pod_id(pod_id);
                    send(answer);
                });
            });
        });
    }
    return {};
}

// ------------------------------------------------------------------ report

Result<void> Control::on_stats(uint64_t request_id) {
    if (stats_waiting_ >= settings_.stats_waiting_max) {
        count("weft_l7_reports_refused_total", ""); // a worker is slow; the agent's own time limit answers the scrape
        return {};
    }
    ++stats_waiting_;
    const auto report = std::make_shared<Report>(
        Report{.request_id = request_id, .connection = connection_, .left = engine_.workers(), .parts = {}});
    for (uint32_t worker = 0; worker < engine_.workers(); ++worker) {
        engine_.post(worker, [this, report](Proxy& proxy) {
            inbox_.post([this, report, part = proxy.report()]() mutable {
                report->parts.push_back(std::move(part));
                if (--report->left == 0)
                    finish_report(*report);
            });
        });
    }
    return {};
}

void Control::finish_report(Report& report) {
    for (ProxyReport& one : report.parts) {
        ledger_.add(std::move(one.series), monotonic_ms());
        ledger_.add(std::move(one.tcp_series), monotonic_ms());
    }
    ledger_.forget_idle(monotonic_ms());
    if (report.connection != connection_)
        return; // whoever asked is gone; what was counted is kept
    --stats_waiting_;
    send_report(report);
}

void Control::send_report(const Report& report) {
    proto::ToAgent message;
    proto::EngineReport& out = *message.mutable_report();
    out.set_request_id(report.request_id);
    out.set_instance(instance_);
    ledger_.write(out);
    const auto add_counter = [&out](std::string_view name, std::string_view reason, uint64_t value) {
        proto::Counter& counter = *out.add_counters();
        counter.set_name(std::string(name));
        counter.set_reason(std::string(reason));
        counter.set_value(value);
    };
    const auto sum = [&report](auto value_of) {
        uint64_t total = 0;
        for (const ProxyReport& part : report.parts)
            total += value_of(part);
        return total;
    };
    for (size_t index = 0; index < counter_count; ++index)
        add_counter(counter_names[index].name, counter_names[index].reason,
                    sum([index](const ProxyReport& part) { return part.counters[index]; }));
    add_counter("weft_l7_accept_shortages_total", "", sum([](const auto& part) { return part.accept_shortages; }));
    for (const auto& [name, value] : counters_)
        add_counter(name.first, name.second, value);

    const auto add_gauge = [&out](std::string_view name, uint64_t value) {
        proto::Gauge& gauge = *out.add_gauges();
        gauge.set_name(std::string(name));
        gauge.set_value(static_cast<double>(value));
    };
    add_gauge("weft_l7_workers", engine_.workers());
    add_gauge("weft_l7_applied_generation", applied_generation_);
    add_gauge("weft_l7_snapshots", views_.size());
    add_gauge("weft_l7_listeners", listener_count_);
    add_gauge("weft_l7_series", ledger_.size());
    add_gauge("weft_l7_connections", sum([](const auto& part) { return part.connections; }));
    add_gauge("weft_l7_exchanges", sum([](const auto& part) { return part.exchanges; }));
    add_gauge("weft_l7_pooled_connections", sum([](const auto& part) { return part.pooled; }));
    add_gauge("weft_l7_stocked_sockets", sum([](const auto& part) { return part.stocked; }));
    add_gauge("weft_l7_buffered_bytes", sum([](const auto& part) { return part.buffered_bytes; }));
    add_gauge("weft_l7_memory_used_bytes", memory_.used);
    add_gauge("weft_l7_memory_limit_bytes", memory_.limit);
    add_gauge("weft_l7_memory_pressure", static_cast<uint64_t>(pressure_));
    add_gauge("weft_l7_frame_bytes", sum([](const auto& part) { return part.frame_bytes; }));
    uint64_t largest_frame = 0;
    for (const ProxyReport& part : report.parts)
        largest_frame = std::max<uint64_t>(largest_frame, part.largest_frame);
    add_gauge("weft_l7_largest_frame_bytes", largest_frame);
    send(message);
}

} // namespace weft::l7
