// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/engine/messages.hpp"
#include "agent/metrics/collector.hpp"
#include "agent/metrics/counters.hpp"
#include "agent/pods/registry.hpp"
#include "config/base/error.hpp"
#include "config/base/unique_fd.hpp"
#include "config/wire/channel.hpp"

namespace weft::agent::engine {

inline constexpr size_t snapshot_behind_bytes_max = 1024 * 1024; ///< queued bytes that a snapshot may stand behind

inline constexpr size_t postponed_max = 4096; ///< wishes for sockets of pods that are about to be captured
inline constexpr uint64_t generation_max = uint64_t{1} << 62;

/// What the agent has to give to any engine that comes. Owned by Control, on its thread.
struct Supply {
    std::string version;
    int engine_state_fd = -1; ///< borrowed from the datapath
    int dial_slots_fd = -1;
    uint32_t dial_slots = 0; ///< of the whole map
    std::function<Result<void>(int)> mark_socket;
    std::map<uint32_t, CapturePtr> pods;
    std::shared_ptr<const std::string> snapshot; ///< as a message; null: there is none yet
    uint64_t generation = 0;
};

/// One connection of one engine after its hello: gives what the supply has, answers its wishes. It never waits; an
/// error means that the connection is of no more use. Owned by Control, on its thread.
class EngineLink {
public:
    EngineLink(wire::FrameChannel& channel, const Supply& supply, DialSlotRange dial_slots,
               metrics::Counters& counters);

    /// The answer to the hello, then the snapshot (unless the engine already applied one of its number or above: then
    /// the loop has to publish a higher one) and every listener. Listeners that were handed back for pods that are not
    /// captured (yet) go to `offers`.
    Result<void> greet(const EngineHello& hello, std::vector<UniqueFd> fds, std::vector<OfferedListener>& offers);
    /// If the engine does not have the newest yet. Call again when the channel has nothing to write.
    Result<void> send_snapshot();
    /// Those of the pod's listeners that this engine does not serve already.
    Result<void> give_listeners(const Capture& capture);
    Result<void> release_pod(uint32_t pod_id);
    /// For a pod whose listeners this engine handed back: as soon as it is captured.
    Result<void> give_sockets(const SocketsWanted& wanted);
    Result<void> ask_stats(uint64_t request_id);
    Result<void> drain(uint32_t timeout_ms);

    [[nodiscard]] const EngineHello& hello() const { return hello_; }
    [[nodiscard]] DialSlotRange dial_slots() const { return dial_slots_; }
    [[nodiscard]] uint64_t generation_sent() const { return generation_sent_; }
    [[nodiscard]] bool draining() const { return draining_; }
    void set_draining() { draining_ = true; }
    /// 0: no report is awaited.
    [[nodiscard]] uint64_t stats_awaited() const { return stats_awaited_; }
    void stats_arrived(uint64_t request_id);

private:
    [[nodiscard]] bool awaits_capture(uint32_t pod_id) const;
    Result<void> give_postponed(uint32_t pod_id);
    void take_back(ListenerName name, UniqueFd fd, std::vector<OfferedListener>& offers);
    Result<void> queue(std::string_view message, const std::vector<int>& fds);

    wire::FrameChannel& channel_;
    const Supply& supply_;
    const DialSlotRange dial_slots_;
    metrics::Counters& counters_;
    EngineHello hello_;
    std::map<std::pair<uint32_t, uint32_t>, uint64_t> serves_; ///< (pod, kind) -> the socket's identity
    std::vector<SocketsWanted> postponed_;
    uint64_t generation_sent_ = 0;
    uint64_t stats_awaited_ = 0;
    bool draining_ = false;
};

} // namespace weft::agent::engine
