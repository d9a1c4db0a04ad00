// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "bpf/abi.h"
#include "config/base/error.hpp"
#include "config/base/unique_fd.hpp"
#include "l7engine/proxy/dial_slots.hpp"

namespace weft::l7 {

/// Maps an mmapable BPF map (or, in tests, a memory file) of at least `size` bytes; unmapped with the last owner.
[[nodiscard]] Result<std::shared_ptr<void>> map_shared(const UniqueFd& fd, size_t size, const char* during);
[[nodiscard]] Result<DialSlotTable> map_dial_slots(const UniqueFd& fd, uint32_t begin, uint32_t count);

/// Tells the kernel programs that this engine works: a time in the mmapped engine_state map, written only while every
/// worker's loop turns. One thread.
class Heartbeat {
public:
    static constexpr uint64_t worker_silent_ns_max = 1'000'000'000; ///< workers turn at least every 250 ms

    explicit Heartbeat(size_t workers) : seen_(workers) {}

    [[nodiscard]] Result<void> map(const UniqueFd& engine_state);
    /// `turns`: each worker's count of turns. False: one of them has not turned lately; nothing is written then.
    bool beat(const std::vector<uint64_t>& turns, uint64_t now_ns);
    /// A graceful end: no further beat. The last one stays valid for its time, in which the next engine takes over and
    /// what comes waits in the backlog.
    void stop();

private:
    struct Seen {
        uint64_t turns = 0;
        uint64_t at_ns = 0;
    };
    std::vector<Seen> seen_;
    std::shared_ptr<void> state_;
};

} // namespace weft::l7
