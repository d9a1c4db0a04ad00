// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/plugin/plugin.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "config/cni/json.hpp"
#include "config/cni/messages.hpp"
#include "config/cni/version.hpp"

namespace weft::cni {
namespace {

constexpr std::string_view latest_version = versions.back();

std::unexpected<Failure> failed(ErrorCode code, std::string message, std::string details = "") {
    return std::unexpected(Failure{.code = code, .message = std::move(message), .details = std::move(details)});
}

std::string text(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::expected<void, Failure> read_own(const Json& json, Settings& out) {
    if (member(json, "socket") != nullptr)
        out.socket = text_of(json, "socket").value_or("");
    if (out.socket.empty() || out.socket.front() != '/')
        return failed(ErrorCode::config, "socket: is no absolute path");
    if (member(json, "timeoutSeconds") != nullptr)
        out.timeout_s = number_of(json, "timeoutSeconds").value_or(0);
    if (out.timeout_s == 0 || out.timeout_s > timeout_max_s)
        return failed(ErrorCode::config, "timeoutSeconds: is not from 1 to " + std::to_string(timeout_max_s));
    if (member(json, "failurePolicy") != nullptr) {
        const auto policy = text_of(json, "failurePolicy");
        if (policy != "failOpen" && policy != "failClosed")
            return failed(ErrorCode::config, "failurePolicy: is neither failClosed nor failOpen");
        out.fail_open = policy == "failOpen";
    }
    if (const Json* const list = member(json, "excludeNamespaces")) {
        if (!list->is_array())
            return failed(ErrorCode::config, "excludeNamespaces: is no list");
        for (const Json& each : *list) {
            if (!each.is_string())
                return failed(ErrorCode::config, "excludeNamespaces: one is no text");
            out.excluded.push_back(each.get<std::string>());
        }
    }
    return {};
}

/// An address that names no interface is the pod's own.
bool is_on(const Json& address, const Json* interfaces, std::string_view interface) {
    if (member(address, "interface") == nullptr)
        return true;
    const auto index = number_of(address, "interface");
    if (!index || interfaces == nullptr || !interfaces->is_array() || *index >= interfaces->size())
        return false;
    const Json& named = (*interfaces)[*index];
    return text_of(named, "name") == interface && !text_of(named, "sandbox").value_or("").empty();
}

} // namespace

std::expected<Settings, Failure> read_settings(std::string_view input) {
    const std::optional<Json> json = parse(input);
    if (!json || !json->is_object())
        return failed(ErrorCode::decode, "stdin holds no JSON object");
    Settings out;
    out.version = text_of(*json, "cniVersion").value_or("");
    if (!supports(out.version))
        return failed(ErrorCode::version, "incompatible CNI versions",
                      "the configuration is of '" + out.version + "', the plugin supports 0.3.0 to 1.1.0");
    if (const auto own = read_own(*json, out); !own)
        return std::unexpected(own.error());
    if (const Json* const previous = member(*json, "prevResult"); previous != nullptr && !previous->is_null()) {
        if (!previous->is_object())
            return failed(ErrorCode::decode, "prevResult: is no object");
        out.previous = *previous;
    }
    return out;
}

std::expected<PodName, Failure> read_args(std::string_view args) {
    PodName out;
    while (!args.empty()) {
        const size_t end = std::min(args.find(';'), args.size());
        const std::string_view pair = args.substr(0, end);
        args.remove_prefix(std::min(end + 1, args.size()));
        const size_t equals = pair.find('=');
        if (pair.empty() || equals == std::string_view::npos)
            continue;
        const std::string_view key = pair.substr(0, equals);
        for (const auto& [name, value] : {std::pair{std::string_view("K8S_POD_NAMESPACE"), &out.ns},
                                          {"K8S_POD_NAME", &out.name},
                                          {"K8S_POD_UID", &out.uid}})
            if (key == name)
                *value = pair.substr(equals + 1);
    }
    if (out.ns.empty() != out.name.empty())
        return failed(ErrorCode::environment, "CNI_ARGS: has only one of K8S_POD_NAMESPACE and K8S_POD_NAME");
    for (const std::string* const each : {&out.ns, &out.name, &out.uid})
        if (each->size() > text_bytes_max)
            return failed(ErrorCode::environment, "CNI_ARGS: a name is too long");
    return out;
}

std::vector<std::string> pod_addresses(const Json& previous, std::string_view interface) {
    std::vector<std::string> out;
    const Json* const list = member(previous, "ips");
    if (list == nullptr || !list->is_array())
        return out;
    std::array<bool, 2> seen{}; // IPv4, IPv6
    for (const Json& each : *list) {
        std::string address = text_of(each, "address").value_or("");
        address = address.substr(0, address.find('/'));
        const bool v6 = address.find(':') != std::string::npos;
        if (address.empty() || !is_on(each, member(previous, "interfaces"), interface) ||
            std::exchange(seen.at(v6 ? 1 : 0), true))
            continue;
        out.push_back(std::move(address));
    }
    return out;
}

std::string result_text(const Settings& settings) {
    Json result = settings.previous;
    result["cniVersion"] = settings.version; // where it was; else behind the others
    return text(result);
}

std::string failure_text(const Failure& failure, const std::string& version) {
    Json json = {{"cniVersion", supports(version) ? version : std::string(latest_version)},
                 {"code", std::to_underlying(failure.code)},
                 {"msg", "weft-cni: " + failure.message}};
    if (!failure.details.empty())
        json["details"] = failure.details;
    return text(json);
}

std::string version_text(std::string_view input) {
    const std::optional<Json> json = parse(input);
    const std::string asked = json ? text_of(*json, "cniVersion").value_or("") : "";
    return text(
        {{"cniVersion", supports(asked) ? asked : std::string(latest_version)}, {"supportedVersions", versions}});
}

} // namespace weft::cni
