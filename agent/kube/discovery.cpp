// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/discovery.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include "agent/source/json.hpp"

namespace weft::agent::kube {
namespace {

/// The list of that name in an object of that kind, or nullptr.
const Value* list_of(const Value& object, std::string_view kind, std::string_view name) {
    if (object.type != Value::Type::map || text_member(&object, "kind") != kind)
        return nullptr;
    const Value* list = object.find(name);
    return list != nullptr && list->type == Value::Type::list ? list : nullptr;
}

std::string group_version(const KindInfo& kind, size_t version) {
    return std::string(kind.group) + "/" + kind.versions.at(version);
}

} // namespace

std::optional<std::vector<size_t>> versions_served(const Value& groups, const KindInfo& kind) {
    const Value* list = list_of(groups, "APIGroupList", "groups");
    if (list == nullptr || list->items.empty()) // every API server has groups of its own
        return std::nullopt;
    const auto group =
        std::ranges::find(list->items, kind.group, [](const Value& each) { return text_member(&each, "name"); });
    std::vector<size_t> out;
    if (group == list->items.end())
        return out;
    const Value* versions = group->find("versions");
    if (versions == nullptr || versions->type != Value::Type::list || versions->items.empty())
        return std::nullopt;
    for (size_t i = 0; i < kind.versions.size(); ++i) {
        const bool served = kind.versions[i] != nullptr && std::ranges::any_of(versions->items, [&](const Value& each) {
                                return text_member(&each, "version") == kind.versions[i];
                            });
        if (served)
            out.push_back(i);
    }
    return out;
}

std::optional<bool> is_served_at(const Value& resources, const KindInfo& kind, size_t version) {
    const Value* list = list_of(resources, "APIResourceList", "resources");
    if (list == nullptr || text_member(&resources, "groupVersion") != group_version(kind, version))
        return std::nullopt;
    return std::ranges::any_of(list->items,
                               [&](const Value& each) { return text_member(&each, "name") == kind.plural; });
}

std::string KindSearch::path() const {
    const std::string groups = "/apis";
    assert(!versions_ || !versions_->empty());
    return versions_ ? groups + "/" + group_version(kind_, versions_->back()) : groups;
}

KindSearch::Answer KindSearch::take(std::string_view body) {
    const auto read = parse_json(body);
    if (!read)
        return doubtful("is " + read.error().message);
    return versions_ ? take_resources(*read) : take_groups(*read);
}

KindSearch::Answer KindSearch::take_groups(const Value& groups) {
    versions_ = versions_served(groups, kind_);
    if (!versions_)
        return doubtful("is no list of API groups");
    return versions_->empty() ? Answer::absent : Answer::ask_on;
}

KindSearch::Answer KindSearch::take_resources(const Value& resources) {
    const std::optional<bool> served = is_served_at(resources, kind_, versions_->back());
    if (!served)
        return doubtful("is no list of API resources");
    if (*served)
        return doubtful("has the kind");
    versions_->pop_back();
    return versions_->empty() ? Answer::absent : Answer::ask_on;
}

KindSearch::Answer KindSearch::doubtful(std::string why) {
    doubt_ = std::move(why);
    return Answer::doubtful;
}

} // namespace weft::agent::kube
