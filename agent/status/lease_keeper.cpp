// SPDX-License-Identifier: Apache-2.0
#include "agent/status/lease_keeper.hpp"

#include <sys/time.h>

#include <algorithm>
#include <utility>

#include "agent/status/json_members.hpp"
#include "config/base/clock.hpp"

namespace weft::agent::status {
namespace {

constexpr const char* lease_group = "coordination.k8s.io";
constexpr const char* lease_label = "weftmesh.io/lease";
constexpr uint32_t lease_timeout_ms = 5'000; ///< half of the renewal's deadline
constexpr uint64_t beat_retry_ms = 2'000;
constexpr uint64_t node_retry_ms = 60'000;

int64_t unix_us() {
    timeval now{};
    ::gettimeofday(&now, nullptr);
    return static_cast<int64_t>(now.tv_sec) * 1'000'000 + now.tv_usec;
}

Permission on_leases(const char* verb) {
    return {.verb = verb, .resource = "leases", .group = lease_group};
}

} // namespace

LeaseKeeper::LeaseKeeper(Settings settings, Api& api)
    : settings_(std::move(settings)), api_(api), elector_(settings_.node, settings_.seed), acks_(settings_.node) {}

kube::Request LeaseKeeper::lease_request(std::string method, const std::string& name, const Json* body) const {
    kube::Request out{.method = std::move(method),
                      .path = std::string("/apis/") + lease_group + "/v1/namespaces/" + settings_.ns + "/leases" +
                              (name.empty() ? "" : "/" + name),
                      .timeout_ms = lease_timeout_ms};
    if (body != nullptr) {
        out.content_type = out.method == "PATCH" ? merge_patch_type : json_type;
        out.body = text_of(*body);
    }
    return out;
}

void LeaseKeeper::step(uint64_t now_ms, bool closely) {
    elect(now_ms);
    find_node(now_ms);
    beat(now_ms);
    const bool leads = elector_.leads(now_ms);
    if (leads && !std::exchange(led_, leads))
        nodes_due_ms_ = now_ms;
    led_ = leads;
    if (closely)
        nodes_due_ms_ = std::min(nodes_due_ms_, now_ms + nodes_read_closely_ms);
    if (leads)
        read_nodes(now_ms);
}

uint64_t LeaseKeeper::due_ms() const {
    uint64_t due = elector_.due_ms();
    if (!beating_)
        due = std::min(due, beat_due_ms());
    return led_ && !reading_nodes_ ? std::min(due, nodes_due_ms_) : due;
}

// ------------------------------------------------------------------ who leads

void LeaseKeeper::elect(uint64_t now_ms) {
    const Elector::Step step = elector_.next(now_ms, unix_us());
    if (std::holds_alternative<Elector::Read>(step))
        read_election();
    else if (const auto* write = std::get_if<Elector::Write>(&step))
        write_election(*write);
}

/// Followers from the API server's cache: there is one per node, and what is too old cannot be written upon. A leader
/// asks after a conflict, and must not meet it again.
void LeaseKeeper::read_election() {
    kube::Request request = lease_request("GET", election_lease, nullptr);
    if (!elector_.leads(monotonic_ms()))
        request.path += "?resourceVersion=0";
    api_.call(request, on_leases("get"), [this](Verdict verdict, const kube::Answer& answer) {
        const auto lease = verdict == Verdict::done ? read_lease(parse(answer.body)) : std::nullopt;
        if (lease || verdict == Verdict::not_found)
            elector_.read(lease, monotonic_ms());
        else
            elector_.failed(monotonic_ms());
    });
}

void LeaseKeeper::write_election(const Elector::Write& write) {
    const bool fresh = write.resource_version.empty();
    const Json body = lease_body(election_lease, settings_.ns, write.record, write.resource_version);
    api_.call(fresh ? lease_request("POST", "", &body) : lease_request("PATCH", election_lease, &body),
              on_leases(fresh ? "create" : "patch"), [this](Verdict verdict, const kube::Answer& answer) {
                  const auto lease = verdict == Verdict::done ? read_lease(parse(answer.body)) : std::nullopt;
                  if (lease)
                      elector_.written(*lease, monotonic_ms());
                  else if (verdict == Verdict::failed || verdict == Verdict::forbidden)
                      elector_.failed(monotonic_ms());
                  else
                      elector_.conflict(monotonic_ms());
              });
}

// ------------------------------------------------------------------ this node

/// With the Node as its owner, this node's Lease goes with it.
void LeaseKeeper::find_node(uint64_t now_ms) {
    if (!node_uid_.empty() || now_ms < node_due_ms_)
        return;
    node_due_ms_ = now_ms + node_retry_ms;
    api_.call({.path = "/api/v1/nodes/" + settings_.node, .timeout_ms = lease_timeout_ms},
              {.verb = "get", .resource = "nodes"}, [this](Verdict verdict, const kube::Answer& answer) {
                  if (verdict == Verdict::done)
                      node_uid_ = text(member(parse(answer.body), "metadata"), "uid");
              });
}

Json LeaseKeeper::beat_body() const {
    const LeaseRecord record{.holder = settings_.node,
                             .duration_s = node_lease_duration_s,
                             .acquired = {},
                             .renewed = micro_time(unix_us()),
                             .transitions = 0};
    Json body = lease_body(node_lease_name(settings_.node), settings_.ns, record, "");
    body["metadata"]["labels"] = {{lease_label, "node"}};
    body["metadata"]["annotations"] = {{in_force_annotation, versions_text(in_force_)}};
    if (!node_uid_.empty())
        body["metadata"]["ownerReferences"] = {
            {{"apiVersion", "v1"}, {"kind", "Node"}, {"name", settings_.node}, {"uid", node_uid_}}};
    return body;
}

uint64_t LeaseKeeper::beat_due_ms() const {
    if (beat_at_ms_ == 0)
        return beat_retry_at_ms_;
    return std::max(beat_retry_at_ms_, beat_at_ms_ + (in_force_ != said_ ? node_news_ms : node_heartbeat_ms));
}

void LeaseKeeper::beat(uint64_t now_ms) {
    if (beating_ || now_ms < beat_due_ms())
        return;
    beating_ = true;
    beat_at_ms_ = now_ms;
    const Json body = beat_body();
    const auto ended = [this, saying = in_force_](Verdict verdict, const kube::Answer&) {
        beating_ = false;
        if (verdict == Verdict::done) {
            said_ = saying;
            beat_made_ = true;
            return;
        }
        beat_at_ms_ = 0;
        const bool other_way = verdict == (beat_made_ ? Verdict::not_found : Verdict::exists); // at once, then
        if (other_way)
            beat_made_ = !beat_made_;
        else
            beat_retry_at_ms_ = monotonic_ms() + beat_retry_ms;
    };
    if (beat_made_)
        api_.call(lease_request("PATCH", node_lease_name(settings_.node), &body), on_leases("patch"), ended);
    else
        api_.call(lease_request("POST", "", &body), on_leases("create"), ended);
}

// ------------------------------------------------------------------ all nodes

void LeaseKeeper::read_nodes(uint64_t now_ms) {
    if (reading_nodes_ || now_ms < nodes_due_ms_)
        return;
    reading_nodes_ = true;
    kube::Request request = lease_request("GET", "", nullptr);
    request.path += std::string("?labelSelector=") + lease_label + "%3Dnode&resourceVersion=0";
    api_.call(request, on_leases("list"), [this](Verdict verdict, const kube::Answer& answer) {
        reading_nodes_ = false;
        nodes_due_ms_ = monotonic_ms() + nodes_read_ms;
        if (verdict != Verdict::done)
            return;
        std::vector<Lease> leases;
        const Json body = parse(answer.body);
        for (const Json& item : list(body, "items")) {
            if (auto lease = read_lease(item))
                leases.push_back(*std::move(lease));
        }
        acks_.observe(leases, monotonic_ms());
        ++acks_read_;
    });
}

void LeaseKeeper::release(bool forget) {
    const auto nothing = [](Verdict, const kube::Answer&) {};
    if (const auto write = elector_.release(unix_us())) {
        const Json body = lease_body(election_lease, settings_.ns, write->record, write->resource_version);
        api_.call(lease_request("PATCH", election_lease, &body), on_leases("patch"), nothing);
    }
    if (forget)
        api_.call(lease_request("DELETE", node_lease_name(settings_.node), nullptr), on_leases("delete"), nothing);
}

} // namespace weft::agent::status
