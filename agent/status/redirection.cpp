// SPDX-License-Identifier: Apache-2.0
#include "agent/status/redirection.hpp"

namespace weft::agent::status {

std::vector<PodMark> marks_to_change(const ObjectStore& store, const std::string& node, const PodIds& acknowledged,
                                     const std::set<std::string>& enrolled) {
    std::vector<PodMark> out;
    for (const auto& [name, entry] : store.all<Pod>()) {
        const Pod* pod = entry.good.get();
        if (pod == nullptr || pod->node_name != node || pod->finished || pod->meta.deleting || pod->meta.uid.empty())
            continue;
        const std::string id = name.ns + "/" + name.name;
        const bool wanted = acknowledged.contains(id);
        const auto found = pod->meta.annotations.find(redirection_annotation);
        const bool there = found != pod->meta.annotations.end() && found->second == redirection_enabled;
        if (wanted ? !there : there && !enrolled.contains(id))
            out.push_back({.name = name, .uid = pod->meta.uid, .enabled = wanted});
    }
    return out;
}

std::vector<PodMark> marks_to_remove(const ObjectStore& store, const std::string& node) {
    return marks_to_change(store, node, {}, {});
}

Json mark_patch(const PodMark& mark) {
    const Json value = mark.enabled ? Json(redirection_enabled) : Json(nullptr);
    return {{"metadata", {{"uid", mark.uid}, {"annotations", {{redirection_annotation, value}}}}}};
}

} // namespace weft::agent::status
