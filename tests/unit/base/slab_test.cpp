// SPDX-License-Identifier: Apache-2.0
#include "config/base/slab.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace weft {
namespace {

/// On a thread of its own: another test may have left slabs.
template <class Work>
void on_a_fresh_thread(Work work) {
    std::thread([&] {
        ASSERT_EQ(SlabPool::mapped_bytes(), 0U);
        work();
    }).join();
}

TEST(slab, blocks_are_aligned_apart_and_used_again) {
    on_a_fresh_thread([] {
        for (const size_t size : {size_t{1}, size_t{16}, size_t{17}, size_t{300}, SlabPool::block_bytes_max}) {
            std::vector<std::byte*> blocks;
            for (size_t i = 0; i < 200; ++i) {
                blocks.push_back(static_cast<std::byte*>(SlabPool::allocate(size)));
                std::memset(blocks.back(), static_cast<int>(i), size);
                EXPECT_EQ(reinterpret_cast<uintptr_t>(blocks.back()) % 16, 0U) << size;
            }
            for (size_t i = 0; i < 200; ++i)
                EXPECT_TRUE(std::all_of(blocks[i], blocks[i] + size, [&](std::byte b) { return b == std::byte(i); }));
            std::byte* const last = blocks.back();
            SlabPool::release(last, size);
            EXPECT_EQ(SlabPool::allocate(size), last) << size;
            for (std::byte* block : blocks)
                SlabPool::release(block, size);
        }
    });
}

TEST(slab, packs_without_a_header_per_block) {
    on_a_fresh_thread([] {
        constexpr size_t size = 304;
        constexpr size_t count = 10'000;
        std::vector<void*> blocks;
        for (size_t i = 0; i < count; ++i)
            blocks.push_back(SlabPool::allocate(size));
        EXPECT_LT(SlabPool::mapped_bytes(), count * size * 102 / 100);
        for (void* block : blocks)
            SlabPool::release(block, size);
    });
}

TEST(slab, gives_back_what_a_burst_took_in_whatever_order) {
    on_a_fresh_thread([] {
        std::mt19937 random(1);
        for (int round = 0; round < 3; ++round) {
            std::vector<std::pair<void*, size_t>> blocks;
            for (int i = 0; i < 20'000; ++i) {
                const size_t size = 16 + random() % 1000;
                blocks.emplace_back(SlabPool::allocate(size), size);
            }
            const size_t full = SlabPool::mapped_bytes();
            std::ranges::shuffle(blocks, random);
            for (const auto& [block, size] : blocks)
                SlabPool::release(block, size);
            EXPECT_GT(full, 8U * 1024 * 1024);
            // One slab of each class, and those that are kept.
            EXPECT_LE(SlabPool::mapped_bytes(), (64 + SlabPool::slabs_kept_max) * SlabPool::slab_bytes);
        }
    });
}

TEST(slab, no_two_live_blocks_share_a_byte) {
    on_a_fresh_thread([] {
        std::mt19937 random(7);
        struct Live {
            uint64_t* block;
            size_t words;
            uint64_t mark;
        };
        std::vector<Live> live;
        for (uint64_t step = 0; step < 50'000; ++step) {
            if (live.size() < 500 && random() % 2 == 0) {
                const size_t words = 1 + random() % 600; // beyond block_bytes_max, too
                auto* block = static_cast<uint64_t*>(SlabPool::allocate(words * 8));
                std::fill_n(block, words, step);
                live.push_back({block, words, step});
            } else if (!live.empty()) {
                std::swap(live[random() % live.size()], live.back());
                const Live one = live.back();
                live.pop_back();
                ASSERT_TRUE(std::all_of(one.block, one.block + one.words, [&](uint64_t w) { return w == one.mark; }));
                SlabPool::release(one.block, one.words * 8);
            }
        }
        for (const Live& one : live)
            SlabPool::release(one.block, one.words * 8);
    });
}

struct Base : InSlab {
    virtual ~Base() = default;
};
struct Derived final : Base {
    char bytes[500] = {};
};

TEST(slab, an_object_deleted_by_its_base_is_released_by_its_own_size) {
    on_a_fresh_thread([] {
        std::unique_ptr<Base> first = std::make_unique<Derived>();
        const void* const place = first.get();
        first.reset();
        const std::unique_ptr<Base> again = std::make_unique<Derived>();
        EXPECT_EQ(again.get(), place);
    });
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
TEST(slab_death, a_released_block_is_out_of_bounds) {
    EXPECT_DEATH(
        {
            auto* block = static_cast<volatile char*>(SlabPool::allocate(100));
            SlabPool::release(const_cast<char*>(block), 100);
            block[50] = 1;
        },
        "use-after-poison");
}
#endif
#endif

} // namespace
} // namespace weft
