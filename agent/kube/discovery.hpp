// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/source/kinds.hpp"
#include "agent/source/value.hpp"

/// The API server's own word about which kinds it serves: what answers 404 to a list may be anything before it.
namespace weft::agent::kube {

/// The versions of the kind's group that are served and known to us, as indices of KindInfo::versions; none: the kind
/// cannot be there. nullopt: this is no API server's list of groups.
[[nodiscard]] std::optional<std::vector<size_t>> versions_served(const Value& groups, const KindInfo& kind);
/// Whether the kind is among the resources of that version. nullopt: this is no API server's list of them.
[[nodiscard]] std::optional<bool> is_served_at(const Value& resources, const KindInfo& kind, size_t version);

/// Is the kind there at all? Asks for the API server's groups, then for the resources of each version that we know.
/// Pure: the owner sends the requests.
class KindSearch {
public:
    explicit KindSearch(const KindInfo& kind) : kind_(kind) {}

    /// What to ask now.
    [[nodiscard]] std::string path() const;

    enum class Answer : uint8_t {
        ask_on,  ///< path() is another now
        absent,  ///< the API server does not have the kind
        doubtful ///< it has, or this is no answer of an API server: doubt() says which
    };
    /// `body`: of an answer with status 200. After the last two answers there is nothing more to ask.
    [[nodiscard]] Answer take(std::string_view body);
    /// "has the kind": what the API server's discovery does.
    [[nodiscard]] const std::string& doubt() const { return doubt_; }

private:
    [[nodiscard]] Answer take_groups(const Value& groups);
    [[nodiscard]] Answer take_resources(const Value& resources);
    [[nodiscard]] Answer doubtful(std::string why);

    const KindInfo& kind_;
    std::optional<std::vector<size_t>> versions_; ///< those that are left to ask; nullopt: the groups are not known yet
    std::string doubt_;
};

} // namespace weft::agent::kube
