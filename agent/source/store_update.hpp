// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "agent/source/object_store.hpp"

namespace weft::agent {

/// One object has changed. Kinds are indices of AnyObject's alternatives.
struct ObjectChange {
    size_t kind = 0;
    ParsedObject object; ///< a deleted one: only its name
    bool deleted = false;
};

/// All objects of one kind, as they were listed.
struct KindListed {
    size_t kind = 0;
    std::vector<ParsedObject> objects;
};

/// Applies what an API server says to a store in place, by merge()'s rule: an object whose newest version is refused
/// stays with its last_good(). Pure.
class StoreUpdate {
public:
    /// `origin`: where the objects come from, for their entries.
    StoreUpdate(ObjectStore& store, std::string origin) : store_(store), origin_(std::move(origin)) {}

    void apply(ObjectChange&& change);
    /// What is not in the list is gone.
    void apply(KindListed&& listed);
    /// Objects that were left out because the store is full.
    [[nodiscard]] size_t left_out() const { return left_out_; }
    /// Some object means something else than before: not only its status or its resourceVersion is new.
    [[nodiscard]] bool changed() const { return changed_; }

private:
    template <class T>
    void put(ParsedObject&& object);

    ObjectStore& store_;
    const std::string origin_;
    size_t left_out_ = 0;
    bool changed_ = false;
};

} // namespace weft::agent
