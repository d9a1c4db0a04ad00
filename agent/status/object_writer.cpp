// SPDX-License-Identifier: Apache-2.0
#include "agent/status/object_writer.hpp"

#include <algorithm>
#include <ctime>
#include <optional>

#include "agent/source/revision.hpp"
#include "agent/status/json_members.hpp"
#include "agent/status/merge.hpp"
#include "config/base/clock.hpp"

namespace weft::agent::status {
namespace {

const KindInfo& info_of(const ObjectKey& key) {
    return kinds_read()[key.kind];
}

Permission on_object(const char* verb, const KindInfo& kind, const char* subresource) {
    return {.verb = verb, .resource = std::string(kind.plural) + subresource, .group = kind.group};
}

/// The kind is not served at that version, or not at all: such a Status names no object.
bool is_kind_missing(const kube::Answer& answer) {
    return text(member(parse(answer.body), "details"), "name").empty();
}

} // namespace

void ObjectWriter::take(std::vector<WantedStatus> wanted, const NodeAcks& acks, uint64_t now_ms) {
    std::map<ObjectKey, Item> before = std::exchange(items_, {});
    awaiting_.clear();
    for (WantedStatus& each : wanted) {
        const ObjectKey key = each.key;
        Item& item = items_[key];
        if (const auto old = before.find(key); old != before.end())
            item = std::move(old->second);
        if (item.wanted.uid != each.uid || item.wanted.generation != each.generation ||
            item.wanted.version != each.version) {
            item.noticed_ms = now_ms;
            item.written_ms = 0;
            item.everywhere = false;
        }
        item.wanted = std::move(each);
        weigh(key, item, acks, now_ms);
    }
}

void ObjectWriter::acknowledged(const NodeAcks& acks, uint64_t now_ms) {
    for (const ObjectKey& key : std::set(awaiting_))
        weigh(key, items_.at(key), acks, now_ms);
}

/// What the status shall say now, and when it is to be written, if at all.
void ObjectWriter::weigh(const ObjectKey& key, Item& item, const NodeAcks& acks, uint64_t now_ms) {
    const WantedStatus& wanted = item.wanted;
    std::vector<std::string> nodes;
    // Once everywhere, always: a node that comes later takes it with all the rest before it captures a pod.
    if (waits_for_nodes(wanted.lines) && !wanted.live_programmed && !item.everywhere)
        nodes = acks.awaited(info_of(key).kind, wanted.version);
    item.everywhere = item.everywhere || nodes.empty();
    if (nodes.empty())
        awaiting_.erase(key);
    else
        awaiting_.insert(key);
    item.lines = awaiting(wanted.lines, nodes);
    item.digest = digest(item.lines);
    const bool told = !wanted.has_status || item.digest == wanted.live;
    if (told && wanted.has_status && !wanted.refused.empty())
        said_.insert(wanted); // by a former leader, with the status
    const bool event_due = !wanted.refused.empty() && !wanted.uid.empty() && !said_.contains(wanted);
    const bool same = item.settled.digest == item.digest;
    const bool status_due = !told && !(same && wanted.newest <= item.settled.version);
    if (!event_due && !status_due)
        return;
    uint64_t due_ms = now_ms;
    if (status_due && same)
        due_ms = item.written_ms + undone_rewrite_ms;
    else if (!nodes.empty())
        due_ms = item.written_ms == 0 ? item.noticed_ms + settle_ms : item.written_ms + awaiting_rewrite_ms;
    queue_.put(key, due_ms);
}

void ObjectWriter::step(uint64_t now_ms) {
    while (under_way_ < objects_under_way_max && now_ms >= next_start_ms_) {
        const std::optional<ObjectKey> key = queue_.take(now_ms);
        if (!key)
            return;
        next_start_ms_ = now_ms + object_pace_ms;
        begin(*key);
    }
}

uint64_t ObjectWriter::due_ms() const {
    return under_way_ < objects_under_way_max ? std::max(queue_.due_ms(), next_start_ms_) : UINT64_MAX;
}

void ObjectWriter::stop() {
    items_.clear();
    awaiting_.clear();
    queue_.clear();
}

ObjectWriter::Item* ObjectWriter::find(const ObjectKey& key) {
    const auto found = items_.find(key);
    return found == items_.end() ? nullptr : &found->second;
}

std::string ObjectWriter::path_of(const ObjectKey& key) const {
    const KindInfo& kind = info_of(key);
    const auto version = versions_.find(key.kind);
    const std::string base = *kind.group == 0 ? "/api/" : std::string("/apis/") + kind.group + "/";
    return base + kind.versions[version == versions_.end() ? 0 : version->second] +
           (kind.namespaced ? "/namespaces/" + key.name.ns : "") + "/" + kind.plural + "/" + key.name.name;
}

// ------------------------------------------------------------------ one object: its Event, then its status

void ObjectWriter::begin(const ObjectKey& key) {
    const Item* item = find(key);
    if (item == nullptr)
        return queue_.done(key);
    ++under_way_;
    if (!item->wanted.refused.empty() && !item->wanted.uid.empty() && !said_.contains(item->wanted))
        say_event(key);
    else
        read_object(key);
}

void ObjectWriter::say_event(const ObjectKey& key) {
    const WantedStatus& wanted = find(key)->wanted;
    const kube::Request request{.method = "POST",
                                .path = "/api/v1/namespaces/" + event_namespace(wanted) + "/events",
                                .content_type = json_type,
                                .body = text_of(refusal_event(wanted, node_, std::time(nullptr))),
                                .timeout_ms = write_timeout_ms};
    api_.call(request, {.verb = "create", .resource = "events"},
              [this, key, wanted](Verdict, const kube::Answer& answer) {
                  if (is_passing(answer))
                      return give_up(key, answer);
                  // Also if it is refused: that is told as a fault, and the status must not wait for it.
                  said_.insert(wanted);
                  read_object(key);
              });
}

void ObjectWriter::read_object(const ObjectKey& key) {
    const Item* item = find(key);
    if (item == nullptr || !item->wanted.has_status || item->digest == item->wanted.live)
        return settle(key);
    api_.call({.path = path_of(key), .timeout_ms = write_timeout_ms}, on_object("get", info_of(key), ""),
              [this, key](Verdict verdict, const kube::Answer& answer) {
                  const KindInfo& kind = info_of(key);
                  if (verdict == Verdict::not_found && is_kind_missing(answer) && kind.versions[1] != nullptr) {
                      versions_[key.kind] = (versions_[key.kind] + 1) % kind.versions.size();
                      return give_up(key, answer);
                  }
                  if (verdict == Verdict::not_found)
                      return settle(key); // that will be news
                  if (verdict != Verdict::done)
                      return give_up(key, answer);
                  write_status(key, parse(answer.body));
              });
}

void ObjectWriter::write_status(const ObjectKey& key, const Json& live) {
    Item* item = find(key);
    if (item == nullptr || is_outdated(live, item->wanted))
        return settle(key); // there will be news
    const KindInfo& kind = info_of(key);
    const bool apply = method_of(kind.kind) == Method::apply;
    const int64_t now_s = std::time(nullptr);
    const auto body =
        apply ? applied(live, item->wanted, item->lines, now_s) : merged(live, item->wanted, item->lines, now_s);
    if (!body) {
        written(key, item->digest, live);
        return settle(key);
    }
    const kube::Request request{.method = apply ? "PATCH" : "PUT",
                                .path = path_of(key) + "/status" + (apply ? "?fieldManager=weft&force=true" : ""),
                                .content_type = apply ? apply_type : json_type,
                                .body = text_of(*body),
                                .timeout_ms = write_timeout_ms};
    api_.call(request, on_object(apply ? "patch" : "update", kind, "/status"),
              [this, key, digest = item->digest](Verdict verdict, const kube::Answer& answer) {
                  if (verdict != Verdict::done && verdict != Verdict::not_found)
                      return give_up(key, answer);
                  if (verdict == Verdict::done)
                      written(key, digest, parse(answer.body));
                  settle(key);
              });
}

/// `live`: as the server has it with that digest.
void ObjectWriter::written(const ObjectKey& key, uint64_t digest, const Json& live) {
    Item* item = find(key);
    if (item == nullptr)
        return;
    item->settled = {.digest = digest, .version = parse_version(text(member(live, "metadata"), "resourceVersion"))};
    item->written_ms = monotonic_ms();
}

void ObjectWriter::settle(const ObjectKey& key) {
    --under_way_;
    queue_.done(key);
}

void ObjectWriter::give_up(const ObjectKey& key, const kube::Answer& answer) {
    --under_way_;
    queue_.failed(key, monotonic_ms(), answer.outcome.retry_after_ms.value_or(0));
}

} // namespace weft::agent::status
