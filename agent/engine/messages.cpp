// SPDX-License-Identifier: Apache-2.0
#include "agent/engine/messages.hpp"

#include <algorithm>
#include <cmath>

#include "config/base/utf8.hpp"
#include "config/proto/control.pb.h"
#include "config/wire/channel.hpp"
#include "config/wire/message.hpp"
#include "config/wire/snapshot_codec.hpp"

namespace weft::agent::engine {
namespace {

constexpr size_t workloads_per_part = 256;
constexpr size_t generation_bytes_max = 32;

/// A peer's text for logs and status: bounded, and one line.
std::string bounded(const std::string& text, size_t bytes_max) {
    std::string kept = text.substr(0, bytes_max);
    kept.resize(valid_utf8_bytes(kept)); // the cut may be inside a character
    std::ranges::replace_if(kept, [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
    return kept;
}

std::vector<ListenerName> plain(const google::protobuf::RepeatedPtrField<proto::Listener>& listeners) {
    std::vector<ListenerName> names;
    for (const proto::Listener& listener : listeners)
        names.push_back({.pod_id = listener.pod_id(), .kind = listener.kind()});
    return names;
}

Result<EngineHello> plain(const proto::EngineHello& message) {
    EngineHello hello{.contract = message.contract(),
                      .version = bounded(message.version(), version_bytes_max),
                      .instance = message.instance(),
                      .applied_generation = message.applied_generation(),
                      .workers = message.workers(),
                      .listeners = plain(message.listeners()),
                      .listeners_to_come = message.listeners_to_come(),
                      .group = bounded(message.group(), group_bytes_max)};
    return hello;
}

bool plain(const proto::Histogram& message, metrics::Histogram& out) {
    if (static_cast<size_t>(message.buckets_size()) != out.buckets.size() || !std::isfinite(message.sum()))
        return false;
    std::ranges::copy(message.buckets(), out.buckets.begin());
    out.sum = message.sum();
    return true;
}

bool plain(const google::protobuf::RepeatedPtrField<std::string>& labels, size_t count, metrics::IstioLabels& out) {
    size_t label_bytes = 0;
    for (const std::string& label : labels)
        label_bytes += label.size();
    if (static_cast<size_t>(labels.size()) != count || label_bytes > series_label_bytes_max)
        return false;
    out.assign(labels.begin(), labels.end());
    return true;
}

bool plain(const proto::RequestSeries& message, metrics::RequestSeries& out) {
    out.totals.requests = message.requests_total();
    out.totals.request_messages = message.request_messages();
    out.totals.response_messages = message.response_messages();
    return plain(message.labels(), metrics::istio_labels.size(), out.labels) &&
           plain(message.duration_ms(), out.totals.duration_ms) &&
           plain(message.request_bytes(), out.totals.request_bytes) &&
           plain(message.response_bytes(), out.totals.response_bytes);
}

bool plain(const proto::TcpSeries& message, metrics::TcpSeries& out) {
    out.totals = {.opened = message.opened(),
                  .closed = message.closed(),
                  .sent_bytes = message.sent_bytes(),
                  .received_bytes = message.received_bytes()};
    return plain(message.labels(), metrics::istio_tcp_label_count, out.labels);
}

/// Those that keep the contract; returns how many do not.
template <class Messages, class Series>
uint64_t take_series(const Messages& messages, std::vector<Series>& out) {
    uint64_t malformed = 0;
    for (const auto& message : messages) {
        Series kept;
        if (plain(message, kept))
            out.push_back(std::move(kept));
        else
            ++malformed;
    }
    return malformed;
}

StatsReport plain(const proto::EngineReport& message) {
    StatsReport stats{.request_id = message.request_id(), .report = {}};
    stats.report.instance = message.instance();
    stats.report.malformed += take_series(message.requests(), stats.report.requests);
    stats.report.malformed += take_series(message.connections(), stats.report.connections);
    for (const proto::Counter& counter : message.counters()) {
        if (counter.name().size() <= metric_name_bytes_max)
            stats.report.counters.push_back(
                {.name = counter.name(), .reason = bounded(counter.reason(), 64), .value = counter.value()});
        else
            ++stats.report.malformed;
    }
    for (const proto::Gauge& gauge : message.gauges()) {
        if (gauge.name().size() <= metric_name_bytes_max && stats.report.gauges.size() < gauges_max)
            stats.report.gauges.push_back({.name = gauge.name(), .value = gauge.value()});
        else
            ++stats.report.malformed;
    }
    return stats;
}

Result<ToAgent> plain(const proto::CtlRequest& message) {
    using Verb = CtlRequest::Verb;
    CtlRequest request{.timeout_ms = message.timeout_ms(), .group = bounded(message.group(), group_bytes_max)};
    switch (message.verb()) {
    case proto::CtlRequest::STATUS: request.verb = Verb::status; return request;
    case proto::CtlRequest::SYNC: request.verb = Verb::sync; return request;
    case proto::CtlRequest::STEP_ASIDE: request.verb = Verb::step_aside; return request;
    case proto::CtlRequest::READY: request.verb = Verb::ready; return request;
    default: return fail(Code::invalid, "message: unknown verb");
    }
}

/// Writes a snapshot part by part and reads each as the engine will: Protobuf writes what it then refuses to read (text
/// that is not UTF-8).
class SnapshotParts {
public:
    explicit SnapshotParts(std::string_view checked) : checked_(checked) {}

    [[nodiscard]] proto::Snapshot& next() { return *message_.mutable_snapshot(); }
    /// next() as the next part; it may refer to so many workloads of other parts. False: fault() says why not.
    [[nodiscard]] bool add(size_t workloads) {
        const std::string part = wire::serialize_message(message_);
        message_.Clear();
        return append(part, workloads);
    }
    /// The same of workloads alone.
    [[nodiscard]] bool add(std::span<const config::Workload> workloads) {
        snapshot_.clear();
        wire::append_workloads(workloads, snapshot_);
        std::string part;
        wire::append_snapshot(snapshot_, part);
        return append(part, 0);
    }
    [[nodiscard]] const std::string& fault() const { return fault_; }
    [[nodiscard]] std::string take() { return std::move(bytes_); }

private:
    bool append(const std::string& part, size_t workloads) {
        const size_t at = bytes_.size();
        bytes_ += part;
        const bool known = at < checked_.size() && checked_.substr(at, part.size()) == part;
        if (!known)
            check(part, workloads);
        if (fault_.empty() && bytes_.size() > wire::ChannelLimits{}.frame_bytes_max - generation_bytes_max)
            fault_ = "the snapshot is larger than a message may be";
        return fault_.empty();
    }
    void check(const std::string& part, size_t workloads) {
        message_.Clear();
        if (!wire::parse_message(as_bytes(part), message_)) {
            fault_ = "the snapshot cannot be read back: it holds text that is not UTF-8";
            return;
        }
        if (const auto decoded = wire::from_proto_part(next(), workloads); !decoded)
            fault_ = "the snapshot breaks the contract: " + decoded.error();
        message_.Clear();
    }

    const std::string_view checked_;
    proto::ToEngine message_;
    std::string snapshot_; ///< of workloads
    std::string bytes_;
    std::string fault_;
};

} // namespace

Result<ToAgent> decode(std::string_view bytes) {
    proto::ToAgent message;
    if (const auto parsed = wire::parse_message(as_bytes(bytes), message); !parsed)
        return std::unexpected(parsed.error());
    switch (message.message_case()) {
        using enum proto::ToAgent::MessageCase;
    case kEngineHello: return plain(message.engine_hello());
    case kSnapshotApplied:
        return SnapshotApplied{.generation = message.snapshot_applied().generation(),
                               .error = bounded(message.snapshot_applied().error(), 1024),
                               .apply_us = message.snapshot_applied().apply_us()};
    case kSocketsWanted:
        return SocketsWanted{.pod_id = message.sockets_wanted().pod_id(),
                             .worker = message.sockets_wanted().worker(),
                             .ipv6 = message.sockets_wanted().ipv6(),
                             .count = message.sockets_wanted().count()};
    case kReport: return plain(message.report());
    case kListenersAdopted: return ListenersAdopted{.pod_id = message.listeners_adopted().pod_id()};
    case kPodReleased: return PodReleased{.pod_id = message.pod_released().pod_id()};
    case kDraining: return Draining{};
    case kMoreListeners: return MoreListeners{.listeners = plain(message.more_listeners().listeners())};
    case kCtl: return plain(message.ctl());
    case MESSAGE_NOT_SET: break;
    }
    return fail(Code::invalid, "message: of no known kind");
}

uint32_t contract_version() {
    return proto::CONTRACT_VERSION;
}

std::string welcome_message(std::string_view version, DialSlotRange dial_slots) {
    proto::ToEngine message;
    auto& welcome = *message.mutable_welcome();
    welcome.set_contract(contract_version());
    welcome.set_version(std::string(version));
    welcome.set_dial_slots(dial_slots.count);
    welcome.set_dial_slots_begin(dial_slots.begin);
    return wire::serialize_message(message);
}

std::string standby_message(std::string_view version) {
    proto::ToEngine message;
    auto& welcome = *message.mutable_welcome();
    welcome.set_contract(contract_version());
    welcome.set_version(std::string(version));
    welcome.set_standby(true);
    return wire::serialize_message(message);
}

std::string refusal_message(std::string_view version, std::string_view error) {
    proto::ToEngine message;
    auto& welcome = *message.mutable_welcome();
    welcome.set_contract(contract_version());
    welcome.set_version(std::string(version));
    welcome.set_error(std::string(error));
    return wire::serialize_message(message);
}

/// Most of a large snapshot are its workloads: in parts, it is never there a second time as messages.
std::expected<std::string, std::string> snapshot_body(const config::Snapshot& snapshot, std::string_view checked) {
    SnapshotParts parts(checked);
    for (std::span<const config::Workload> left = snapshot.workloads; !left.empty();) {
        const auto some = left.first(std::min(left.size(), workloads_per_part));
        if (!parts.add(some))
            return std::unexpected(parts.fault());
        left = left.subspan(some.size());
    }
    wire::to_proto_without_workloads(snapshot, parts.next());
    parts.next().clear_generation();
    if (!parts.add(snapshot.workloads.size()))
        return std::unexpected(parts.fault());
    return parts.take();
}

std::string snapshot_message(std::string body, uint64_t generation) {
    proto::ToEngine part;
    part.mutable_snapshot()->set_generation(generation);
    body += wire::serialize_message(part);
    body.shrink_to_fit();
    return body;
}

std::string give_listeners_message(uint32_t pod_id, const std::vector<uint32_t>& kinds) {
    proto::ToEngine message;
    auto& give = *message.mutable_give_listeners();
    give.set_pod_id(pod_id);
    give.mutable_kinds()->Add(kinds.begin(), kinds.end());
    return wire::serialize_message(message);
}

std::string give_sockets_message(const SocketsWanted& wanted, uint32_t given, std::string_view error) {
    proto::ToEngine message;
    auto& give = *message.mutable_give_sockets();
    give.set_pod_id(wanted.pod_id);
    give.set_worker(wanted.worker);
    give.set_ipv6(wanted.ipv6);
    give.set_count(given);
    give.set_error(std::string(error));
    return wire::serialize_message(message);
}

std::string release_pod_message(uint32_t pod_id) {
    proto::ToEngine message;
    message.mutable_release_pod()->set_pod_id(pod_id);
    return wire::serialize_message(message);
}

std::string stats_wanted_message(uint64_t request_id) {
    proto::ToEngine message;
    message.mutable_stats_wanted()->set_request_id(request_id);
    return wire::serialize_message(message);
}

std::string drain_message(uint32_t timeout_ms) {
    proto::ToEngine message;
    message.mutable_drain()->set_timeout_ms(timeout_ms);
    return wire::serialize_message(message);
}

std::string ctl_reply_message(const CtlReply& reply) {
    proto::ToEngine message;
    auto& ctl = *message.mutable_ctl();
    ctl.set_ok(reply.ok);
    ctl.set_error(printable_utf8(reply.error)); // may hold names of files, which are any bytes
    ctl.set_json(reply.json);
    return wire::serialize_message(message);
}

} // namespace weft::agent::engine
