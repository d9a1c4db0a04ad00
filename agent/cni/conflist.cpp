// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/conflist.hpp"

#include <algorithm>
#include <expected>
#include <iterator>
#include <optional>
#include <utility>

#include "config/cni/json.hpp"
#include "config/cni/version.hpp"

namespace weft::agent::cni {
namespace {

using weft::cni::member;
using weft::cni::text_of;

constexpr std::string_view list_extension = ".conflist";

bool is_list(std::string_view name) {
    return name.ends_with(list_extension);
}

/// "10-x.conf" and "10-x.json" are wrapped into "10-x.conflist".
std::string wrapped_name(const std::string& name) {
    return name.substr(0, name.rfind('.')) + std::string(list_extension);
}

bool has_type(const Json& plugin) {
    return !text_of(plugin, "type").value_or("").empty();
}

bool is_ours(const Json& plugin) {
    return text_of(plugin, "type") == weft::cni::plugin_type;
}

/// As libcni loads it; a reason if it would not.
std::expected<Json, std::string> load(const ConfFile& file) {
    std::optional<Json> json = weft::cni::parse(file.text);
    if (!json || !json->is_object())
        return std::unexpected("is no JSON object");
    if (!is_list(file.name)) {
        if (!has_type(*json))
            return std::unexpected("has no type");
        return *std::move(json);
    }
    if (text_of(*json, "name").value_or("").empty())
        return std::unexpected("has no name");
    const Json* const plugins = member(*json, "plugins");
    if (plugins == nullptr || !plugins->is_array() || plugins->empty())
        return std::unexpected("has no plugins");
    if (!std::ranges::all_of(*plugins, has_type))
        return std::unexpected("has a plugin without a type");
    return *std::move(json);
}

/// The runtime may use it, but it cannot be chained.
std::string why_not(const ConfFile& file, const Json& json) {
    const std::string version = text_of(json, "cniVersion").value_or("");
    if (!weft::cni::supports(version))
        return "its cniVersion '" + version + "' cannot be chained (0.3.0 to 1.1.0 can)";
    if (is_list(file.name) && json["plugins"].size() > conf_plugins_max)
        return "it has too many plugins";
    if (!is_list(file.name) && text_of(json, "name").value_or("").empty())
        return "it has no name";
    if (!is_list(file.name) && is_ours(json))
        return "it is weft-cni alone, without a network's plugin";
    return "";
}

void drop_entry(Json& json) {
    Json kept = Json::array();
    for (Json& plugin : json["plugins"])
        if (!is_ours(plugin))
            kept.push_back(std::move(plugin));
    json["plugins"] = std::move(kept);
}

bool has_entry(const Json& json) {
    const Json* const plugins = member(json, "plugins");
    return plugins != nullptr && plugins->is_array() && std::ranges::any_of(*plugins, is_ours);
}

std::string text_with(const Json& json) {
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

/// The single configuration that this list was made of; nullopt: none.
std::optional<std::string> original_of(const std::string& list, const std::set<std::string>& saved) {
    const auto found = std::ranges::find_if(saved, [&](const std::string& name) { return wrapped_name(name) == list; });
    return found == saved.end() ? std::nullopt : std::optional(*found);
}

bool is_there(const std::string& name, const std::vector<ConfFile>& files) {
    return std::ranges::find(files, name, &ConfFile::name) != files.end();
}

ConfEdit remove_saved(const std::string& original) {
    return {.kind = ConfEdit::Kind::remove, .name = original + std::string(saved_suffix)};
}

Json list_of(const Json& single, const Json& entry) {
    return {{"cniVersion", single["cniVersion"]}, {"name", single["name"]}, {"plugins", Json::array({single, entry})}};
}

/// The single configuration beside the list that is made of it, if it still has to be saved: an agent was killed in
/// between. Its entry may say something else than ours. nullopt: none.
std::optional<std::string> unsaved_original_of(const ConfFile& list, const Json& json,
                                               const std::vector<ConfFile>& files) {
    if (!is_list(list.name) || !has_entry(json))
        return std::nullopt;
    const auto found = std::ranges::find_if(files, [&](const ConfFile& each) {
        if (is_list(each.name) || wrapped_name(each.name) != list.name || !each.fault.empty())
            return false;
        const auto single = load(each);
        return single && why_not(each, *single).empty() && json == list_of(*single, json["plugins"].back());
    });
    return found == files.end() ? std::nullopt : std::optional(found->name);
}

void remove_from(const ConfFile& file, Json json, const std::set<std::string>& saved,
                 const std::vector<ConfFile>& files, std::vector<ConfEdit>& edits) {
    const ConfEdit remove_list{.kind = ConfEdit::Kind::remove, .name = file.name};
    if (const auto original = original_of(file.name, saved)) {
        // The CNI's own daemon may have written it anew meanwhile: then that one counts. The saved one goes last: a
        // list without it, left by an agent that is killed in between, would not be known as ours.
        if (is_there(*original, files)) {
            edits.push_back(remove_list);
            edits.push_back(remove_saved(*original));
        } else {
            edits.push_back({.kind = ConfEdit::Kind::restore, .name = *original});
            edits.push_back(remove_list);
        }
        return;
    }
    if (unsaved_original_of(file, json, files)) {
        edits.push_back(remove_list);
        return;
    }
    drop_entry(json);
    edits.push_back({.kind = ConfEdit::Kind::write, .name = file.name, .text = text_with(json)});
}

/// The edits that give the entry to that file; a reason if there are none that can.
std::string add_to(const ConfFile& file, Json json, const Json& entry, const std::set<std::string>& saved,
                   const std::vector<ConfFile>& files, std::vector<ConfEdit>& edits) {
    if (is_list(file.name)) {
        if (const auto original = unsaved_original_of(file, json, files))
            edits.push_back({.kind = ConfEdit::Kind::save, .name = *original});
        const Json before = json;
        drop_entry(json);
        json["plugins"].push_back(entry);
        if (json != before)
            edits.push_back({.kind = ConfEdit::Kind::write, .name = file.name, .text = text_with(json)});
        return "";
    }
    const Json list = list_of(json, entry);
    const std::string name = wrapped_name(file.name);
    const auto there = std::ranges::find(files, name, &ConfFile::name);
    const auto theirs = there == files.end() || !there->fault.empty() ? std::unexpected("") : load(*there);
    const bool ours =
        original_of(name, saved) == file.name || (theirs && unsaved_original_of(*there, *theirs, files) == file.name);
    if (there != files.end() && !ours)
        return "it has to be wrapped into " + name + ", which is there already";
    if (!theirs || *theirs != list)
        edits.push_back({.kind = ConfEdit::Kind::write, .name = name, .text = text_with(list)});
    edits.push_back({.kind = ConfEdit::Kind::save, .name = file.name});
    return "";
}

/// A list of ours whose original was written anew, by the CNI's own daemon: that one counts, wherever it stands.
bool is_outdated(const ConfFile& file, const Json& json, const std::set<std::string>& saved,
                 const std::vector<ConfFile>& files) {
    const auto original = is_list(file.name) && has_entry(json) ? original_of(file.name, saved) : std::nullopt;
    return original && std::ranges::any_of(files, [&](const ConfFile& each) {
               return each.name == *original && each.fault.empty() && load(each);
           });
}

void in_order(std::vector<ConfFile>& files) {
    std::ranges::sort(files, {}, &ConfFile::name);
}

} // namespace

Json plugin_entry(const PluginSettings& settings) {
    return {{"type", weft::cni::plugin_type},
            {"socket", settings.socket},
            {"timeoutSeconds", settings.timeout_s},
            {"failurePolicy", settings.fail_open ? "failOpen" : "failClosed"},
            {"excludeNamespaces", settings.excluded}};
}

bool is_conf_name(std::string_view name) {
    return name.ends_with(list_extension) || name.ends_with(".conf") || name.ends_with(".json");
}

ConfPlan plan_install(std::vector<ConfFile> files, const std::set<std::string>& saved, const Json& entry) {
    in_order(files);
    ConfPlan plan;
    for (const ConfFile& file : files) {
        if (!plan.active.empty() && (!file.fault.empty() || !is_list(file.name)))
            continue;
        auto json = file.fault.empty() ? load(file) : std::unexpected("");
        if (!plan.active.empty()) {
            if (json && has_entry(*json) && file.name != wrapped_name(plan.active))
                remove_from(file, *std::move(json), saved, files, plan.edits);
            continue;
        }
        if (file.fault.empty() && !json) {
            plan.skipped.push_back(file.name + " " + json.error());
            continue;
        }
        if (file.fault.empty() && is_outdated(file, *json, saved, files))
            continue;
        plan.active = file.name;
        plan.fault = file.fault.empty() ? why_not(file, *json) : file.fault;
        if (plan.fault.empty())
            plan.fault = add_to(file, *std::move(json), entry, saved, files, plan.edits);
    }
    return plan;
}

std::vector<ConfEdit> plan_removal(std::vector<ConfFile> files, const std::set<std::string>& saved) {
    in_order(files);
    std::vector<ConfEdit> edits;
    for (const ConfFile& file : files) {
        if (!is_list(file.name) || !file.fault.empty())
            continue;
        std::optional<Json> json = weft::cni::parse(file.text);
        if (json && has_entry(*json))
            remove_from(file, *std::move(json), saved, files, edits);
    }
    for (const std::string& original : saved) // of a removal that was cut short
        if (is_there(original, files) && std::ranges::find(edits, remove_saved(original)) == edits.end())
            edits.push_back(remove_saved(original));
    return edits;
}

} // namespace weft::agent::cni
