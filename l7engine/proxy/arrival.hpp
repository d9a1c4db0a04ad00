// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "config/base/free_list.hpp"
#include "l7engine/http/codec.hpp"
#include "l7engine/proxy/body_queue.hpp"

namespace weft::l7 {

/// A request that has arrived, until its exchange begins behind receive().
struct Arrival {
    StreamId stream = 0;
    Head head;
    bool last = false; ///< the head ends the request
    BodyQueue body;    ///< what came behind the head already
    uint64_t request_bytes = 0;
    std::optional<Error> gone; ///< reset meanwhile
    Arrival* next = nullptr;
};

/// The requests that one receive() brought, in their order. Nothing is allocated while it is empty.
class Arrivals {
public:
    Arrivals() = default;
    Arrivals(const Arrivals&) = delete;
    Arrivals& operator=(const Arrivals&) = delete;
    ~Arrivals() { clear(); }

    Arrival& add() {
        Arrival* arrival = FreeList<Arrival, kept_max>::make();
        (first_ == nullptr ? first_ : last_->next) = arrival;
        return *(last_ = arrival);
    }
    void clear() {
        while (first_ != nullptr)
            FreeList<Arrival, kept_max>::destroy(std::exchange(first_, first_->next));
    }
    [[nodiscard]] bool empty() const { return first_ == nullptr; }
    /// nullptr: empty. The others are behind `next`.
    [[nodiscard]] Arrival* first() const { return first_; }
    /// nullptr: not among them. What comes behind a head is nearly always the latest one's.
    [[nodiscard]] Arrival* find(StreamId stream) const {
        Arrival* arrival = first_ != nullptr && last_->stream == stream ? last_ : first_;
        while (arrival != nullptr && arrival->stream != stream)
            arrival = arrival->next;
        return arrival;
    }

private:
    static constexpr size_t kept_max = 64;
    Arrival* first_ = nullptr;
    Arrival* last_ = nullptr; ///< if there is a first
};

} // namespace weft::l7
