// SPDX-License-Identifier: Apache-2.0
#include "config/base/slice.hpp"

#include <gtest/gtest.h>

namespace weft {
namespace {

class CountingOwner final : public BufferOwner {
public:
    void retain(void*) noexcept override { ++references; }
    void release(void*) noexcept override { --references; }
    int references = 1; ///< the first slice takes this one over
};

TEST(Slice, the_last_one_gives_the_buffer_back) {
    CountingOwner owner;
    {
        Slice whole(&owner, nullptr, as_bytes("hello world"));
        Slice front = whole.split_front(6);
        EXPECT_EQ(owner.references, 2);
        EXPECT_EQ(front.text(), "hello ");
        EXPECT_EQ(whole.text(), "world");
        const Slice middle = whole.share(1, 3);
        EXPECT_EQ(owner.references, 3);
        EXPECT_EQ(middle.text(), "orl");
        front = std::move(whole);
        EXPECT_EQ(owner.references, 2);
        EXPECT_EQ(front.text(), "world");
        front.remove_prefix(5);
        EXPECT_TRUE(front.empty());
    }
    EXPECT_EQ(owner.references, 0);
}

TEST(Slice, moving_to_itself_and_moved_from) {
    CountingOwner owner;
    Slice slice(&owner, nullptr, as_bytes("x"));
    Slice& same = slice;
    slice = std::move(same);
    EXPECT_EQ(slice.text(), "x");
    EXPECT_EQ(owner.references, 1);
    Slice other(std::move(slice));
    EXPECT_EQ(other.text(), "x");
    other = Slice();
    EXPECT_EQ(owner.references, 0);
}

TEST(Slice, copies_live_as_long_as_any_share) {
    Slice part;
    {
        std::string text = "temporary text";
        const Slice copy = Slice::copy_of(text);
        text.assign(text.size(), '#');
        part = copy.share(0, 9);
        EXPECT_EQ(copy.text(), "temporary text");
    }
    EXPECT_EQ(part.text(), "temporary");
    EXPECT_TRUE(Slice::copy_of("").empty());
    EXPECT_EQ(Slice::of_static("literal").share(0, 3).text(), "lit");
}

} // namespace
} // namespace weft
