// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weft::agent::kube {

/// One right that the agent needs at the API server: what the chart's ClusterRole and Role grant, and weftctl check
/// asks for.
struct Access {
    enum class Scope : uint8_t {
        cluster, ///< in all namespaces
        own      ///< in the agent's own namespace
    };
    std::string verb;
    std::string group; ///< empty: core
    std::string resource;
    std::string subresource; ///< empty: none
    Scope scope = Scope::cluster;
    const char* why = ""; ///< what does not work without
    std::string name{};   ///< of the one object; empty: of all
    bool operator==(const Access&) const = default;
};

/// What of the agent is in use.
struct Uses {
    bool status = true;      ///< --status on
    std::string daemonset{}; ///< the name in --daemonset, in the agent's own namespace; empty: not given
};

/// All of them: list and watch of kinds_read(), then what is for writing, then the agent's own object. One per verb.
[[nodiscard]] std::vector<Access> access_needed(const Uses& uses);

/// "update httproutes/status.gateway.networking.k8s.io", as kubectl auth can-i takes it.
[[nodiscard]] std::string to_string(const Access& access);

} // namespace weft::agent::kube
