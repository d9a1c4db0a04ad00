// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "config/base/net.hpp"
#include "config/model/snapshot.hpp"
#include "l7engine/policy/request.hpp"

/// AuthorizationPolicy, judged (istio.md 1.2-1.6). Pure. A missing input makes every positive match false and every
/// negative one true.
namespace weft::l7 {

/// What is judged. Of a connection whose requests nobody reads, nothing that only a request has is known: an ALLOW rule
/// that asks for it never matches, a DENY rule is judged without it, hence wider; a part that has nothing else is true
/// (istio.md 1.7, TCP filter chain).
enum class Judged : uint8_t { request, connection };

struct AuthzInput {
    Judged judged = Judged::request;
    RequestView request;              ///< of a connection: not read
    std::string_view principal;       ///< without "spiffe://"; empty: no identity
    std::string_view ns;              ///< of the principal; empty: no identity
    std::string_view service_account; ///< of the principal; empty: no identity
    IpAddress peer;                   ///< source.ip: the client pod's address
    IpAddress remote;                 ///< remote.ip: remote_address(); of a connection: the peer
    IpAddress destination;
    uint16_t destination_port = 0;
    std::string_view sni;
    bool sni_unknown = false; ///< then a DENY rule that asks for the name holds, and an ALLOW rule does not

    /// Fills principal, ns and service_account from a workload; nullptr: no identity.
    void identify(const config::Workload* workload);
};

struct AuthzVerdict {
    bool allowed = false;
    uint32_t policy = config::none; ///< index of the policy that decided; none: no policy matched
    uint32_t rule = config::none;   ///< index of its rule that matched

    bool operator==(const AuthzVerdict&) const = default;
};

/// DENY before ALLOW; without an ALLOW policy everything else is allowed. `policies == none` (no set): allowed.
[[nodiscard]] AuthzVerdict judge(const config::Snapshot& snapshot, uint32_t policies, const AuthzInput& input);
[[nodiscard]] AuthzVerdict judge(const config::Snapshot& snapshot, const config::PolicySet& set,
                                 const AuthzInput& input);

/// Every guard must allow, each with its own `destination.port`; a guard of all other ports (0) is judged with the
/// input's, which must be the pod port that was dialled. Without guards: allowed.
[[nodiscard]] AuthzVerdict judge_guards(const config::Snapshot& snapshot, std::span<const config::Guard> guards,
                                        AuthzInput input);

/// Does one policy match, and by which rule? `none` if it does not. For judge() and for tests.
[[nodiscard]] uint32_t matching_rule(const config::Policy& policy, const AuthzInput& input);

/// The client's address by X-Forwarded-For, as an Envoy waypoint takes it (use_remote_address=false): the last element
/// after skipping `trusted_hops` elements from the right; repeated fields count as one list. Absent, too short or no
/// address: the peer.
[[nodiscard]] IpAddress remote_address(const Headers& headers, const IpAddress& peer, uint32_t trusted_hops);

} // namespace weft::l7
