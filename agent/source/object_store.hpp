// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "agent/source/objects.hpp"
#include "agent/source/parse.hpp"

namespace weft::agent {

/// Of kinds that do not keep it.
struct NoText {};

/// One object as the source holds it now.
template <class T>
struct Entry {
    std::shared_ptr<const T> good; ///< last_good(), in force; null if there never was one
    std::vector<Fault> faults;     ///< why the newest version is refused; empty: `good` is the newest
    std::string origin;            ///< the file that it comes from
    Concerns refused{};            ///< whom the newest version concerns, if that is refused
    Revision revision{};           ///< of the newest version
    std::conditional_t<keeps_text<T>, std::string, NoText> text{}; ///< kept_text() of `good`, packed
    /// But for the revision: it means the same.
    bool operator==(const Entry& other) const {
        const bool same = good == other.good || (good && other.good && *good == *other.good);
        return same && faults == other.faults && origin == other.origin && refused == other.refused;
    }
    [[nodiscard]] const std::string& uid() const { return faults.empty() && good ? good->meta.uid : revision.uid; }
};

/// What is in force of an object that was good and whose newest version is refused: the last good version. What is a
/// fact and not a wish (where a pod is, whether it still runs) is never kept: others may have its addresses by now.
template <class T>
[[nodiscard]] std::shared_ptr<const T> last_good(const std::shared_ptr<const T>& good,
                                                 const ParsedObject& /*refused*/) {
    return good;
}
/// Of a pod stays that it is captured, and as whom; null if the newest version is another pod of that name.
[[nodiscard]] std::shared_ptr<const Pod> last_good(const std::shared_ptr<const Pod>& good, const ParsedObject& refused);
/// Of a slice stays whose it is, and its ports.
[[nodiscard]] std::shared_ptr<const EndpointSlice> last_good(const std::shared_ptr<const EndpointSlice>& good,
                                                             const ParsedObject& refused);

/// All objects of a source by kind, namespace and name. A plain value: objects are shared and immutable, so a copy
/// costs a tree of names, and nobody who holds one sees a later change.
class ObjectStore {
public:
    template <class T>
    using Table = std::map<ObjectName, Entry<T>>;

    template <class T>
    [[nodiscard]] const Table<T>& all() const {
        return std::get<Table<T>>(tables_);
    }
    template <class T>
    [[nodiscard]] Table<T>& all() {
        return std::get<Table<T>>(tables_);
    }
    /// The version in force, or nullptr.
    template <class T>
    [[nodiscard]] const T* find(const ObjectName& name) const {
        const auto found = all<T>().find(name);
        return found == all<T>().end() ? nullptr : found->second.good.get();
    }
    /// Calls visit(table) for the table of each kind.
    template <class F>
    void each_table(F&& visit) {
        std::apply([&](auto&... tables) { (visit(tables), ...); }, tables_);
    }
    template <class F>
    void each_table(F&& visit) const {
        std::apply([&](const auto&... tables) { (visit(tables), ...); }, tables_);
    }
    [[nodiscard]] size_t size() const {
        size_t count = 0;
        each_table([&](const auto& table) { count += table.size(); });
        return count;
    }

    bool operator==(const ObjectStore& other) const { return tables_ == other.tables_; }

private:
    std::tuple<Table<Namespace>, Table<Pod>, Table<Service>, Table<EndpointSlice>, Table<GatewayClass>, Table<Gateway>,
               Table<HttpRoute>, Table<AuthorizationPolicy>, Table<GrpcRoute>, Table<TcpRoute>, Table<TlsRoute>,
               Table<RequestAuthentication>>
        tables_;
};

/// A fault of a source that is not the newest version of one object being refused: those are in the store's entries.
struct SourceFault {
    std::string origin; ///< file, or the directory itself
    std::string object; ///< "HTTPRoute default/reviews"; empty: the whole file
    std::string field;
    std::string message;
    bool operator==(const SourceFault&) const = default;
};

struct LoadResult {
    ObjectStore store;
    std::vector<SourceFault> faults;
    std::vector<std::string> unread;     ///< files, or the directory itself, of which not all was taken
    std::vector<std::string> unreadable; ///< those of them of which nothing could be read
    size_t ignored = 0;                  ///< objects of kinds that Weft does not read
    std::vector<std::string> absent{};   ///< kinds that Weft serves and the source does not have at all ("HTTPRoute")
    /// False: no object means anything else than in the store before; only revisions may differ.
    bool changed = true;
    /// The resourceVersion up to which `store` knows each kind, by KindInfo::index; 0 or missing: not told.
    std::vector<uint64_t> versions{};
};

/// Files by name. Null: the file is there but could not be read, `unreadable` says why.
struct SourceFile {
    std::string name;
    std::shared_ptr<const ParsedFile> parsed;
    std::string unreadable;
};

/// Folds what the files say now into what was in force. Pure. An object stays with its last good version while its
/// newest is refused or its file cannot be read; of duplicates the one in force stays, else the first by file name.
[[nodiscard]] LoadResult merge(const ObjectStore& previous, std::vector<SourceFile> files);

} // namespace weft::agent
