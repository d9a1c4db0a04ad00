// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bpf/abi.h"
#include "config/base/error.hpp"
#include "config/base/net.hpp"
#include "l7engine/io/signal.hpp"
#include "l7engine/io/task.hpp"

namespace weft::l7 {

/// The mmapped dial_slots map (bpf/abi.h). `count` slots from `begin` are this engine's; its workers share them out,
/// and each uses a range of its own. `keep_alive` unmaps.
struct DialSlotTable {
    abi::weft_dial_slot* slots = nullptr; ///< slot 0
    uint32_t begin = 0;
    uint32_t count = 0;
    std::shared_ptr<void> keep_alive;
};

/// One worker's dial slots: a client's address and a destination in a slot that the connect hook reads when a socket
/// connects to the slot's address. Its thread only.
///
/// The hook runs inside the submission of the connect, which comes with the next turn of the worker: a slot is free
/// again after that turn, however long the handshake takes.
class DialSlots final : Timer {
public:
    /// A filled slot. To be given back with dialled() as soon as its connect is on its way, else free when it dies.
    class Slot {
    public:
        Slot(DialSlots& owner, uint32_t index, uint32_t pod_id, bool ipv6)
            : owner_(&owner), index_(index), pod_id_(pod_id), ipv6_(ipv6) {}
        Slot(Slot&& other) noexcept
            : owner_(std::exchange(other.owner_, nullptr)), index_(other.index_), pod_id_(other.pod_id_),
              ipv6_(other.ipv6_) {}
        Slot& operator=(Slot&&) = delete;
        ~Slot() {
            if (owner_ != nullptr)
                owner_->release(index_, pod_id_);
        }
        /// What to connect to: 240.s.s.s:1 or [100::s]:1.
        [[nodiscard]] SocketAddress address() const;
        [[nodiscard]] uint32_t index() const { return index_; }

    private:
        DialSlots* owner_;
        uint32_t index_;
        uint32_t pod_id_;
        bool ipv6_;
    };

    DialSlots(Worker& worker, uint32_t workers);
    ~DialSlots() override;
    DialSlots(const DialSlots&) = delete;
    DialSlots& operator=(const DialSlots&) = delete;

    /// A new mapping, perhaps of the same map and range: slots in use stay in use.
    void map(DialSlotTable table);
    /// Error: Code::unavailable if there is no table yet, all slots are taken, or the pod has its quarter of them
    /// (so that one pod whose application does not accept cannot stop the dials of all others).
    /// `socket_cookie`: of the socket that will connect; the hook lets no other use the slot.
    [[nodiscard]] Result<Slot> take(uint32_t pod_id, uint64_t socket_cookie, const SocketAddress& client,
                                    const SocketAddress& destination);
    /// The same, as soon as there is a free one. Error: Code::unavailable in time, Code::canceled.
    [[nodiscard]] Task<Result<Slot>> wait(uint32_t pod_id, uint64_t socket_cookie, SocketAddress client,
                                          SocketAddress destination, Until until);
    /// The slot's connect is in the ring: freed after the next submission.
    void dialled(Slot slot);
    [[nodiscard]] size_t in_use() const { return in_use_; }

private:
    void release(uint32_t index, uint32_t pod_id);
    void expired() override;

    Worker& worker_;
    uint32_t workers_;
    DialSlotTable table_;
    uint32_t begin_ = 0;
    uint32_t end_ = 0;
    std::vector<bool> used_; ///< by index
    std::vector<uint32_t> free_;
    std::unordered_map<uint32_t, uint32_t> per_pod_;
    size_t in_use_ = 0;
    Signal freed_;
    uint64_t turn_ = 0;         ///< of the last dial
    std::vector<Slot> dialled_; ///< until the next turn; dies first
};

} // namespace weft::l7
