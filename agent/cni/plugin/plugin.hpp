// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/json.hpp"

/// The CNI contract (spec 0.3.0 to 1.1.0) of a chained plugin that changes nothing: what comes in by environment and
/// stdin, what goes out by stdout. Pure.
namespace weft::cni {

inline constexpr size_t stdin_bytes_max = 1024 * 1024;
inline constexpr uint32_t timeout_default_s = 10;
inline constexpr uint32_t timeout_max_s = 60;
inline constexpr const char* socket_default = "/run/weft/cni.sock";
/// The interface by which Kubernetes knows a pod. Others, of chains for further networks, are none of our business.
inline constexpr std::string_view primary_interface = "eth0";

/// Error codes of the specification.
enum class ErrorCode : uint8_t {
    version = 1,
    environment = 4,
    io = 5,
    decode = 6,
    config = 7,
    try_later = 11,
    not_captured = 100 ///< ours
};

struct Failure {
    ErrorCode code = ErrorCode::config;
    std::string message; ///< one sentence
    std::string details;
    bool operator==(const Failure&) const = default;
};

/// The variables CNI_COMMAND and so on; empty: not set.
struct Environment {
    std::string command;
    std::string container;
    std::string netns;
    std::string interface;
    std::string args;
};

/// The plugin's entry in the network configuration, as the runtime completes it.
struct Settings {
    std::string version; ///< cniVersion
    std::string socket = socket_default;
    uint32_t timeout_s = timeout_default_s;
    bool fail_open = false;
    std::vector<std::string> excluded; ///< namespaces whose pods are not asked for
    Json previous;                     ///< prevResult; null: there is none
};

struct PodName {
    std::string ns; ///< empty: no pod of Kubernetes
    std::string name;
    std::string uid; ///< empty: the runtime did not say
    bool operator==(const PodName&) const = default;
};

/// The version is taken from any JSON object that has one, so that a failure can be told in it.
[[nodiscard]] std::expected<Settings, Failure> read_settings(std::string_view text);
/// "K8S_POD_NAMESPACE=default;K8S_POD_NAME=a;...": keys that are not known are left out.
[[nodiscard]] std::expected<PodName, Failure> read_args(std::string_view args);
/// The pod's addresses on that interface, the first of each family, without prefix lengths: those that the runtime will
/// give as pod.status.podIPs.
[[nodiscard]] std::vector<std::string> pod_addresses(const Json& previous, std::string_view interface);

/// prevResult as it came, in the configuration's version.
[[nodiscard]] std::string result_text(const Settings& settings);
[[nodiscard]] std::string failure_text(const Failure& failure, const std::string& version);
/// The answer to VERSION; the request is what stdin said.
[[nodiscard]] std::string version_text(std::string_view text);

} // namespace weft::cni
