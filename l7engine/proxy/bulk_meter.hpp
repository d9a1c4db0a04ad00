// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace weft::l7 {

/// When one direction of a relay is bulk: so many bytes came in few rounds (16 KiB each on average) and little time. It
/// no longer is when as many rounds moved little (4 KiB each). Small messages are cheaper through buffers, at any rate.
struct BulkRules {
    size_t begin_bytes_min = size_t{1} << 20;  ///< within at most `rounds` and `window_ms`
    size_t keep_bytes_min = size_t{256} << 10; ///< of `rounds`
    uint32_t rounds = 64;
    uint64_t window_ms = 1'000;
    uint64_t idle_ms = 1'000; ///< silence after which it is bulk no longer
};

/// Judges one direction by what it moves. Pure; the rules outlive it.
class BulkMeter {
public:
    explicit BulkMeter(const BulkRules& rules) : rules_(rules) {}
    /// One round: all that was there at a time.
    void add(size_t bytes, uint64_t now_ms) {
        if (rounds_ == 0 || rounds_ == rules_.rounds || (!bulk_ && now_ms - start_ms_ > rules_.window_ms)) {
            start_ms_ = now_ms;
            bytes_ = rounds_ = 0;
        }
        bytes_ += bytes;
        ++rounds_;
        if (!bulk_ && bytes_ >= rules_.begin_bytes_min) {
            bulk_ = true;
            rounds_ = 0;
        } else if (bulk_ && rounds_ == rules_.rounds && bytes_ < rules_.keep_bytes_min) {
            restart();
        }
    }
    [[nodiscard]] bool is_bulk() const { return bulk_; }
    /// It has to prove itself anew.
    void restart() {
        bulk_ = false;
        rounds_ = 0;
    }

private:
    const BulkRules& rules_;
    uint64_t start_ms_ = 0;
    size_t bytes_ = 0;
    uint32_t rounds_ = 0; ///< since start_ms_; 0: the next one starts anew
    bool bulk_ = false;
};

} // namespace weft::l7
