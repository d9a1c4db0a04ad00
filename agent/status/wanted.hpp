// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/reconcile/state.hpp"
#include "agent/source/object_store.hpp"
#include "agent/source/own_status.hpp"

/// What the statuses of all objects shall say in the API. Pure.
namespace weft::agent::status {

struct ObjectKey {
    size_t kind = 0; ///< KindInfo::index
    ObjectName name;
    auto operator<=>(const ObjectKey&) const = default;
};

struct WantedStatus {
    ObjectKey key;
    std::string uid;
    int64_t generation = 0;
    uint64_t version = 0;          ///< Revision::version
    uint64_t newest = 0;           ///< Revision::newest
    uint64_t live = 0;             ///< Revision::own_status
    bool live_programmed = false;  ///< Revision::programmed
    bool has_status = true;        ///< false: the kind has none that we write; it is here because it is refused
    std::vector<StatusLine> lines; ///< Programmed is True: as if every node had it
    std::string refused;           ///< why the newest version is; empty: it is not
};

/// One for each object whose status is ours to write, or holds something of ours that nobody wants any more, and for
/// each that is refused. `statuses`: of compile(), for the same objects.
[[nodiscard]] std::vector<WantedStatus> wanted_statuses(const ObjectStore& store,
                                                        const std::vector<ObjectStatus>& statuses);

/// The same lines while those nodes do not have the object in force yet; none: all have.
[[nodiscard]] std::vector<StatusLine> awaiting(std::vector<StatusLine> lines, const std::vector<std::string>& nodes);
/// Some line depends on the nodes.
[[nodiscard]] bool waits_for_nodes(const std::vector<StatusLine>& lines);

} // namespace weft::agent::status
