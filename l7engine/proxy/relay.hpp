// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "l7engine/io/pipe_pool.hpp"
#include "l7engine/io/splice.hpp"
#include "l7engine/io/stream.hpp"
#include "l7engine/io/task.hpp"
#include "l7engine/io/task_group.hpp"
#include "l7engine/io/timer.hpp"
#include "l7engine/io/worker.hpp"
#include "l7engine/proxy/bulk_meter.hpp"
#include "l7engine/proxy/counters.hpp"

namespace weft::l7 {

/// One end of a relay.
struct RelaySide {
    ByteStream& stream;
    uint64_t& delivered; ///< counts up: bytes of the other side that this one took
};

struct RelaySettings {
    uint64_t idle_timeout_ms = never;    ///< no byte in either direction
    uint64_t lost_timeout_ms = 2'000;    ///< one side is lost: nothing of what it said before moves any more
    size_t gather_bytes_max = 64 * 1024; ///< read from one side before it is written to the other
    BulkRules bulk{};
    BufferAccount* account = nullptr; ///< to which what is read and not yet written counts; outlives it
};

/// What a relay needs to let the kernel move bulk. Both outlive it.
struct RelaySplicing {
    PipePool& pipes;
    Counters& counters;
};

enum class RelayEnd : uint8_t { finished, reset, idle, canceled };

/// Copies bytes between two streams as if there were only one: a FIN goes on behind the last byte, a reset becomes a
/// reset. What a lost side had said before it was lost is still delivered, as it would be without us, but only as long
/// as it moves. Holds at most gather_bytes_max and one read per direction, besides what the streams themselves buffer.
///
/// A direction that proved to be bulk (BulkMeter) is spliced: its bytes stay in the kernel, at most a pipe of them. It
/// goes back to buffers when it is idle or small again, and stays with them if no pipe is to be had.
///
/// Two coroutines, one per direction; both streams outlive run(). One worker's thread.
class Relay final : private Timer, private PeerWatcher {
public:
    /// Without `splicing` every byte goes through buffers.
    Relay(Worker& worker, RelaySide client, RelaySide server, const RelaySettings& settings,
          std::optional<RelaySplicing> splicing);

    /// Until both directions have ended. The early bytes were read from that side before: they go first. Both streams
    /// are aborted then, hard unless the end is RelayEnd::finished.
    [[nodiscard]] Task<RelayEnd> run(Slice early_client, Slice early_server);
    /// Resets both; run() ends soon.
    void cut() { end(RelayEnd::canceled); }

private:
    /// One direction.
    struct Way {
        Way(ByteStream& source, RelaySide sink, const BulkRules& bulk)
            : from(source), to(sink.stream), delivered(sink.delivered), meter(bulk) {}
        ByteStream& from;
        ByteStream& to;
        uint64_t& delivered;
        std::vector<Slice> held; ///< read and not yet written
        size_t held_bytes = 0;   ///< of those, what is charged
        BulkMeter meter;
        std::optional<Splice> splice;
        bool source_fin = false;
        bool source_lost = false;   ///< read to the error
        bool source_broken = false; ///< it cannot be written to: no end of it is a clean one
        bool unspliceable = false;  ///< has bytes that only a receive takes
        bool over = false;          ///< its coroutine has ended
    };

    Task<void> copy(Way& way, Way& opposite);
    void take(Way& way, Result<Slice> bytes);
    void charge(size_t bytes);
    void drop(Way& way);
    void wrote(Way& way, size_t bytes);
    bool begin_splice(Way& way);
    Task<bool> splice(Way& way, Way& opposite);
    void fill(Way& way);
    Splice::Outcome drain(Way& way);
    void end_splice(Way& way, Counter why);
    void sink_lost(Way& opposite);
    void side_lost();
    void end(RelayEnd why);
    void touch() { progress_ms_ = worker_.now_ms(); }
    void arm();
    void expired() override;
    void peer_lost(const Error&) override { side_lost(); }

    Worker& worker_;
    const RelaySettings settings_;
    const std::optional<RelaySplicing> splicing_;
    Way up_;   ///< client -> server
    Way down_; ///< server -> client
    TaskGroup ways_;
    uint64_t limit_ms_;
    uint64_t progress_ms_ = 0;
    std::optional<RelayEnd> end_;
};

} // namespace weft::l7
