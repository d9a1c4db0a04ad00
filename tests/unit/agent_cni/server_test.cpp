// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/server.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "agent/cni/plugin/ask.hpp"

namespace weft::agent::cni {
namespace {

using Count = metrics::Event;
using weft::cni::ask;
using weft::cni::Verb;

class CniServerTest : public testing::Test {
protected:
    CniServerTest() {
        std::string pattern = testing::TempDir() + "weft-cni-XXXXXX";
        folder_ = mkdtemp(pattern.data());
        path_ = folder_ + "/cni.sock";
        start();
    }
    ~CniServerTest() override {
        server_.reset();
        std::filesystem::remove_all(folder_);
    }
    void start() {
        UniqueFd listener(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        sockaddr_un address = address_of_socket();
        unlink(path_.c_str());
        EXPECT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
        EXPECT_EQ(listen(listener.get(), 256), 0);
        auto made = Server::start({.listener = std::move(listener),
                                   .socket_path = path_,
                                   .post = [this](Event event) { return take(std::move(event)); }},
                                  counters_);
        EXPECT_TRUE(made);
        const std::lock_guard lock(mutex_); // its thread may have a request already
        server_ = *std::move(made);
    }
    [[nodiscard]] sockaddr_un address_of_socket() const {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
        return address;
    }
    [[nodiscard]] UniqueFd connected() const {
        UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
        sockaddr_un address = address_of_socket();
        EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
        return fd;
    }
    /// Answers adds at once, if `answer_` is set.
    bool take(Event event) {
        if (!room_)
            return false;
        const std::lock_guard lock(mutex_);
        if (auto* asked = std::get_if<Asked>(&event)) {
            if (answer_)
                server_->reply(asked->token, *answer_);
            asked_.push_back(std::move(*asked));
        } else {
            left_.push_back(std::get<Left>(event).token);
        }
        changed_.notify_all();
        return true;
    }
    template <class F>
    bool wait(F&& condition) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, std::chrono::seconds(10), condition);
    }
    /// How the connection ends: what comes, or "" for its end.
    static std::string answer_on(const UniqueFd& fd, int wait_ms = 10'000) {
        pollfd item{.fd = fd.get(), .events = POLLIN, .revents = 0};
        EXPECT_EQ(poll(&item, 1, wait_ms), 1);
        std::string text(weft::cni::message_bytes_max, '\0');
        const ssize_t got = recv(fd.get(), text.data(), text.size(), 0);
        text.resize(got > 0 ? static_cast<size_t>(got) : 0);
        return text;
    }
    uint64_t refusals(const std::string& cause) {
        for (const auto& count : counters_.read())
            if (count.name == std::string("weft_agent_cni_refusals_total") && count.reason == cause)
                return count.value;
        return 0;
    }
    static Request request() {
        return {.verb = Verb::add,
                .ns = "default",
                .pod = "a",
                .uid = "u",
                .container = "c",
                .addresses = {"10.0.0.1"},
                .wait_ms = 1000};
    }

    std::string folder_;
    std::string path_;
    metrics::Counters counters_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Asked> asked_;
    std::vector<uint64_t> left_;
    std::optional<Answer> answer_;
    std::atomic<bool> room_ = true;
    std::unique_ptr<Server> server_;
};

TEST_F(CniServerTest, ARequestComesWithItsNamespaceAndIsAnswered) {
    answer_ = {.outcome = Outcome::captured, .reason = ""};
    EXPECT_EQ(ask(path_, request(), "/proc/self/ns/net", 1000), *answer_);
    EXPECT_EQ(ask(path_, request(), "/nowhere", 1000), *answer_);
    ASSERT_EQ(asked_.size(), 2U);
    EXPECT_EQ(asked_[0].request.pod, "a");
    EXPECT_TRUE(asked_[0].netns);
    EXPECT_FALSE(asked_[1].netns);
    EXPECT_EQ(counters_.total(Count::cni_answer), 2U);
}

TEST_F(CniServerTest, WhoGoesAwayIsToldAndHisAnswerGoesNowhere) {
    {
        const UniqueFd fd = connected();
        const std::string text = weft::cni::encode(request());
        ASSERT_GT(send(fd.get(), text.data(), text.size(), 0), 0);
        ASSERT_TRUE(wait([&] { return asked_.size() == 1; }));
    }
    ASSERT_TRUE(wait([&] { return left_.size() == 1; }));
    EXPECT_EQ(left_[0], asked_[0].token);
    server_->reply(left_[0], {});
    answer_ = {.outcome = Outcome::released, .reason = ""};
    EXPECT_TRUE(ask(path_, request(), "", 1000)); // it still serves
}

TEST_F(CniServerTest, HostilePacketsAreRefusedAndCounted) {
    struct Row {
        std::string packet;
        std::string cause;
    };
    for (const Row& row :
         {Row{"nonsense", "malformed"}, Row{std::string(weft::cni::message_bytes_max + 1, ' '), "too_large"}}) {
        const UniqueFd fd = connected();
        ASSERT_GT(send(fd.get(), row.packet.data(), row.packet.size(), 0), 0);
        static_cast<void>(answer_on(fd));
        EXPECT_EQ(refusals(row.cause), 1U) << row.cause;
    }
    const UniqueFd twice = connected();
    const std::string text = weft::cni::encode(request());
    ASSERT_GT(send(twice.get(), text.data(), text.size(), 0), 0);
    ASSERT_TRUE(wait([&] { return asked_.size() == 1; }));
    ASSERT_GT(send(twice.get(), text.data(), text.size(), 0), 0);
    EXPECT_EQ(answer_on(twice), "");
    EXPECT_EQ(refusals("malformed"), 2U);
    ASSERT_TRUE(wait([&] { return left_.size() == 1; }));
    room_ = false;
    const UniqueFd busy = connected();
    ASSERT_GT(send(busy.get(), text.data(), text.size(), 0), 0);
    EXPECT_EQ(answer_on(busy), "");
    EXPECT_EQ(refusals("busy"), 1U);
}

TEST_F(CniServerTest, TooManyAndSilentConnectionsAreClosed) {
    std::vector<UniqueFd> silent;
    for (size_t i = 0; i < requests_max; ++i)
        silent.push_back(connected());
    const UniqueFd more = connected();
    EXPECT_EQ(answer_on(more), "");
    EXPECT_EQ(refusals("too_many"), 1U);
    for (const UniqueFd& fd : silent)
        EXPECT_EQ(answer_on(fd), "");
    EXPECT_EQ(refusals("slow"), requests_max);
    answer_ = {.outcome = Outcome::captured, .reason = ""};
    EXPECT_TRUE(ask(path_, request(), "", 1000));
}

TEST_F(CniServerTest, ThePluginWaitsForAnAgentThatComesBack) {
    server_->stop();
    server_.reset(); // its socket's file stays
    const auto refused = ask(path_, request(), "", 100);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().find("not there"), std::string::npos) << refused.error();
    answer_ = {.outcome = Outcome::captured, .reason = ""};
    std::jthread later([this] {
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        start();
    });
    EXPECT_EQ(ask(path_, request(), "", 10'000), *answer_);
}

TEST_F(CniServerTest, WhatThePluginRecordedIsCountedByTheNextAgent) {
    server_.reset();
    weft::cni::record_fail_open(path_, request());
    weft::cni::record_fail_open(path_, request());
    start();
    for (int i = 0; i < 1000 && counters_.total(Count::cni_fail_open) != 2; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_EQ(counters_.total(Count::cni_fail_open), 2U);
    EXPECT_FALSE(std::filesystem::exists(path_ + ".failed-open"));
    EXPECT_FALSE(std::filesystem::exists(path_ + ".failed-open.counted"));
    // Somebody's link is neither written through nor read.
    server_.reset();
    std::ofstream(folder_ + "/other") << "a\nb\n";
    std::filesystem::create_symlink(folder_ + "/other", path_ + ".failed-open");
    weft::cni::record_fail_open(path_, request());
    EXPECT_EQ(std::filesystem::file_size(folder_ + "/other"), 4U);
    // The record has an end.
    std::filesystem::remove(path_ + ".failed-open");
    for (int i = 0; i < 10'000; ++i)
        weft::cni::record_fail_open(path_, request());
    EXPECT_LT(std::filesystem::file_size(path_ + ".failed-open"), weft::cni::record_bytes_max + 1000);
}

} // namespace
} // namespace weft::agent::cni
