// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

namespace weft::agent {

using Labels = std::map<std::string, std::string>;

/// The labels of one object: a value, immutable, and a copy shares them. Read as Labels.
class LabelSet {
public:
    LabelSet() = default;
    explicit LabelSet(Labels labels)
        : labels_(labels.empty() ? nullptr : std::make_shared<const Labels>(std::move(labels))) {}

    operator const Labels&() const { return get(); }
    [[nodiscard]] const Labels& get() const {
        static const Labels none;
        return labels_ ? *labels_ : none;
    }
    [[nodiscard]] Labels::const_iterator find(const std::string& key) const { return get().find(key); }
    [[nodiscard]] Labels::const_iterator begin() const { return get().begin(); }
    [[nodiscard]] Labels::const_iterator end() const { return get().end(); }
    [[nodiscard]] const std::string& at(const std::string& key) const { return get().at(key); }
    [[nodiscard]] bool contains(const std::string& key) const { return get().contains(key); }
    /// Certainly equal: one copy. False says nothing.
    [[nodiscard]] bool shares(const LabelSet& other) const { return labels_ == other.labels_; }
    bool operator==(const LabelSet& other) const { return shares(other) || get() == other.get(); }

private:
    friend class LabelPool;
    std::shared_ptr<const Labels> labels_; ///< null: none
};

/// Makes equal label sets one: the pods of a ReplicaSet differ in nothing else but their names. Keeps none alive. One
/// thread uses it; the sets themselves may live on any.
class LabelPool {
public:
    /// `labels` may become a copy of an equal set that was given before.
    void share(LabelSet& labels);
    [[nodiscard]] size_t size() const { return sets_.size(); } ///< also of sets that nobody has any more, for a while

private:
    void sweep();

    static constexpr size_t sweep_min = 1024;
    std::unordered_multimap<size_t, std::weak_ptr<const Labels>> sets_; ///< by hash
    size_t sweep_at_ = sweep_min;
};

} // namespace weft::agent
