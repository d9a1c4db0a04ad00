// SPDX-License-Identifier: Apache-2.0
#include "agent/hold.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <functional>
#include <string_view>

#include "agent/source/json.hpp"
#include "agent/source/kept_text.hpp"
#include "config/base/unique_fd.hpp"

namespace weft::agent {
namespace {

constexpr std::string_view last_line = "end"; ///< of a whole record; no object's id is one word
constexpr char before_json = '\t';            ///< in a line, where there is JSON behind the id; neither holds one

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

/// Of the good version, if the newest one is refused.
template <class T>
const std::string* outdated_text(const Entry<T>& entry) {
    if constexpr (keeps_text<T>) {
        if (entry.good && !entry.faults.empty() && !entry.text.empty())
            return &entry.text;
    }
    return nullptr;
}

/// What cannot be read any more (another release has written it) stays refused.
template <class T>
void bring_back_one(const std::string& json, const ObjectName& name, Entry<T>& entry) {
    const auto value = parse_json(json);
    if (!value)
        return;
    ParsedFile parsed;
    parse_object(*value, {}, parsed);
    if (parsed.objects.size() != 1 || parsed.objects[0].name != name)
        return;
    auto* good = std::get_if<std::shared_ptr<const T>>(&parsed.objects[0].object);
    if (good == nullptr || *good == nullptr)
        return;
    entry.good = *good;
    entry.text = pack(json);
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

Record record_of(const ObjectStore& store) {
    Record record;
    each_object(store, [&](std::string id, const auto& entry) {
        if (!entry.good)
            return;
        if (const std::string* text = outdated_text(entry))
            record.outdated.emplace(id, unpack(*text));
        record.ids.insert(std::move(id));
    });
    return record;
}

uint64_t fingerprint_of_record(const ObjectStore& store) {
    constexpr uint64_t odd = 0x9e3779b97f4a7c15;
    const std::hash<std::string_view> hash;
    uint64_t out = 0;
    each_named(store, [&](const char* kind, const ObjectName& name, const auto& entry) {
        if (!entry.good)
            return;
        for (const std::string_view part :
             {std::string_view(kind), std::string_view(name.ns), std::string_view(name.name)})
            out = (out ^ hash(part)) * odd ^ (out >> 32U);
        if (const std::string* text = outdated_text(entry))
            out = (out ^ hash(*text)) * odd ^ (out >> 32U);
    });
    return out;
}

void bring_back(ObjectStore& store, const Record& former) {
    store.each_table([&]<class T>(ObjectStore::Table<T>& table) {
        if constexpr (keeps_text<T>) {
            for (auto& [name, entry] : table) {
                if (entry.good || entry.faults.empty())
                    continue;
                if (const auto found = former.outdated.find(object_id(T::kind, name)); found != former.outdated.end())
                    bring_back_one(found->second, name, entry);
            }
        }
    });
}

std::vector<std::string> reasons_to_hold(const LoadResult& loaded, const std::optional<Record>& former) {
    std::vector<std::string> reasons;
    ObjectIds lost = former ? former->ids : ObjectIds{}; // what was in force and is not there at all
    each_object(loaded.store, [&](const std::string& id, const auto& entry) {
        lost.erase(id);
        if (!is_served<std::remove_cvref_t<decltype(*entry.good)>> || entry.good ||
            (former && !former->ids.contains(id)))
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
    if (former && lost.empty() && (loaded.store.size() != 0 || former->ids.empty()))
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

std::optional<Record> read_record(const std::string& path) {
    std::ifstream file(path);
    Record record;
    for (std::string line; std::getline(file, line);) {
        if (line == last_line)
            return file.peek() == std::ifstream::traits_type::eof() ? std::optional(std::move(record)) : std::nullopt;
        if (const size_t end = line.find(before_json); end != std::string::npos) {
            record.outdated[line.substr(0, end)] = line.substr(end + 1);
            line.resize(end);
        }
        record.ids.insert(std::move(line));
    }
    return std::nullopt;
}

bool write_record(const std::string& path, const Record& record) {
    std::string text;
    for (const std::string& id : record.ids) {
        text += id;
        if (const auto json = record.outdated.find(id); json != record.outdated.end())
            text += before_json + json->second;
        text += '\n';
    }
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
