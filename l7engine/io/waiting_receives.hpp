// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace weft::l7 {

/// A receive that is to be looked at later: for buffers after -ENOBUFS, or for a reset that it has missed
/// (ResetChecks). In one list at a time; leaves it when it dies.
class WaitingReceive {
public:
    WaitingReceive() = default;
    WaitingReceive(const WaitingReceive&) = delete;
    WaitingReceive& operator=(const WaitingReceive&) = delete;
    /// It was taken out of the list.
    virtual void go_on() = 0;
    /// In a list.
    [[nodiscard]] bool waiting() const { return list_ != nullptr; }

protected:
    ~WaitingReceive();
    /// Out of whatever list it is in.
    void leave_list();

private:
    friend class WaitingReceives;
    class WaitingReceives* list_ = nullptr;
    WaitingReceive* next_ = nullptr;
    WaitingReceive* previous_ = nullptr;
};

/// Receives of one worker, in order of arrival. Those that found no buffer: each turn of the loop lets as many go on as
/// buffers are free: no stampede, and the ring's reserve (a quarter) means that it is never none.
class WaitingReceives {
public:
    WaitingReceives() = default;
    WaitingReceives(const WaitingReceives&) = delete;
    WaitingReceives& operator=(const WaitingReceives&) = delete;

    /// Nothing if it is in this or another list.
    void add(WaitingReceive& receive);
    void remove(WaitingReceive& receive);
    /// Those that are there now.
    void wake(size_t at_most);
    [[nodiscard]] bool empty() const { return first_ == nullptr; }

private:
    WaitingReceive* first_ = nullptr;
    WaitingReceive* last_ = nullptr;
};

} // namespace weft::l7
