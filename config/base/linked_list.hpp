// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <utility>

namespace weft {

/// What an object needs to be in a LinkedList. Not moved while it is in one.
template <class T>
class Linked {
public:
    Linked() = default;
    Linked(const Linked&) = delete;
    Linked& operator=(const Linked&) = delete;

private:
    template <class>
    friend class LinkedList;
    T* list_next_ = nullptr;
    T** list_previous_ = nullptr; ///< what points here; nullptr: in no list
};

/// Objects that others own and that derive from Linked<T>: adding and removing allocate nothing. Youngest first. A list
/// takes one pointer. T may be incomplete where the list is a member.
template <class T>
class LinkedList {
public:
    LinkedList() = default;
    LinkedList(const LinkedList&) = delete;
    LinkedList& operator=(const LinkedList&) = delete;

    void add(T& object) {
        object.list_next_ = std::exchange(first_, &object);
        object.list_previous_ = &first_;
        if (object.list_next_ != nullptr)
            object.list_next_->list_previous_ = &object.list_next_;
    }
    /// Nothing if it is in no list.
    static void remove(T& object) {
        if (object.list_previous_ == nullptr)
            return;
        *object.list_previous_ = object.list_next_;
        if (object.list_next_ != nullptr)
            object.list_next_->list_previous_ = object.list_previous_;
        object.list_previous_ = nullptr;
    }

    [[nodiscard]] bool empty() const { return first_ == nullptr; }
    /// nullptr: empty.
    [[nodiscard]] T* first() const { return first_; }
    /// Counts.
    [[nodiscard]] size_t size() const {
        size_t count = 0;
        for (T* object = first_; object != nullptr; object = object->list_next_)
            ++count;
        return count;
    }

    class Iterator {
    public:
        explicit Iterator(T* at) : at_(at) {}
        T* operator*() const { return at_; }
        Iterator& operator++() {
            at_ = at_->list_next_;
            return *this;
        }
        bool operator==(const Iterator&) const = default;

    private:
        T* at_;
    };
    [[nodiscard]] Iterator begin() const { return Iterator(first_); }
    [[nodiscard]] Iterator end() const { return Iterator(nullptr); }

private:
    T* first_ = nullptr;
};

} // namespace weft
