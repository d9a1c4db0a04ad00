// SPDX-License-Identifier: Apache-2.0
#include "l7engine/server/heartbeat.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace weft::l7 {

Result<std::shared_ptr<void>> map_shared(const UniqueFd& fd, size_t size, const char* during) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t rounded = (size + page - 1) / page * page;
    void* memory = mmap(nullptr, rounded, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (memory == MAP_FAILED)
        return std::unexpected(from_errno(errno, during));
    return std::shared_ptr<void>(memory, [rounded](void* mapped) { munmap(mapped, rounded); });
}

Result<DialSlotTable> map_dial_slots(const UniqueFd& fd, uint32_t begin, uint32_t count) {
    if (count == 0 || count > WEFT_DIAL_SLOTS_MAX || begin > WEFT_DIAL_SLOTS_MAX - count)
        return fail(Code::invalid, "Welcome.dial_slots");
    Result<std::shared_ptr<void>> memory =
        map_shared(fd, sizeof(abi::weft_dial_slot) * (begin + count), "map dial_slots");
    if (!memory)
        return std::unexpected(memory.error());
    return DialSlotTable{.slots = static_cast<abi::weft_dial_slot*>(memory->get()),
                         .begin = begin,
                         .count = count,
                         .keep_alive = std::move(*memory)};
}

Result<void> Heartbeat::map(const UniqueFd& engine_state) {
    Result<std::shared_ptr<void>> memory = map_shared(engine_state, sizeof(abi::weft_engine_state), "map engine_state");
    if (!memory)
        return std::unexpected(memory.error());
    state_ = std::move(*memory);
    return {};
}

bool Heartbeat::beat(const std::vector<uint64_t>& turns, uint64_t now_ns) {
    bool all_turn = turns.size() == seen_.size();
    for (size_t worker = 0; worker < seen_.size() && worker < turns.size(); ++worker) {
        Seen& seen = seen_[worker];
        if (seen.turns != turns[worker] || seen.at_ns == 0)
            seen = {.turns = turns[worker], .at_ns = now_ns};
        all_turn = all_turn && now_ns - seen.at_ns <= worker_silent_ns_max;
    }
    if (!all_turn || state_ == nullptr)
        return false;
    auto* state = static_cast<abi::weft_engine_state*>(state_.get());
    std::atomic_ref(state->heartbeat_ns).store(now_ns, std::memory_order_relaxed);
    return true;
}

void Heartbeat::stop() {
    state_.reset();
}

} // namespace weft::l7
