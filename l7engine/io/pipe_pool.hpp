// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "config/base/error.hpp"
#include "config/base/unique_fd.hpp"
#include "l7engine/io/timer.hpp"

namespace weft::l7 {

class Worker;

struct PipeSettings {
    size_t pipes_max = 256;     ///< in use at a time, per worker; 0: none
    uint64_t unused_ms = 5'000; ///< a pipe that was not needed for that long is closed
};

/// An empty pipe; neither end blocks.
struct Pipe {
    UniqueFd read_end;
    UniqueFd write_end;
};

/// A worker's pipes for splice(2): a stream borrows one as long as it is bulk. Two descriptors each, and up to a
/// pipe's capacity of pages while in use. One worker's thread; outlives those who borrow.
class PipePool final : private Timer {
public:
    PipePool(Worker& worker, const PipeSettings& settings) : worker_(worker), settings_(settings) {}
    PipePool(const PipePool&) = delete;
    PipePool& operator=(const PipePool&) = delete;
    /// Every pipe was given back (asserted).
    ~PipePool() override;

    /// Errors: Code::too_large: pipes_max are in use; otherwise the kernel's.
    [[nodiscard]] Result<Pipe> take();
    /// `empty`: nothing is left in it. What is not would reach the next borrower: such a pipe is closed.
    void give_back(Pipe pipe, bool empty);
    [[nodiscard]] size_t in_use() const { return in_use_; }
    [[nodiscard]] size_t unused() const { return unused_.size(); }

private:
    void expired() override;

    Worker& worker_;
    const PipeSettings settings_;
    std::vector<Pipe> unused_;
    size_t in_use_ = 0;
    size_t spare_ = 0; ///< least number of unused ones since the timer was armed
};

} // namespace weft::l7
