// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/source/kinds.hpp"
#include "agent/source/objects.hpp"
#include "agent/source/value.hpp"

/// What of an object's status in the API is Weft's: so little is kept of it that every agent can know of every object
/// whether its status says what it should.
namespace weft::agent {

/// As status.parents and GatewayClasses name the controller.
inline constexpr const char* controller_name = "weftmesh.io/gateway-controller";
/// Of routes and policies, beside the Gateway API's own of Gateways: it is in force on every node.
inline constexpr const char* programmed_type = "weftmesh.io/Programmed";
/// Of kinds that Kubernetes owns.
inline constexpr const char* accepted_type = "weftmesh.io/Accepted";
inline constexpr const char* waypoint_bound_type = "istio.io/WaypointBound";

/// A condition, or a listener's or class's other values, which go by a type with a small first letter. Plain data.
struct StatusLine {
    std::string place;  ///< routes: the parent's id; of a Gateway's listener its name; else empty
    std::string type;   ///< "Accepted"; "attachedRoutes", "supportedKinds", "supportedFeatures"
    std::string status; ///< of a condition: True, False, Unknown; else the value
    std::string reason{};
    std::string message{};
    int64_t generation = 0; ///< observed
    auto operator<=>(const StatusLine&) const = default;
};

/// "Service default/reviews:9080/http": one text per parent that a route can name.
[[nodiscard]] std::string parent_id(const HttpRoute::Parent& parent);

/// Why an object is refused and what that means, for its status and its Event: the same whichever agent says it, and
/// short enough for both. `served`: some node may have a good version in force.
[[nodiscard]] std::string refusal_text(const std::vector<Fault>& faults, bool served);

/// Whether conditions of that type are Weft's on that kind; `listener`: of a Gateway's.
[[nodiscard]] bool is_own_condition(std::string_view kind, std::string_view type, bool listener);
/// Those of a whole object as the API serves it. Foreign ones are left out, and what is no status at all.
[[nodiscard]] std::vector<StatusLine> own_status(const Value& object, const KindInfo& kind);

/// The same lines give the same, in any order; none: 0.
[[nodiscard]] uint64_t digest(std::vector<StatusLine> lines);
/// Some line says that every node has that generation in force.
[[nodiscard]] bool says_programmed(const std::vector<StatusLine>& lines, int64_t generation);
[[nodiscard]] bool is_programmed_type(std::string_view type);

} // namespace weft::agent
