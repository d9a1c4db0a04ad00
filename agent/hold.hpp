// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/source/object_store.hpp"

/// A new agent finds in force what a former one made of objects that only that one had seen. What the source lacks now
/// may be a policy: nothing is touched until it is whole, as far as the former agent had it.
namespace weft::agent {

/// "AuthorizationPolicy default/a", of every object that has a good version.
using ObjectIds = std::set<std::string>;

/// What one agent leaves to the next.
struct Record {
    ObjectIds ids;
    /// JSON of the good version, by id, of those whose newest one is refused: the source has it no more.
    std::map<std::string, std::string> outdated{};
    bool operator==(const Record&) const = default;
};
[[nodiscard]] Record record_of(const ObjectStore& store);
/// Of that, without making it: equal records have equal ones, and others differ but for one chance in 2^64.
[[nodiscard]] uint64_t fingerprint_of_record(const ObjectStore& store);
/// Objects that the former agent had in force although their newest version was refused, and that still have no good
/// one: as that agent had them.
void bring_back(ObjectStore& store, const Record& former);

/// Why the first load after a restart is no ground to change what is in force; empty: it is. Pure. `former` is what the
/// former agent had in force; nullopt: nobody knows. What never was in force holds nothing up, be it an object or a
/// broken file, nor does an object that is gone from a source that was read whole.
[[nodiscard]] std::vector<std::string> reasons_to_hold(const LoadResult& loaded, const std::optional<Record>& former);

/// As it was written, whole or not at all. nullopt: there is none that is whole.
[[nodiscard]] std::optional<Record> read_record(const std::string& path);
/// False: it could not be written; no older one is left either, which would say too little.
[[nodiscard]] bool write_record(const std::string& path, const Record& record);

} // namespace weft::agent
