// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "config/base/poison.hpp"

namespace weft {

/// Objects of one small type, made and dropped at the rate of requests: the memory of up to `kept_max` of them stays
/// with the thread. Destroy an object on the thread that made it.
template <class T, size_t kept_max>
class FreeList {
public:
    template <class... Args>
    [[nodiscard]] static T* make(Args&&... args) {
        return ::new (take()) T(std::forward<Args>(args)...);
    }
    static void destroy(T* object) noexcept {
        std::destroy_at(object);
        Kept& mine = kept();
        if (mine.count == kept_max)
            return std::free(object);
        auto* link = reinterpret_cast<Link*>(object);
        link->next = std::exchange(mine.first, link);
        ++mine.count;
        poison(link + 1, sizeof(T) - sizeof(Link));
    }

private:
    struct Link {
        Link* next;
    };
    static_assert(sizeof(T) >= sizeof(Link) && alignof(T) <= alignof(std::max_align_t));
    struct Kept {
        Link* first = nullptr;
        size_t count = 0;
        Kept() = default;
        Kept(const Kept&) = delete;
        Kept& operator=(const Kept&) = delete;
        ~Kept() {
            while (first != nullptr) {
                Link* link = std::exchange(first, first->next);
                unpoison(link, sizeof(T));
                std::free(link);
            }
            count = kept_max; // what comes later is freed at once
        }
    };
    static Kept& kept() {
        static thread_local Kept instance;
        return instance;
    }
    static void* take() {
        Kept& mine = kept();
        if (mine.first != nullptr) {
            Link* link = std::exchange(mine.first, mine.first->next);
            --mine.count;
            unpoison(link, sizeof(T));
            return link;
        }
        void* memory = std::malloc(sizeof(T));
        if (memory == nullptr)
            throw std::bad_alloc();
        return memory;
    }
};

} // namespace weft
