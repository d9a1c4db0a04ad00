// SPDX-License-Identifier: Apache-2.0
#include "agent/source/store_update.hpp"

#include <set>
#include <utility>

#include "agent/source/limits.hpp"

namespace weft::agent {
namespace {

/// Calls visit.operator()<T>() for the type that is AnyObject's alternative number `kind`.
template <class F>
void with_type(ObjectStore& store, size_t kind, F&& visit) {
    store.each_table([&]<class T>(ObjectStore::Table<T>&) {
        if (AnyObject(std::shared_ptr<const T>()).index() == kind)
            visit.template operator()<T>();
    });
}

} // namespace

template <class T>
void StoreUpdate::put(ParsedObject&& object) {
    ObjectStore::Table<T>& table = store_.all<T>();
    const auto found = table.find(object.name);
    if (found == table.end() && store_.size() >= limits::objects_max) {
        ++left_out_;
        return;
    }
    auto& typed = std::get<std::shared_ptr<const T>>(object.object);
    Entry<T> entry{.good = std::move(typed),
                   .faults = std::move(object.faults),
                   .origin = origin_,
                   .refused_parents = std::move(object.parents)};
    if (found == table.end()) {
        table.emplace(std::move(object.name), std::move(entry));
        return;
    }
    const std::shared_ptr<const T>& before = found->second.good;
    if (before && (!entry.good || *entry.good == *before))
        entry.good = before;
    found->second = std::move(entry);
}

void StoreUpdate::apply(ObjectChange&& change) {
    with_type(store_, change.kind, [&]<class T>() {
        if (change.deleted)
            store_.all<T>().erase(change.object.name);
        else
            put<T>(std::move(change.object));
    });
}

void StoreUpdate::apply(KindListed&& listed) {
    with_type(store_, listed.kind, [&]<class T>() {
        std::set<ObjectName> there;
        for (const ParsedObject& object : listed.objects)
            there.insert(object.name);
        std::erase_if(store_.all<T>(), [&](const auto& entry) { return !there.contains(entry.first); });
        for (ParsedObject& object : listed.objects)
            put<T>(std::move(object));
    });
}

} // namespace weft::agent
