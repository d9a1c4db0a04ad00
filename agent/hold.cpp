// SPDX-License-Identifier: Apache-2.0
#include "agent/hold.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <functional>
#include <string_view>

#include "config/base/unique_fd.hpp"

namespace weft::agent {
namespace {

constexpr std::string_view last_line = "end"; ///< of a whole record; no object's id is one word

/// Calls visit(kind, name, entry) for each object.
template <class F>
void each_named(const ObjectStore& store, F&& visit) {
    store.each_table([&]<class T>(const ObjectStore::Table<T>& table) {
        for (const auto& [name, entry] : table)
            visit(T::kind, name, entry);
    });
}
/// Calls visit(id, entry) for each object.
template <class F>
void each_object(const ObjectStore& store, F&& visit) {
    each_named(store, [&](const char* kind, const ObjectName& name, const auto& entry) {
        visit(object_id(kind, name), entry);
    });
}

bool write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t sent = ::write(fd, text.data(), text.size());
        if (sent < 0 && errno != EINTR)
            return false;
        text.remove_prefix(sent > 0 ? static_cast<size_t>(sent) : 0);
    }
    return true;
}

} // namespace

ObjectIds objects_in_force(const ObjectStore& store) {
    ObjectIds ids;
    each_object(store, [&](std::string id, const auto& entry) {
        if (entry.good)
            ids.insert(std::move(id));
    });
    return ids;
}

uint64_t fingerprint_in_force(const ObjectStore& store) {
    constexpr uint64_t odd = 0x9e3779b97f4a7c15;
    const std::hash<std::string_view> hash;
    uint64_t out = 0;
    each_named(store, [&](const char* kind, const ObjectName& name, const auto& entry) {
        if (!entry.good)
            return;
        for (const std::string_view part :
             {std::string_view(kind), std::string_view(name.ns), std::string_view(name.name)})
            out = (out ^ hash(part)) * odd ^ (out >> 32U);
    });
    return out;
}

std::vector<std::string> reasons_to_hold(const LoadResult& loaded, const std::optional<ObjectIds>& former) {
    std::vector<std::string> reasons;
    ObjectIds lost = former.value_or(ObjectIds{}); // what was in force and is not there at all
    each_object(loaded.store, [&](const std::string& id, const auto& entry) {
        lost.erase(id);
        if (!is_served<std::remove_cvref_t<decltype(*entry.good)>> || entry.good || (former && !former->contains(id)))
            return;
        std::string reason =
            id + (former ? " was in force and is refused now" : " is refused and may have been in force");
        if (!entry.faults.empty())
            reason += ": " + entry.faults.front().field + " " + entry.faults.front().message;
        reasons.push_back(reason + "; to go on, repair it or delete it");
    });
    const std::string remedy = "; to go on, install the CRD again, or end the mesh with --cleanup";
    // Its objects were not deleted: nobody can say anything about them.
    for (const std::string& kind : loaded.absent) {
        const auto one = lost.lower_bound(kind + " ");
        if (one != lost.end() && one->starts_with(kind + " "))
            reasons.push_back("the API server does not serve " + kind + ", and " + *one + " was in force" + remedy);
        else if (!former)
            reasons.push_back("the API server does not serve " + kind + ", and nobody knows what was in force" +
                              remedy);
    }
    if (former && lost.empty() && (loaded.store.size() != 0 || former->empty()))
        return reasons; // a broken file, if there is one, had nothing in force that is not there
    for (const std::string& file : loaded.unread) {
        std::string reason = file + " cannot be read whole";
        if (!lost.empty())
            reason += " and may hold what was in force, as " + *lost.begin();
        reasons.push_back(reason + "; to go on, make it whole (a file may be deleted, too)");
    }
    if (reasons.empty() && loaded.store.size() == 0)
        reasons.emplace_back("the source holds no object at all; to go on, add one, or end the mesh with --cleanup");
    return reasons;
}

std::optional<ObjectIds> read_record(const std::string& path) {
    std::ifstream file(path);
    ObjectIds ids;
    for (std::string line; std::getline(file, line);) {
        if (line == last_line)
            return file.peek() == std::ifstream::traits_type::eof() ? std::optional(std::move(ids)) : std::nullopt;
        ids.insert(std::move(line));
    }
    return std::nullopt;
}

bool write_record(const std::string& path, const ObjectIds& ids) {
    std::string text;
    for (const std::string& id : ids)
        text += id + '\n';
    text += std::string(last_line) + '\n';
    const std::string next = path + ".new";
    ::unlink(next.c_str()); // of an agent that was killed; or somebody's link, which is not to be followed
    const UniqueFd file(::open(next.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (file && write_all(file.get(), text) && std::rename(next.c_str(), path.c_str()) == 0)
        return true;
    ::unlink(next.c_str());
    ::unlink(path.c_str());
    return false;
}

} // namespace weft::agent
