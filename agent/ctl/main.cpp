// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "agent/check/api.hpp"
#include "agent/check/node.hpp"
#include "agent/ctl/client.hpp"
#include "agent/ctl/table.hpp"
#include "agent/ctl/uninstall.hpp"
#include "config/settings/flags.hpp"

namespace {

using weft::Json;
namespace ctl = weft::agent::ctl;

struct Options {
    std::string socket = "/run/weft/agent.sock";
    uint64_t timeout_s = 10;
    std::string output = "table";
    bool strict = false;

    // of check
    std::string cgroup;
    std::string pin_dir = "/sys/fs/bpf/weft";
    uint64_t kubelet_port = 10'250;
    std::string kubeconfig;
    std::string agent_namespace;
    std::string service_account;
    std::string daemonset; ///< also of uninstall
    bool writes_status = true;
    bool no_api = false;
    bool json = false;
};

constexpr weft::config::Choice<bool> on_off[] = {{"on", true}, {"off", false}};
constexpr int exit_usage = 2; ///< of check, whose 1 means that something is wrong with the node or the cluster

int complain(const std::string& why) {
    std::fprintf(stderr, "weftctl: %s\n", ctl::printable(why).c_str());
    return 1;
}

int show_status(const Options& options) {
    if (options.output != "table" && options.output != "json")
        return complain("-o: must be table or json, not " + options.output);
    const auto answer = ctl::ask(options.socket, ctl::Verb::status, static_cast<uint32_t>(options.timeout_s * 1000));
    if (!answer)
        return complain(answer.error());
    if (!answer->ok)
        return complain(answer->error);
    const std::string text = options.output == "json" ? answer->json.dump(2) + "\n" : ctl::status_text(answer->json);
    std::fputs(text.c_str(), stdout);
    return 0;
}

/// For a readiness probe: of the agent whose --group is the environment's POD_UID, not of one that it shall replace.
int ready(const Options& options) {
    const char* group = std::getenv("POD_UID");
    const auto answer = ctl::ask(options.socket, ctl::Verb::ready, static_cast<uint32_t>(options.timeout_s * 1000),
                                 group == nullptr ? "" : group);
    if (answer && answer->ok)
        return 0;
    // Its agent has stepped aside for the next: as good as ever, until that one has proven itself.
    std::ifstream standby(options.socket + ".standby");
    std::string aside;
    if (group != nullptr && std::getline(standby, aside) && aside == group)
        return 0;
    return complain(answer ? "not ready: " + answer->error : answer.error());
}

/// For a liveness probe: any answer is one, also that of the agent that this pod's takes over from, or has yielded to.
int alive(const Options& options) {
    const auto answer = ctl::ask(options.socket, ctl::Verb::ready, static_cast<uint32_t>(options.timeout_s * 1000));
    return answer ? 0 : complain(answer.error());
}

int synchronise(const Options& options) {
    const auto answer = ctl::ask(options.socket, ctl::Verb::sync, static_cast<uint32_t>(options.timeout_s * 1000));
    if (!answer)
        return complain(answer.error());
    size_t warnings = 0;
    if (answer->json.is_object() && answer->json.contains("warnings")) {
        for (const Json& line : answer->json["warnings"]) {
            std::fprintf(stderr, "weftctl: warning: %s\n", ctl::printable(line.get<std::string>()).c_str());
            ++warnings;
        }
    }
    if (!answer->ok)
        return complain("not in force: " + answer->error);
    return options.strict && warnings != 0 ? 1 : 0;
}

/// A remedy once, for all findings that it is for.
std::string remedies_text(const std::vector<weft::agent::check::Finding>& findings) {
    std::vector<std::pair<std::string, std::vector<std::string>>> remedies;
    for (const weft::agent::check::Finding& finding : findings) {
        if (finding.remedy.empty())
            continue;
        auto known = std::ranges::find(remedies, finding.remedy, [](const auto& each) { return each.first; });
        if (known == remedies.end())
            known = remedies.insert(remedies.end(), {finding.remedy, {}});
        if (std::ranges::find(known->second, finding.check) == known->second.end())
            known->second.push_back(finding.check);
    }
    std::string text;
    for (const auto& [remedy, checks] : remedies) {
        std::string names;
        for (const std::string& check : checks)
            names += (names.empty() ? "" : ", ") + check;
        text += "  " + ctl::printable(names) + ":\n    " + ctl::printable(remedy) + "\n";
    }
    return text;
}

std::string check_text(const std::vector<weft::agent::check::Finding>& findings) {
    std::vector<std::vector<std::string>> rows;
    for (const weft::agent::check::Finding& finding : findings)
        rows.push_back({finding.check, weft::agent::check::name(finding.level), finding.detail});
    const std::string remedies = remedies_text(findings);
    return ctl::table({"CHECK", "STATUS", "DETAIL"}, rows) + (remedies.empty() ? "" : "\nWhat to do:\n" + remedies);
}

/// Of "namespace/name".
std::string name_in(const std::string& place) {
    return place.substr(place.find('/') + 1);
}

int check(const Options& options) {
    using namespace weft::agent::check;
    for (const auto& [flag, value] :
         {std::pair("--service-account", &options.service_account), std::pair("--daemonset", &options.daemonset)}) {
        if (value->empty() || std::ranges::count(*value, '/') == 1)
            continue;
        complain(std::string(flag) + ": not NAMESPACE/NAME: " + *value);
        return exit_usage;
    }
    std::vector<Finding> findings = check_node({.cgroup = options.cgroup,
                                                .pin_dir = options.pin_dir,
                                                .kubelet_port = static_cast<uint16_t>(options.kubelet_port)});
    std::ranges::move(
        options.no_api ? skip_api("--no-api")
                       : check_api({.kubeconfig = options.kubeconfig,
                                    .agent_namespace = options.agent_namespace,
                                    .service_account = options.service_account,
                                    .uses = {.status = options.writes_status, .daemonset = name_in(options.daemonset)},
                                    .timeout_ms = static_cast<uint32_t>(options.timeout_s * 1000)}),
        std::back_inserter(findings));
    // Texts of the API server may hold any bytes: replaced, not thrown on.
    const std::string text = options.json ? to_json(findings).dump(2, ' ', false, Json::error_handler_t::replace) + "\n"
                                          : check_text(findings);
    std::fputs(text.c_str(), stdout);
    return has_failed(findings) ? 1 : 0;
}

int uninstall(const Options& options) {
    const auto gone =
        ctl::uninstall(options.daemonset, options.kubeconfig, static_cast<uint32_t>(options.timeout_s * 1000));
    if (!gone)
        return complain(gone.error());
    if (!gone->empty())
        complain(*gone);
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    Options options;
    weft::config::Flags flags("weftctl", "Asks the Weft agent of this node.", WEFT_VERSION);
    flags.text("--socket", options.socket, "PATH", "the agent's control socket");
    flags.number("--timeout", options.timeout_s, 1, 600, "seconds to wait");
    weft::config::Flags& status = flags.command("status", "what is in force, and what is wrong");
    status.text("-o", options.output, "table|json", "the form of the output");
    weft::config::Flags& sync =
        flags.command("sync", "waits until all that the source holds now is in force; fails if it cannot be read");
    sync.toggle("--strict", options.strict, "exit 1 also for refused objects and pods whose namespace is not there");
    weft::config::Flags& readiness =
        flags.command("ready", "exit 0 if the agent is ready; with POD_UID in the environment: that pod's agent");
    weft::config::Flags& liveness = flags.command("alive", "exit 0 if an agent answers, ready or not");
    weft::config::Flags& preflight =
        flags.command("check", "what node and cluster lack for Weft, and what to do about it; needs no agent");
    preflight.text("--cgroup", options.cgroup, "PATH", "as of weft-agent");
    preflight.text("--pin-dir", options.pin_dir, "PATH", "as of weft-agent");
    preflight.number("--kubelet-port", options.kubelet_port, 1, 65'535, "as of weft-agent");
    preflight.text("--kubeconfig", options.kubeconfig, "PATH",
                   "server and credentials (default: the pod's service account)");
    preflight.text("--service-account", options.service_account, "NAMESPACE/NAME",
                   "whose rights are looked at (default: those of the credentials)");
    preflight.text("--namespace", options.agent_namespace, "NAME",
                   "the agent's (default: the service account's, the pod's, weft-system)");
    preflight.choice<bool>("--status", options.writes_status, on_off, "as of weft-agent");
    preflight.text("--daemonset", options.daemonset, "NAMESPACE/NAME", "as of weft-agent");
    // In the agent's container these are what the agent has.
    preflight.environment("--pin-dir", "WEFT_PIN_DIR");
    preflight.environment("--kubelet-port", "WEFT_KUBELET_PORT");
    preflight.environment("--status", "WEFT_STATUS");
    preflight.environment("--daemonset", "WEFT_DAEMONSET");
    preflight.toggle("--no-api", options.no_api, "leave the cluster out");
    preflight.toggle("--json", options.json, "one JSON object");
    weft::config::Flags& removal =
        flags.command("uninstall", "deletes the agents' DaemonSet and waits until they have cleaned up their nodes");
    removal.text("--daemonset", options.daemonset, "NAMESPACE/NAME", "the agents'");
    removal.text("--kubeconfig", options.kubeconfig, "PATH", "as of check");
    if (const std::optional<weft::config::Flags::Ended> ended = flags.read(argc, argv)) {
        const int code = ended->say();
        return code != 0 && preflight.given() ? exit_usage : code;
    }
    if (preflight.given())
        return check(options);
    if (readiness.given())
        return ready(options);
    if (liveness.given())
        return alive(options);
    if (removal.given())
        return uninstall(options);
    return status.given() ? show_status(options) : synchronise(options);
}
