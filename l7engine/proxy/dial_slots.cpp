// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/dial_slots.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "l7engine/io/worker.hpp"

namespace weft::l7 {

namespace {

void fill(abi::weft_dial_slot& slot, uint64_t socket_cookie, const SocketAddress& client,
          const SocketAddress& destination) {
    std::memcpy(slot.client.bytes, client.address.bytes.data(), sizeof slot.client.bytes);
    std::memcpy(slot.destination.bytes, destination.address.bytes.data(), sizeof slot.destination.bytes);
    slot.client_port = htons(client.port);
    slot.destination_port = htons(destination.port);
    slot.socket_cookie = socket_cookie;
    // The hook runs on this thread, inside connect; the order is for readers of the map from elsewhere.
    std::atomic_ref(slot.used).store(1, std::memory_order_release);
}

} // namespace

DialSlots::DialSlots(Worker& worker, uint32_t workers) : worker_(worker), workers_(workers), freed_(worker) {}
DialSlots::~DialSlots() = default;

SocketAddress DialSlots::Slot::address() const {
    if (!ipv6_)
        return {.address = IpAddress::v4(htonl(uint32_t{WEFT_DIAL_PREFIX4} << 24 | index_)), .port = WEFT_DIAL_PORT};
    IpAddress address;
    address.bytes[0] = WEFT_DIAL_PREFIX6 >> 8;
    address.bytes[1] = WEFT_DIAL_PREFIX6 & 0xff;
    const uint32_t index = htonl(index_);
    std::memcpy(address.bytes.data() + 12, &index, sizeof index);
    return {.address = address, .port = WEFT_DIAL_PORT};
}

void DialSlots::map(DialSlotTable table) {
    table_ = std::move(table);
    const uint32_t share = table_.count / std::max(workers_, 1U);
    begin_ = table_.begin + worker_.index() * share;
    end_ = begin_ + share;
    used_.resize(std::max<size_t>(used_.size(), end_));
    free_.clear();
    for (uint32_t index = end_; index > begin_; --index) {
        if (!used_[index - 1])
            free_.push_back(index - 1);
    }
    freed_.notify_all();
}

Result<DialSlots::Slot> DialSlots::take(uint32_t pod_id, uint64_t socket_cookie, const SocketAddress& client,
                                        const SocketAddress& destination) {
    if (free_.empty())
        return fail(Code::unavailable, "dial slot");
    uint32_t& of_pod = per_pod_[pod_id];
    if (of_pod >= std::max((end_ - begin_) / 4, 1U))
        return fail(Code::unavailable, "dial slot of pod");
    const uint32_t index = free_.back();
    free_.pop_back();
    used_[index] = true;
    ++of_pod;
    ++in_use_;
    fill(table_.slots[index], socket_cookie, client, destination);
    return Slot(*this, index, pod_id, !destination.address.is_v4());
}

Task<Result<DialSlots::Slot>> DialSlots::wait(uint32_t pod_id, uint64_t socket_cookie, SocketAddress client,
                                              SocketAddress destination, Until until) {
    for (;;) {
        Result<Slot> slot = take(pod_id, socket_cookie, client, destination);
        if (slot)
            co_return slot;
        const Result<void> woken = co_await freed_.wait(until);
        if (!woken && woken.error().code == Code::timeout)
            co_return slot; // what was missing
        if (!woken)
            co_return std::unexpected(woken.error());
    }
}

void DialSlots::dialled(Slot slot) {
    dialled_.push_back(std::move(slot));
    turn_ = worker_.turns();
    if (!armed())
        worker_.timers().arm(*this, worker_.in_ms(1));
}

void DialSlots::expired() {
    // A dial from a completion, which runs ahead of the timers: its connect is submitted when the next turn begins.
    if (worker_.turns() == turn_)
        return worker_.timers().arm(*this, worker_.in_ms(1));
    dialled_.clear();
}

void DialSlots::release(uint32_t index, uint32_t pod_id) {
    used_[index] = false;
    --in_use_;
    const auto pod = per_pod_.find(pod_id);
    if (pod != per_pod_.end() && --pod->second == 0)
        per_pod_.erase(pod);
    if (index < begin_ || index >= end_)
        return; // of a range that was ours before: another engine may have filled it meanwhile
    std::atomic_ref(table_.slots[index].used).store(0, std::memory_order_release);
    free_.push_back(index);
    freed_.notify_all(); // each takes what its pod may have, or waits again
}

} // namespace weft::l7
