// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/base/net.hpp"

namespace weft::config {

/// One string value of a policy (istio.md 1.4): `*` = present, `x*` prefix, `*x` suffix, else exact.
struct StringPattern {
    enum class Kind : uint8_t { exact, prefix, suffix, present };
    Kind kind = Kind::exact;
    std::string value; ///< without the star
    bool operator==(const StringPattern&) const = default;
};

/// A path value: a string form, or a template with {*} and {**} (istio.md 1.5), kept as written.
struct PathPattern {
    bool is_template = false;
    StringPattern text;  ///< if not a template
    std::string pattern; ///< if a template
    bool operator==(const PathPattern&) const = default;
};

/// A field with its not-form: OR over values; NOT(OR over not_values); both must hold. Empty lists are true.
template <class T>
struct Matches {
    std::vector<T> values;
    std::vector<T> not_values;
    [[nodiscard]] bool empty() const { return values.empty() && not_values.empty(); }
    bool operator==(const Matches&) const = default;
};

struct ServiceAccountRef {
    std::string ns;
    std::string name;
    bool operator==(const ServiceAccountRef&) const = default;
};

/// rules[].from[].source. Distinct fields: AND.
struct PolicySource {
    Matches<StringPattern> principals;           ///< compared with the identity without "spiffe://"
    Matches<std::string> namespaces;             ///< `*` anywhere, full match
    Matches<ServiceAccountRef> service_accounts; ///< any trust domain
    Matches<Cidr> ip_blocks;                     ///< the peer's address
    Matches<Cidr> remote_ip_blocks;              ///< the client's address by X-Forwarded-For rules
    bool operator==(const PolicySource&) const = default;
};

/// rules[].to[].operation. Distinct fields: AND.
struct PolicyOperation {
    Matches<StringPattern> hosts; ///< case-insensitive, the port is not stripped
    Matches<uint16_t> ports;
    Matches<StringPattern> methods;
    Matches<PathPattern> paths; ///< without query and fragment
    bool operator==(const PolicyOperation&) const = default;
};

/// rules[].when[].
struct PolicyCondition {
    enum class Key : uint8_t {
        request_header,
        source_ip,
        remote_ip,
        source_namespace,
        source_principal,
        source_service_account,
        destination_ip,
        destination_port,
        connection_sni,
    };
    Key key = Key::request_header;
    std::string header;              ///< lower-case, for request_header
    Matches<StringPattern> strings;  ///< request_header, source_principal, connection_sni
    Matches<std::string> namespaces; ///< source_namespace
    Matches<ServiceAccountRef> service_accounts;
    Matches<Cidr> blocks;    ///< source_ip, remote_ip, destination_ip
    Matches<uint16_t> ports; ///< destination_port
    bool operator==(const PolicyCondition&) const = default;
};

/// rules[]: (from) AND (to) AND (all when); an absent part is true.
struct PolicyRule {
    std::vector<PolicySource> from;
    std::vector<PolicyOperation> to;
    std::vector<PolicyCondition> when;
    bool operator==(const PolicyRule&) const = default;
};

/// Does the rule ask for something that only a request of HTTP has? Where connections are judged, such a rule proves
/// nothing for an ALLOW (istio.md 1.7).
[[nodiscard]] bool reads_request(const PolicyRule& rule);
/// ... for the server name of a TLS hello?
[[nodiscard]] bool reads_server_name(const PolicyRule& rule);

struct Policy {
    enum class Action : uint8_t { allow, deny };
    std::string ns;
    std::string name;
    Action action = Action::allow;
    std::vector<PolicyRule> rules; ///< empty: matches nothing
    bool operator==(const Policy&) const = default;
};

/// The policies that govern one target. Order of judgement: istio.md 1.3. Indices into Snapshot::policies.
struct PolicySet {
    std::vector<uint32_t> deny;  ///< in name order
    std::vector<uint32_t> allow; ///< in name order; empty: allowed unless denied
    bool operator==(const PolicySet&) const = default;
};

} // namespace weft::config
