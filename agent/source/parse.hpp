// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "agent/source/kinds.hpp"
#include "agent/source/objects.hpp"
#include "agent/source/revision.hpp"
#include "agent/source/value.hpp"

namespace weft::agent {

struct ObjectName {
    std::string ns;
    std::string name;
    auto operator<=>(const ObjectName&) const = default;
};

/// A typed object; its alternative is the kind. Null: this version is refused.
using AnyObject = std::variant<
    std::shared_ptr<const Namespace>, std::shared_ptr<const Pod>, std::shared_ptr<const Service>,
    std::shared_ptr<const EndpointSlice>, std::shared_ptr<const GatewayClass>, std::shared_ptr<const Gateway>,
    std::shared_ptr<const HttpRoute>, std::shared_ptr<const AuthorizationPolicy>, std::shared_ptr<const GrpcRoute>,
    std::shared_ptr<const TcpRoute>, std::shared_ptr<const TlsRoute>, std::shared_ptr<const RequestAuthentication>>;

/// Whom a refused object concerns, as far as it says so.
struct Concerns {
    std::vector<HttpRoute::Parent> parents{};           ///< of a route
    std::vector<AuthorizationPolicy::Target> targets{}; ///< of a policy
    std::string gateway_class{};                        ///< of a Gateway
    bool operator==(const Concerns&) const = default;
};

struct ParsedObject {
    ObjectName name;
    AnyObject object;
    std::vector<Fault> faults; ///< not empty: refused, and `object` is null
    Concerns concerns{};       ///< of a refused one
    AnyObject read{};          ///< of a refused one, what could be read of it; null, or of another kind: nothing
    Revision revision{};       ///< as an API server serves it
    std::string text{};        ///< kept_text() of a good one, packed, of kinds that keep it
};

/// What one file says.
struct ParsedFile {
    std::vector<ParsedObject> objects;
    std::vector<Fault> faults; ///< of the file or of documents that name no object
    /// False if some document could not be read at all: objects that the file held before and that are missing now may
    /// be in there, and must stay.
    bool complete = true;
    size_t ignored = 0; ///< objects of kinds that Weft does not read
};

[[nodiscard]] ParsedFile parse_manifests(std::string_view text);

/// One object from any source (YAML, API server). `out.ignored` counts it if it is of no kind of ours.
void parse_object(const Value& value, const std::vector<Fault>& faults, ParsedFile& out);

/// One object as the API server serves it. The kind is the one that was asked for: items of a list do not repeat it.
void parse_served(const Value& value, const KindInfo& kind, const std::string& version, ParsedFile& out);

/// The same of an object of which only the names could be read (TakeObject): refused, for `why`.
void refuse_served(const Value& names, const KindInfo& kind, const std::string& why, ParsedFile& out);

/// "HTTPRoute default/reviews", "Namespace default".
[[nodiscard]] std::string object_id(const char* kind, const ObjectName& name);

} // namespace weft::agent
