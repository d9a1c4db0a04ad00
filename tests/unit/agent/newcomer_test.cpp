// SPDX-License-Identifier: Apache-2.0
#include "agent/newcomer.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include "agent/hold.hpp"
#include "agent/source/parse.hpp"

namespace weft::agent {
namespace {

constexpr const char* one = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";
constexpr const char* refused = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\nno_such_field: 1\n";

/// One file, which a test changes.
class FakeSource final : public Source {
public:
    std::string text = one;
    bool whole = true;
    bool news = false;
    int loads = 0;

    [[nodiscard]] int fd() const override { return -1; }
    [[nodiscard]] bool ready() override { return std::exchange(news, false); }
    [[nodiscard]] bool unsettled() override { return !whole; }
    [[nodiscard]] LoadResult load(ObjectStore previous) override {
        ++loads;
        std::vector<SourceFile> files;
        files.push_back(
            {.name = "f.yaml", .parsed = std::make_shared<const ParsedFile>(parse_manifests(text)), .unreadable = {}});
        return merge(previous, std::move(files));
    }
    [[nodiscard]] const std::string& name() const override { return text; }
};

class NewcomerTest : public testing::Test {
protected:
    void TearDown() override { ::unlink(record_.c_str()); }

    bool may() { return newcomer_.may_take_over(source_, store_); }

    const std::string record_ = "/tmp/weft-newcomer-" + std::to_string(getpid());
    FakeSource source_;
    ObjectStore store_;
    Newcomer newcomer_{record_};
};

TEST_F(NewcomerTest, TakesOverWithWhatItHasRead) {
    ASSERT_TRUE(write_record(record_, {{"Namespace a"}}));
    EXPECT_TRUE(may());
    EXPECT_EQ(store_.size(), 1U);
    EXPECT_TRUE(may());
    EXPECT_EQ(source_.loads, 1) << "nothing has changed";
}

TEST_F(NewcomerTest, WaitsForAWholeSourceAndReadsMeanwhile) {
    ASSERT_TRUE(write_record(record_, {{"Namespace a"}}));
    source_.whole = false;
    EXPECT_FALSE(may());
    source_.news = true;
    EXPECT_FALSE(may());
    EXPECT_EQ(source_.loads, 1) << "changes do not pile up";
    source_.whole = true;
    EXPECT_TRUE(may());
}

TEST_F(NewcomerTest, LeavesAloneWhatItWouldHold) {
    ASSERT_TRUE(write_record(record_, {{"Namespace a"}}));
    source_.text = refused;
    EXPECT_FALSE(may());
    source_.text = one;
    source_.news = true;
    EXPECT_TRUE(may());
    source_.text = refused; // its last good version is this one's own by now
    source_.news = true;
    EXPECT_TRUE(may());
}

} // namespace
} // namespace weft::agent
