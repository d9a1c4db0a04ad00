// SPDX-License-Identifier: Apache-2.0
#include "agent/source_view.hpp"

#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using Former = SourceView::Former;

constexpr const char* good = R"({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
    "metadata": {"name": "p", "namespace": "a"}, "spec": {"targetRefs": [{"kind": "Service", "name": "s"}], "action": "DENY", "rules": [{}]}})";
constexpr const char* refused = R"({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
    "metadata": {"name": "p", "namespace": "a"}, "spec": {"action": "PERHAPS"}})";

/// Gives one file, which may change between loads.
class OneFile final : public Source {
public:
    explicit OneFile(const char* text) : text(text) {}
    const char* text;
    bool settled = true;

    [[nodiscard]] int fd() const override { return -1; }
    [[nodiscard]] bool ready() override { return true; }
    [[nodiscard]] bool unsettled() override { return !settled; }
    [[nodiscard]] const std::string& name() const override { return name_; }
    [[nodiscard]] LoadResult load(ObjectStore previous) override {
        LoadResult out =
            merge(std::move(previous), {{.name = "f.yaml",
                                         .parsed = std::make_shared<const ParsedFile>(parse_manifests(text)),
                                         .unreadable = {}}});
        out.unread = {"the rest"};
        return out;
    }

private:
    const std::string name_ = "one file";
};

class SourceViewTest : public testing::Test {
protected:
    SourceViewTest() { EXPECT_NE(mkdtemp(folder_.data()), nullptr); }
    ~SourceViewTest() override { std::filesystem::remove_all(folder_); }

    [[nodiscard]] std::string record() const { return folder_ + "/objects"; }
    [[nodiscard]] SourceView view(const char* text) {
        auto source = std::make_unique<OneFile>(text);
        source_ = source.get();
        return {std::move(source), {}, record(), counters_};
    }
    static const Entry<AuthorizationPolicy>& policy(const SourceView& view) {
        return view.store().all<AuthorizationPolicy>().at({.ns = "a", .name = "p"});
    }

    OneFile* source_ = nullptr;
    metrics::Counters counters_;

private:
    std::string folder_ = testing::TempDir() + "/source_view_XXXXXX";
};

/// An agent had the policy in force, and goes on with it when its newest version is refused.
TEST_F(SourceViewTest, TheGoodVersionOutlivesTheAgentAlsoWhereTheKernelHoldsNothing) {
    SourceView first = view(good);
    first.load(Former::replaced);
    ASSERT_TRUE(policy(first).good);
    source_->text = refused;
    first.load(Former::replaced);
    first.record();
    ASSERT_TRUE(policy(first).good) << "the last good version stays";

    for (const Former former : {Former::recorded, Former::in_force}) {
        SourceView next = view(refused);
        next.load(former);
        ASSERT_TRUE(policy(next).good);
        EXPECT_EQ(policy(next).good->action, config::Policy::Action::deny);
        EXPECT_FALSE(policy(next).faults.empty()) << "and that it is refused is still said";
        EXPECT_FALSE(next.held()) << "all that was in force is there";
    }
    SourceView begun = view(refused);
    begun.load(Former::replaced);
    EXPECT_FALSE(policy(begun).good) << "what was never good in this agent's time";
}

TEST_F(SourceViewTest, HoldsOnlyWhileTheKernelHasWhatTheSourceLacks) {
    SourceView first = view(good);
    first.load(Former::replaced);
    first.record();

    SourceView next = view("");
    next.load(Former::in_force);
    EXPECT_TRUE(next.held()) << "a source without any object";
    source_->text = good;
    next.load(Former::in_force);
    EXPECT_FALSE(next.held());
    source_->text = "";
    next.load(Former::recorded);
    EXPECT_FALSE(next.held());
}

TEST_F(SourceViewTest, PartsThatAreToComeAreNamedUntilTheyHaveCome) {
    SourceView view = this->view(good);
    source_->settled = false;
    view.load(Former::replaced);
    EXPECT_EQ(view.unread(), std::vector<std::string>{"the rest"});
    source_->settled = true;
    view.load(Former::replaced);
    EXPECT_TRUE(view.unread().empty());
}

/// The record says what was in force: of an older one the next agent would let go of a policy that it lacks.
TEST_F(SourceViewTest, ARecordThatCannotBeWrittenIsCountedAndTriedAgain) {
    SourceView view = this->view(good);
    view.load(Former::replaced);
    std::filesystem::create_directory(record());
    view.record();
    view.record();
    EXPECT_EQ(counters_.total(metrics::Event::apply_failure), 2U);
    std::filesystem::remove(record());
    view.record();
    EXPECT_TRUE(read_record(record()));
    std::filesystem::remove(record());
    view.record();
    EXPECT_FALSE(read_record(record())) << "not written again while it would say the same";
}

} // namespace
} // namespace weft::agent
