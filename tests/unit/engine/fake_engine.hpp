// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "agent/engine/control.hpp"
#include "config/base/clock.hpp"
#include "config/proto/control.pb.h"
#include "config/wire/channel.hpp"

namespace weft::agent::engine {

inline constexpr uint32_t wait_ms = 5000;

/// The other end of the control socket: says what a test wants said.
class FakePeer {
public:
    explicit FakePeer(const std::string& path) : channel_(connected(path)) {}

    void say(const proto::ToAgent& message, const std::vector<int>& fds = {}) {
        ASSERT_TRUE(channel_.send(as_bytes(message.SerializeAsString()), fds, wait_ms));
    }
    void say_raw(std::string_view bytes) const {
        EXPECT_EQ(::send(channel_.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
    }
    /// With a listener, it says that it has served.
    void hello(uint64_t instance = 1, uint64_t applied = 0, const std::string& group = "",
               std::optional<int> listener = std::nullopt) {
        proto::ToAgent message;
        auto& hello = *message.mutable_engine_hello();
        hello.set_contract(proto::CONTRACT_VERSION);
        hello.set_version("fake");
        hello.set_instance(instance);
        hello.set_applied_generation(applied);
        hello.set_workers(2);
        hello.set_group(group);
        if (!listener)
            return say(message);
        hello.add_listeners()->set_pod_id(3);
        say(message, {*listener});
    }
    /// The next message, of this kind; its descriptors are in fds().
    proto::ToEngine hear(proto::ToEngine::MessageCase kind) {
        proto::ToEngine message;
        auto frame = channel_.receive(wait_ms);
        if (!frame) {
            ADD_FAILURE() << to_string(frame.error());
            return message;
        }
        EXPECT_TRUE(message.ParseFromString(frame->bytes));
        EXPECT_EQ(message.message_case(), kind);
        fds_ = std::move(frame->fds);
        return message;
    }
    [[nodiscard]] bool is_cut_off() {
        while (true) {
            const auto frame = channel_.receive(wait_ms);
            if (!frame)
                return frame.error().code == Code::eof || frame.error().code == Code::reset;
        }
    }
    [[nodiscard]] bool hears_nothing() {
        const auto frame = channel_.receive(100);
        return !frame && frame.error().code == Code::timeout;
    }
    [[nodiscard]] std::vector<UniqueFd>& fds() { return fds_; }

private:
    static UniqueFd connected(const std::string& path) {
        UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
        EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
        return fd;
    }

    wire::FrameChannel channel_;
    std::vector<UniqueFd> fds_;
};

/// A Control with its thread on a socket in /tmp, and what it posts.
class ControlTest : public testing::Test {
protected:
    void SetUp() override { start(std::nullopt); }
    void TearDown() override {
        control_.reset();
        ::unlink(path_.c_str());
    }
    void start(std::optional<EngineProcess::Settings> engine, const std::string& group = "",
               uint64_t listeners_wait_ms = 0) {
        control_.reset();
        Control::Settings settings{.socket_path = path_,
                                   .engine_user = 65532,
                                   .supply = {},
                                   .engine = std::move(engine),
                                   .group = group,
                                   .listeners_wait_ms = listeners_wait_ms,
                                   .post = [this](ControlEvent event) {
                                       const std::lock_guard lock(mutex_);
                                       events_.push_back(std::move(event));
                                       arrived_.notify_all();
                                       return true;
                                   }};
        settings.supply.version = "test";
        settings.supply.engine_state_fd = 1;
        settings.supply.dial_slots_fd = 2;
        settings.supply.dial_slots = 16 * engines_max;
        settings.supply.mark_socket = [this](int) -> Result<void> {
            ++marked_;
            return {};
        };
        auto control = Control::start(std::move(settings), counters_, collector_);
        ASSERT_TRUE(control) << control.error();
        control_ = *std::move(control);
    }
    /// The next event, of this type.
    template <class T>
    T next() {
        std::unique_lock lock(mutex_);
        if (!arrived_.wait_for(lock, std::chrono::milliseconds(wait_ms), [&] { return !events_.empty(); })) {
            ADD_FAILURE() << "no event";
            return {};
        }
        ControlEvent event = std::move(events_.front());
        events_.pop_front();
        if (auto* wanted = std::get_if<T>(&event))
            return std::move(*wanted);
        ADD_FAILURE() << "an event of another kind: " << event.index();
        return {};
    }
    /// The view follows at the end of the control thread's turn, a moment after its messages.
    bool view_becomes_connected(bool connected) {
        const uint64_t deadline = monotonic_ms() + wait_ms;
        while (control_->engine().connected != connected && monotonic_ms() < deadline)
            std::this_thread::yield();
        return control_->engine().connected == connected;
    }
    void publish(uint64_t generation) {
        control_->publish(generation, std::make_shared<const std::string>(
                                          snapshot_message(snapshot_body(config::Snapshot(), "").value(), generation)));
    }
    uint64_t bad_messages() const { return counters_.total(metrics::Event::bad_message); }

    const std::string path_ = "/tmp/weft-test-" + std::to_string(getpid()) + ".sock";
    metrics::Counters counters_;
    metrics::Collector collector_{counters_, "test"};
    std::mutex mutex_;
    std::condition_variable arrived_;
    std::deque<ControlEvent> events_;
    std::atomic<int> marked_ = 0;
    std::unique_ptr<Control> control_;
};

} // namespace weft::agent::engine
