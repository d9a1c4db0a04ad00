// SPDX-License-Identifier: Apache-2.0
#include "agent/engine/process.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <fstream>

#include "config/base/clock.hpp"

namespace weft::agent::engine {
namespace {

class ProcessTest : public testing::Test {
protected:
    void TearDown() override {
        for (const std::string& path : {script_, state_})
            ::unlink(path.c_str());
    }
    EngineProcess::Settings script(const std::string& body) const {
        std::ofstream(script_) << "#!/bin/sh\n" << body << "\n";
        chmod(script_.c_str(), 0755);
        return {.program = script_, .arguments = {"--socket", "x"}, .state_file = state_};
    }
    static void await_end(const EngineProcess& process) {
        pollfd item{.fd = process.watch_fd(), .events = POLLIN, .revents = 0};
        ASSERT_EQ(poll(&item, 1, 5000), 1);
    }
    const std::string script_ = "/tmp/weft-test-engine-" + std::to_string(getpid());
    const std::string state_ = script_ + ".state";
};

TEST_F(ProcessTest, RestartsAtOnceThenLessAndLessOften) {
    EngineProcess process(script("exit 3"));
    uint64_t now = 1'000'000; // the waits are measured in our own time
    std::vector<uint64_t> waits;
    for (int i = 0; i < 9; ++i) {
        ASSERT_EQ(process.tend(now), EngineProcess::Change::started);
        await_end(process);
        ASSERT_EQ(process.tend(now), EngineProcess::Change::ended);
        EXPECT_EQ(process.last_end(), "exit status 3");
        waits.push_back(process.due_ms() - now);
        if (waits.back() != 0)
            EXPECT_EQ(process.tend(process.due_ms() - 1), EngineProcess::Change::none);
        now = process.due_ms();
    }
    EXPECT_EQ(waits, (std::vector<uint64_t>{0, 100, 200, 400, 800, 1600, 3200, 5000, 5000}));
}

TEST_F(ProcessTest, OneThatLivedWellIsReplacedAtOnce) {
    EngineProcess process(script("exec sleep 1000"));
    ASSERT_EQ(process.tend(0), EngineProcess::Change::started);
    ASSERT_EQ(kill(process.running()->pid, SIGKILL), 0);
    await_end(process);
    ASSERT_EQ(process.tend(lived_well_ms), EngineProcess::Change::ended);
    EXPECT_EQ(process.last_end(), "signal 9");
    EXPECT_EQ(process.due_ms(), lived_well_ms);
}

TEST_F(ProcessTest, AMissingProgramIsSaidAndTriedAgain) {
    EngineProcess process({.program = "/nonexistent/engine", .arguments = {}, .state_file = state_});
    EXPECT_EQ(process.tend(0), EngineProcess::Change::start_failed);
    EXPECT_NE(process.last_end().find("No such file"), std::string::npos);
    EXPECT_EQ(process.tend(process.due_ms()), EngineProcess::Change::start_failed);
    EXPECT_GT(process.due_ms(), 0U);
}

TEST_F(ProcessTest, IsRecordedAdoptedAndTerminated) {
    EngineProcess process(script("exec sleep 1000"));
    ASSERT_EQ(process.tend(0), EngineProcess::Change::started);
    const auto recorded = recorded_engine(state_);
    ASSERT_TRUE(recorded);
    EXPECT_EQ(*recorded, *process.running());
    EXPECT_EQ(getsid(recorded->pid), recorded->pid); // a session of its own: it survives our terminal

    EngineProcess second({.program = script_, .arguments = {}, .state_file = state_});
    ASSERT_TRUE(second.adopt(*recorded));
    EXPECT_EQ(second.tend(0), EngineProcess::Change::none);
    EXPECT_FALSE(second.adopt({.pid = recorded->pid, .start_time = recorded->start_time + 1}));

    terminate(*recorded, 5000);
    EXPECT_FALSE(recorded_engine(state_));
    EXPECT_EQ(second.tend(0), EngineProcess::Change::ended);
    terminate(*recorded, 5000); // again: nothing
}

TEST_F(ProcessTest, OneThatIgnoresSigtermIsKilled) {
    EngineProcess process(script("trap '' TERM; while :; do sleep 0.05; done"));
    ASSERT_EQ(process.tend(0), EngineProcess::Change::started);
    const ProcessId id = *process.running();
    poll(nullptr, 0, 100); // let it set its trap
    terminate(id, 100);
    EXPECT_FALSE(process_with(id.pid) == id);
}

TEST_F(ProcessTest, ARecordOfAnotherProcessIsIgnored) {
    for (const char* text : {"", "x y", "1 1", "999999999 5", "-1 5"}) {
        std::ofstream(state_) << text;
        EXPECT_FALSE(recorded_engine(state_)) << text;
    }
}

TEST_F(ProcessTest, HandOverStartsAnotherAndLeavesTheOld) {
    EngineProcess process(script("exec sleep 1000"));
    ASSERT_EQ(process.tend(0), EngineProcess::Change::started);
    const ProcessId old = *process.running();
    process.hand_over(0);
    ASSERT_EQ(process.tend(0), EngineProcess::Change::started);
    EXPECT_EQ(process.all().size(), 2U);
    terminate(old, 5000);
    process.tend(0);
    EXPECT_EQ(process.all().size(), 1U);
    process.retire();
    terminate(*process.running(), 5000);
}

} // namespace
} // namespace weft::agent::engine
