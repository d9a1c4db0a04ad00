// SPDX-License-Identifier: Apache-2.0
#include "l7engine/io/pipe_pool.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include "l7engine/io/worker.hpp"

namespace weft::l7 {

PipePool::~PipePool() {
    assert(in_use_ == 0 && "a pool dies after those who borrow from it");
}

Result<Pipe> PipePool::take() {
    if (in_use_ >= settings_.pipes_max)
        return fail(Code::too_large, "pipes_max");
    Pipe pipe;
    if (!unused_.empty()) {
        pipe = std::move(unused_.back());
        unused_.pop_back();
        spare_ = std::min(spare_, unused_.size());
    } else {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
            return std::unexpected(from_errno(errno, "pipe"));
        pipe = {.read_end = UniqueFd(ends[0]), .write_end = UniqueFd(ends[1])};
    }
    ++in_use_;
    return pipe;
}

void PipePool::give_back(Pipe pipe, bool empty) {
    assert(in_use_ > 0);
    --in_use_;
    if (!empty)
        return;
    unused_.push_back(std::move(pipe));
    if (!armed()) {
        spare_ = 0; // this one is not known to be superfluous
        worker_.timers().arm(*this, worker_.in_ms(settings_.unused_ms));
    }
}

/// Those that nobody needed since the last time go.
void PipePool::expired() {
    unused_.erase(unused_.begin(), unused_.begin() + static_cast<ptrdiff_t>(std::min(spare_, unused_.size())));
    spare_ = unused_.size();
    if (!unused_.empty())
        worker_.timers().arm(*this, worker_.in_ms(settings_.unused_ms));
}

} // namespace weft::l7
