// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/unit/io/world.hpp"

/// Coroutines that read and write, for the tests of streams.
namespace weft::l7 {

inline constexpr TcpSettings small_window{.receive_high_bytes = 32 * 1024, .receive_low_bytes = 8 * 1024};

/// Everything that came until FIN or an error.
struct Received {
    size_t bytes = 0;
    size_t wrong = 0;
    size_t buffered_max = 0;
    Result<void> end;
    bool done = false;
};

inline Task<void> read_pattern(Worker& worker, ByteStream& stream, uint64_t pause_every, Deadline deadline,
                               Received& out) {
    uint64_t reads = 0;
    for (;;) {
        Result<Slice> read = co_await stream.read(deadline);
        if (!read) {
            out.end = std::unexpected(read.error());
            break;
        }
        if (read->empty())
            break;
        for (const std::byte byte : read->bytes())
            out.wrong += byte == pattern(out.bytes++) ? 0 : 1;
        out.buffered_max = std::max(out.buffered_max, stream.buffered());
        if (pause_every != 0 && ++reads % pause_every == 0)
            co_await sleep(worker, 1);
    }
    out.done = true;
}

inline Task<void> write_bytes(ByteStream& stream, std::string_view text, bool fin, Result<void>& out) {
    out = co_await write_all(stream, text, never);
    if (fin)
        stream.shutdown_write();
}

inline Task<void> write_once(ByteStream& stream, std::span<const Slice> slices, Deadline deadline,
                             Result<size_t>& out) {
    out = co_await stream.write(slices, deadline);
}
inline Task<void> read_once(ByteStream& stream, Deadline deadline, Result<Slice>& out, bool& done) {
    out = co_await stream.read(deadline);
    done = true;
}

/// How much is unread once nothing more comes.
[[nodiscard]] inline size_t buffered_at_last(Worker& worker, const ByteStream& stream) {
    size_t before = 0;
    do {
        before = stream.buffered();
        for (int i = 0; i < 10; ++i)
            worker.turn(5);
    } while (stream.buffered() != before);
    return before;
}

/// Gives back what it reads, FIN included.
inline Task<void> echo(std::unique_ptr<ByteStream> stream) {
    for (;;) {
        Result<Slice> read = co_await stream->read();
        if (!read)
            co_return;
        if (read->empty()) {
            stream->shutdown_write();
            co_return;
        }
        while (!read->empty()) {
            const Result<size_t> written = co_await stream->write({&*read, 1});
            if (!written)
                co_return;
            read->remove_prefix(*written);
        }
    }
}

/// What a watcher was told.
struct Watched final : PeerWatcher {
    void peer_lost(const Error& error) override {
        ++told;
        why = error;
    }
    size_t told = 0;
    Error why;
};

struct Pair {
    explicit Pair(Worker& worker, const TcpSettings& settings = {}) {
        auto [one, two] = tcp_pair();
        near = make_tcp_stream(worker, std::move(one), settings);
        far = make_tcp_stream(worker, std::move(two), settings);
    }
    std::unique_ptr<ByteStream> near;
    std::unique_ptr<ByteStream> far;
};

} // namespace weft::l7
