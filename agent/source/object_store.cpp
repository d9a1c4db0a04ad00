// SPDX-License-Identifier: Apache-2.0
#include "agent/source/object_store.hpp"

#include <algorithm>
#include <set>

#include "agent/source/limits.hpp"

namespace weft::agent {
namespace {

template <class T>
struct Candidate {
    const ParsedObject* object = nullptr;
    const std::string* origin = nullptr;
};
template <class T>
using Candidates = std::map<ObjectName, std::vector<Candidate<T>>>;

template <class T>
const std::shared_ptr<const T>& typed(const Candidate<T>& candidate) {
    return std::get<std::shared_ptr<const T>>(candidate.object->object);
}

/// Which of several documents of one name is the object: from the file in force; there, the one that says the same as
/// before; else the first.
template <class T>
size_t choose(const std::vector<Candidate<T>>& list, const Entry<T>* before) {
    if (before == nullptr)
        return 0;
    size_t chosen = list.size();
    for (size_t i = 0; i < list.size(); ++i) {
        if (*list[i].origin != before->origin)
            continue;
        const auto& object = typed(list[i]);
        if (object && before->good && *object == *before->good)
            return i;
        if (chosen == list.size())
            chosen = i;
    }
    return chosen == list.size() ? 0 : chosen;
}

template <class T>
class TableMerge {
public:
    TableMerge(const ObjectStore& previous, const std::set<std::string>& held_files, LoadResult& result)
        : before_(previous.all<T>()), held_files_(held_files), result_(result) {}

    void run(const std::vector<SourceFile>& files) {
        Candidates<T> candidates;
        for (const auto& file : files) {
            if (!file.parsed)
                continue;
            for (const auto& object : file.parsed->objects) {
                if (std::holds_alternative<std::shared_ptr<const T>>(object.object))
                    candidates[object.name].push_back({&object, &file.name});
            }
        }
        for (const auto& [name, list] : candidates)
            take(name, list);
        hold();
    }

private:
    void take(const ObjectName& name, const std::vector<Candidate<T>>& list) {
        const auto found = before_.find(name);
        const Entry<T>* before = found == before_.end() ? nullptr : &found->second;
        // The file in force cannot be read now: a copy elsewhere must not take over until it can, or says it is gone.
        const bool held =
            before != nullptr && held_files_.contains(before->origin) &&
            std::none_of(list.begin(), list.end(), [&](const auto& each) { return *each.origin == before->origin; });
        const size_t chosen = held ? list.size() : choose(list, before);
        for (size_t i = 0; i < list.size(); ++i) {
            if (i != chosen)
                duplicate(name, *list[i].origin, held ? before->origin : *list[chosen].origin);
        }
        if (held)
            return;
        if (before == nullptr && result_.store.size() >= limits::objects_max)
            return report(*list[chosen].origin, name, "more than " + std::to_string(limits::objects_max) + " objects");
        Entry<T> entry{.good = typed(list[chosen]),
                       .faults = list[chosen].object->faults,
                       .origin = *list[chosen].origin,
                       .refused = list[chosen].object->concerns};
        if (before != nullptr && before->good && !entry.good)
            entry.good = last_good(before->good, *list[chosen].object);
        if (before != nullptr && before->good && entry.good && *entry.good == *before->good)
            entry.good = before->good;
        if constexpr (keeps_text<T>)
            entry.text = !entry.faults.empty() && before != nullptr ? before->text : list[chosen].object->text;
        result_.store.all<T>().emplace(name, std::move(entry));
    }

    /// Objects that are missing from a file that could not be read whole stay in force.
    void hold() {
        for (const auto& [name, entry] : before_) {
            if (held_files_.contains(entry.origin))
                result_.store.all<T>().emplace(name, entry);
        }
    }

    void duplicate(const ObjectName& name, const std::string& origin, const std::string& owner) {
        report(origin, name,
               origin == owner ? "is given twice in " + origin + "; one of the two is in force"
                               : "is given in " + owner + " too, which is in force; the one in " + origin + " is not");
    }
    void report(const std::string& origin, const ObjectName& name, std::string message) {
        result_.faults.push_back(
            {.origin = origin, .object = object_id(T::kind, name), .field = {}, .message = std::move(message)});
    }

    const ObjectStore::Table<T>& before_;
    const std::set<std::string>& held_files_;
    LoadResult& result_;
};

void report_files(const std::vector<SourceFile>& files, LoadResult& result) {
    for (const auto& file : files) {
        if (!file.parsed) {
            result.faults.push_back({.origin = file.name, .object = {}, .field = {}, .message = file.unreadable});
            continue;
        }
        result.ignored += file.parsed->ignored;
        for (const auto& fault : file.parsed->faults)
            result.faults.push_back(
                {.origin = file.name, .object = {}, .field = fault.field, .message = fault.message});
    }
}

/// What of a refused version could be read, or nullptr.
template <class T>
const T* read_of(const ParsedObject& refused) {
    const auto* read = std::get_if<std::shared_ptr<const T>>(&refused.read);
    return read == nullptr ? nullptr : read->get();
}

} // namespace

std::shared_ptr<const Pod> last_good(const std::shared_ptr<const Pod>& good, const ParsedObject& refused) {
    const Pod* const read = read_of<Pod>(refused);
    const std::string uid = read != nullptr && !read->meta.uid.empty() ? read->meta.uid : refused.revision.uid;
    if (!uid.empty() && !good->meta.uid.empty() && uid != good->meta.uid)
        return nullptr;
    auto out = std::make_shared<Pod>(*good);
    out->addresses.clear();
    if (read == nullptr)
        return out;
    out->addresses = read->addresses;
    out->finished = read->finished;
    out->ready = read->ready;
    out->meta.deleting = read->meta.deleting;
    out->meta.annotations = read->meta.annotations; // the mark of its capture too, which would be written again
    if (!read->node_name.empty())
        out->node_name = read->node_name;
    return out;
}

std::shared_ptr<const EndpointSlice> last_good(const std::shared_ptr<const EndpointSlice>& good,
                                               const ParsedObject& refused) {
    const EndpointSlice* const read = read_of<EndpointSlice>(refused);
    if (read == nullptr)
        return good;
    auto out = std::make_shared<EndpointSlice>(*good);
    out->endpoints = read->endpoints;
    return out;
}

LoadResult merge(const ObjectStore& previous, std::vector<SourceFile> files) {
    std::sort(files.begin(), files.end(), [](const auto& left, const auto& right) { return left.name < right.name; });
    LoadResult result;
    std::set<std::string> held_files;
    for (const auto& file : files) {
        if (!file.parsed || !file.parsed->complete)
            held_files.insert(file.name);
        if (!file.parsed)
            result.unreadable.push_back(file.name);
    }
    report_files(files, result);
    result.unread.assign(held_files.begin(), held_files.end());
    result.store.each_table(
        [&]<class T>(ObjectStore::Table<T>&) { TableMerge<T>(previous, held_files, result).run(files); });
    return result;
}

} // namespace weft::agent
