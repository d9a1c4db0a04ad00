// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace weft::l7 {

/// A receive that ended with -ENOBUFS and wants to be armed again. Intrusive; leaves the list when it dies.
class BufferWaiter {
public:
    BufferWaiter() = default;
    BufferWaiter(const BufferWaiter&) = delete;
    BufferWaiter& operator=(const BufferWaiter&) = delete;
    virtual void buffers_are_back() = 0;
    [[nodiscard]] bool waiting() const { return list_ != nullptr; }

protected:
    ~BufferWaiter();

private:
    friend class BufferWaiters;
    class BufferWaiters* list_ = nullptr;
    BufferWaiter* next_ = nullptr;
    BufferWaiter* previous_ = nullptr;
};

/// Receives of one worker that found no buffer, in order of arrival. Each turn of the loop lets as many go on as
/// buffers are free: no stampede, and the ring's reserve (a quarter) means that it is never none.
class BufferWaiters {
public:
    BufferWaiters() = default;
    BufferWaiters(const BufferWaiters&) = delete;
    BufferWaiters& operator=(const BufferWaiters&) = delete;

    void add(BufferWaiter& waiter);
    void remove(BufferWaiter& waiter);
    void wake(size_t at_most);
    [[nodiscard]] bool empty() const { return first_ == nullptr; }

private:
    BufferWaiter* first_ = nullptr;
    BufferWaiter* last_ = nullptr;
};

} // namespace weft::l7
