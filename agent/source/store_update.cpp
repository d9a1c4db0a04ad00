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
    std::shared_ptr<const T> good = std::get<std::shared_ptr<const T>>(std::move(object.object));
    const std::shared_ptr<const T> before_good = found == table.end() ? nullptr : found->second.good;
    if (!good && before_good)
        good = last_good(before_good, object);
    if (good && before_good && *good == *before_good)
        good = before_good;
    Entry<T> entry{.good = std::move(good),
                   .faults = std::move(object.faults),
                   .origin = origin_,
                   .refused = std::move(object.concerns),
                   .revision = std::move(object.revision)};
    if constexpr (keeps_text<T>)
        entry.text = !entry.faults.empty() && before_good ? found->second.text : std::move(object.text);
    if (found == table.end()) {
        changed_ = true;
        table.emplace(std::move(object.name), std::move(entry));
        return;
    }
    Entry<T>& before = found->second;
    if (entry == before && entry.uid() == before.uid())
        entry.revision.keep_version(before.revision);
    else
        changed_ = true;
    before = std::move(entry);
}

void StoreUpdate::apply(ObjectChange&& change) {
    with_type(store_, change.kind, [&]<class T>() {
        if (change.deleted)
            changed_ = store_.all<T>().erase(change.object.name) != 0 || changed_;
        else
            put<T>(std::move(change.object));
    });
}

void StoreUpdate::apply(KindListed&& listed) {
    with_type(store_, listed.kind, [&]<class T>() {
        std::set<ObjectName> there;
        for (const ParsedObject& object : listed.objects)
            there.insert(object.name);
        const auto gone = [&](const auto& entry) { return !there.contains(entry.first); };
        changed_ = std::erase_if(store_.all<T>(), gone) != 0 || changed_;
        for (ParsedObject& object : listed.objects)
            put<T>(std::move(object));
    });
}

} // namespace weft::agent
