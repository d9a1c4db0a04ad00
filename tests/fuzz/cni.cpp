// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/conflist.hpp"
#include "agent/cni/plugin/plugin.hpp"
#include "config/cni/json.hpp"
#include "config/cni/messages.hpp"
#include "config/cni/version.hpp"
#include "tests/fuzz/input.hpp"

/// What container runtimes, CNI's daemons and peers may write: configurations, the plugin's stdin, messages. What is
/// read is written back the same; a configuration is given our entry once, as the last, and gets back what it was.
namespace weft::l7::fuzz {
namespace {

using agent::cni::ConfEdit;
using agent::cni::ConfFile;
using agent::cni::ConfPlan;

/// The list without our entries, as text.
std::string without_ours(const std::string& text) {
    Json json = cni::parse(text).value_or(Json());
    Json kept = Json::array();
    for (const Json& plugin : json["plugins"])
        if (cni::text_of(plugin, "type") != cni::plugin_type)
            kept.push_back(plugin);
    json["plugins"] = kept;
    return json.dump();
}

void check_list(const std::string& text) {
    const Json entry = agent::cni::plugin_entry({.socket = "/s", .excluded = {}});
    const ConfFile before{.name = "10.conflist", .text = text};
    const ConfPlan plan = agent::cni::plan_install({before}, {}, entry);
    require(plan.edits.size() <= 1, "a list needs one edit at most", text);
    require(plan.active.empty() || plan.edits.empty() || plan.fault.empty(), "a fault leaves a file alone", text);
    if (plan.active.empty() || !plan.fault.empty())
        return;
    const std::string& now = plan.edits.empty() ? text : plan.edits[0].text;
    require(agent::cni::plan_install({{.name = "10.conflist", .text = now}}, {}, entry).edits.empty(),
            "an edited list needs no other edit", now);
    require(cni::parse(now)->at("plugins").back() == entry, "the entry is the last", now);
    require(without_ours(now) == without_ours(text), "nothing else changes", now + "\nwas\n" + text);
    const auto removal = agent::cni::plan_removal({{.name = "10.conflist", .text = now}}, {});
    require(removal.size() == 1 && cni::parse(removal[0].text)->dump() == without_ours(text),
            "the list gets back what it was", now);
}

void check_single(const std::string& text) {
    const Json entry = agent::cni::plugin_entry({.socket = "/s", .excluded = {}});
    const ConfPlan plan = agent::cni::plan_install({{.name = "10.conf", .text = text}}, {}, entry);
    if (plan.edits.empty())
        return;
    require(plan.edits.size() == 2 && plan.edits[0].kind == ConfEdit::Kind::write &&
                plan.edits[1].kind == ConfEdit::Kind::save,
            "a single configuration is wrapped, then put aside", text);
    const ConfFile list{.name = plan.edits[0].name, .text = plan.edits[0].text};
    require(cni::parse(list.text)->at("plugins").at(0) == cni::parse(text), "it is in the list as it is", list.text);
    require(agent::cni::plan_install({list}, {"10.conf"}, entry).edits.empty(), "the list needs no edit", list.text);
}

void check_plugin(const std::string& text) {
    const auto settings = cni::read_settings(text);
    static_cast<void>(cni::version_text(text));
    static_cast<void>(cni::read_args(text));
    if (!settings)
        return require(!settings.error().message.empty(), "a failure has words", text);
    require(settings->timeout_s > 0 && settings->timeout_s <= cni::timeout_max_s && cni::supports(settings->version),
            "settings are within their bounds", text);
    for (const std::string& address : cni::pod_addresses(settings->previous, "eth0"))
        require(!address.empty() && address.find('/') == std::string::npos, "an address has no prefix", address);
    if (settings->previous.is_null())
        return;
    Json wanted = settings->previous;
    wanted["cniVersion"] = settings->version;
    require(cni::parse(cni::result_text(*settings))->dump() == wanted.dump(), "the result is the previous one", text);
}

void check_messages(const std::string& text) {
    if (const auto request = cni::decode_request(text))
        require(cni::decode_request(cni::encode(*request)) == *request, "a request is read as it was written", text);
    if (const auto answer = cni::decode_answer(text))
        require(cni::decode_answer(cni::encode(*answer)).has_value(), "an answer can be read again", text);
}

} // namespace
} // namespace weft::l7::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace weft::l7;
    const fuzz::Input input(data, size);
    const std::string text(input.bytes());
    fuzz::check_list(text);
    fuzz::check_single(text);
    fuzz::check_plugin(text);
    fuzz::check_messages(text);
    return 0;
}
