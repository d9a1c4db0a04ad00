// SPDX-License-Identifier: Apache-2.0
#include "config/wire/channel.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <thread>

namespace weft::wire {
namespace {

constexpr uint32_t patience_ms = 5000;

std::pair<UniqueFd, UniqueFd> socket_pair() {
    int fds[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

size_t open_fds() {
    size_t count = 0;
    DIR* folder = ::opendir("/proc/self/fd");
    while (::readdir(folder) != nullptr)
        ++count;
    ::closedir(folder);
    return count;
}

/// A descriptor with a recognisable file behind it.
UniqueFd file() {
    return UniqueFd(::memfd_create("weft-test", MFD_CLOEXEC));
}
ino_t inode(int fd) {
    struct stat status{};
    EXPECT_EQ(::fstat(fd, &status), 0);
    return status.st_ino;
}

std::string framed(std::string_view message) {
    std::string out;
    for (size_t i = 0; i < 4; ++i)
        out += static_cast<char>(message.size() >> (8 * i) & 0xff);
    return out + std::string(message);
}

void write_raw(int fd, std::string_view bytes) {
    ASSERT_EQ(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
}

/// Sends bytes and descriptors in one call, as a peer that keeps no rule might.
void write_raw_with_fds(int socket, std::string_view bytes, const std::vector<int>& fds) {
    std::vector<std::byte> control(CMSG_SPACE(sizeof(int) * fds.size()));
    iovec part{.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* item = CMSG_FIRSTHDR(&header);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    std::memcpy(CMSG_DATA(item), fds.data(), sizeof(int) * fds.size());
    ASSERT_EQ(::sendmsg(socket, &header, MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
}

void expect_error(const auto& result, Code code, std::string_view during) {
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().code, code) << to_string(result.error());
    EXPECT_EQ(result.error().during, during);
}

TEST(Channel, frames_keep_their_order_and_their_descriptors) {
    auto [left, right] = socket_pair();
    FrameChannel sender(std::move(left));
    FrameChannel receiver(std::move(right));
    const UniqueFd one = file();
    const UniqueFd two = file();
    const int both[] = {one.get(), two.get()};
    ASSERT_TRUE(sender.send(as_bytes("plain"), {}, patience_ms));
    ASSERT_TRUE(sender.send(as_bytes("pair"), both, patience_ms));
    ASSERT_TRUE(sender.send(as_bytes(""), {}, patience_ms));
    ASSERT_TRUE(sender.send(as_bytes(""), std::span(both).first(1), patience_ms));
    ASSERT_TRUE(sender.send(as_bytes("last"), {}, patience_ms));

    const std::pair<std::string_view, size_t> expected[] = {{"plain", 0}, {"pair", 2}, {"", 0}, {"", 1}, {"last", 0}};
    for (const auto& [text, count] : expected) {
        const auto frame = receiver.receive(patience_ms);
        ASSERT_TRUE(frame.has_value()) << to_string(frame.error());
        EXPECT_EQ(frame->bytes, text);
        ASSERT_EQ(frame->fds.size(), count);
        for (size_t i = 0; i < count; ++i) {
            EXPECT_EQ(inode(frame->fds[i].get()), inode(both[i]));
            EXPECT_NE(::fcntl(frame->fds[i].get(), F_GETFD) & FD_CLOEXEC, 0);
        }
    }
    const auto nothing = receiver.read_some();
    ASSERT_TRUE(nothing.has_value());
    EXPECT_FALSE(nothing->has_value());
}

TEST(Channel, a_large_frame_with_the_most_descriptors) {
    const size_t before = open_fds();
    {
        auto [left, right] = socket_pair();
        FrameChannel sender(std::move(left));
        FrameChannel receiver(std::move(right));
        std::string message(8U * 1024 * 1024 + 7, 'x');
        for (size_t i = 0; i < message.size(); i += 4093)
            message[i] = static_cast<char>(i);
        const UniqueFd one = file();
        const std::vector<int> fds(253, one.get());
        std::jthread writer([&] { EXPECT_TRUE(sender.send(as_bytes(message), fds, patience_ms)); });
        const auto frame = receiver.receive(patience_ms);
        ASSERT_TRUE(frame.has_value()) << to_string(frame.error());
        EXPECT_EQ(frame->bytes, message);
        EXPECT_EQ(frame->fds.size(), 253U);
    }
    EXPECT_EQ(open_fds(), before);
}

TEST(Channel, one_byte_at_a_time) {
    auto [left, right] = socket_pair();
    FrameChannel receiver(std::move(right));
    const std::string bytes = framed("hello") + framed("") + framed("world");
    std::vector<std::string> got;
    for (const char byte : bytes) {
        write_raw(left.get(), {&byte, 1});
        while (true) {
            auto frame = receiver.read_some();
            ASSERT_TRUE(frame.has_value());
            if (!*frame)
                break;
            got.push_back((*frame)->bytes);
        }
    }
    EXPECT_EQ(got, (std::vector<std::string>{"hello", "", "world"}));
}

TEST(Channel, truncated_at_every_byte) {
    const std::string bytes = framed("first") + framed("second");
    for (size_t cut = 0; cut <= bytes.size(); ++cut) {
        auto [left, right] = socket_pair();
        FrameChannel receiver(std::move(right));
        write_raw(left.get(), std::string_view(bytes).substr(0, cut));
        left.reset();
        size_t frames = 0;
        auto frame = receiver.receive(patience_ms);
        for (; frame.has_value(); frame = receiver.receive(patience_ms))
            ++frames;
        const bool between = cut == 0 || cut == 9 || cut == bytes.size();
        EXPECT_EQ(frames, cut == bytes.size() ? 2U : cut >= 9 ? 1U : 0U) << cut;
        expect_error(frame, between ? Code::eof : Code::malformed, between ? "frame: peer closed" : "frame: truncated");
        expect_error(receiver.read_some(), frame.error().code, frame.error().during); // and it stays so
    }
}

TEST(Channel, a_length_above_the_limit_costs_no_memory) {
    auto [left, right] = socket_pair();
    FrameChannel receiver(std::move(right), {.frame_bytes_max = 100});
    write_raw(left.get(), framed(std::string(100, 'a')));
    EXPECT_TRUE(receiver.receive(patience_ms).has_value());
    write_raw(left.get(), std::string("\x65\0\0\0", 4));
    expect_error(receiver.receive(patience_ms), Code::too_large, "frame: length");
    auto [left2, right2] = socket_pair();
    FrameChannel by_default(std::move(right2));
    write_raw(left2.get(), "GET / HTTP/1.1\r\n\r\n"); // "GET " is a length of 542 MB
    expect_error(by_default.receive(patience_ms), Code::too_large, "frame: length");
}

TEST(Channel, descriptors_where_none_belong_are_closed) {
    const UniqueFd one = file();
    const size_t before = open_fds();
    {
        auto [left, right] = socket_pair();
        FrameChannel receiver(std::move(right));
        write_raw(left.get(), framed("body").substr(0, 6));
        write_raw_with_fds(left.get(), "dy", {one.get(), one.get()});
        expect_error(receiver.receive(patience_ms), Code::malformed, "frame: stray descriptors");
        EXPECT_EQ(open_fds(), before + 2); // the two sockets only
    }
    {
        auto [left, right] = socket_pair();
        FrameChannel receiver(std::move(right), {.fds_max = 1});
        write_raw_with_fds(left.get(), framed("x"), {one.get(), one.get()});
        expect_error(receiver.receive(patience_ms), Code::too_large, "frame: descriptors");
        EXPECT_EQ(open_fds(), before + 2);
    }
    {
        auto [left, right] = socket_pair();
        FrameChannel receiver(std::move(right));
        write_raw_with_fds(left.get(), framed("unfinished").substr(0, 7), {one.get()});
        left.reset();
        expect_error(receiver.receive(patience_ms), Code::malformed, "frame: truncated");
        EXPECT_EQ(open_fds(), before + 1);
    }
    EXPECT_EQ(open_fds(), before);
}

TEST(Channel, no_room_for_descriptors_is_an_error_of_its_own) {
    auto [left, right] = socket_pair();
    FrameChannel receiver(std::move(right));
    const UniqueFd one = file();
    write_raw_with_fds(left.get(), framed("x"), {one.get(), one.get(), one.get()});
    rlimit old{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
    const UniqueFd next(::dup(one.get()));
    rlimit tight = old;
    tight.rlim_cur = static_cast<rlim_t>(next.get()) + 2; // room for one more
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
    const auto frame = receiver.receive(patience_ms);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old), 0);
    expect_error(frame, Code::unavailable, "frame: control data truncated");
}

TEST(Channel, a_reader_that_waits) {
    auto [left, right] = socket_pair();
    FrameChannel receiver(std::move(right));
    expect_error(receiver.receive(20), Code::timeout, "frame: receive");
    write_raw(left.get(), framed("late"));
    const auto frame = receiver.receive(patience_ms); // nothing was lost
    ASSERT_TRUE(frame.has_value());
    EXPECT_EQ(frame->bytes, "late");
    write_raw(left.get(), framed("half").substr(0, 5));
    expect_error(receiver.receive(20), Code::timeout, "frame: receive");
    write_raw(left.get(), framed("half").substr(5));
    expect_error(receiver.receive(20), Code::timeout, "frame: receive"); // broken inside a frame
}

TEST(Channel, a_peer_that_does_not_read) {
    auto [left, right] = socket_pair();
    FrameChannel sender(std::move(left), {.queue_bytes_max = 10'000'000, .queue_frames_max = 3});
    const std::string large(4'000'000, 'x');
    ASSERT_TRUE(sender.queue(as_bytes(large), {}));
    ASSERT_TRUE(sender.queue(as_bytes(large), {}));
    expect_error(sender.queue(as_bytes(large), {}), Code::too_large, "frame: queue");
    ASSERT_TRUE(sender.queue(as_bytes("small"), {}));
    expect_error(sender.queue(as_bytes("small"), {}), Code::too_large, "frame: queue");
    const auto flushed = sender.flush();
    ASSERT_TRUE(flushed.has_value());
    EXPECT_FALSE(*flushed);
    EXPECT_TRUE(sender.wants_write());
    FrameChannel receiver(std::move(right));
    std::vector<size_t> sizes;
    while (sizes.size() < 3) {
        ASSERT_TRUE(sender.flush().has_value());
        auto frame = receiver.read_some();
        ASSERT_TRUE(frame.has_value());
        if (*frame)
            sizes.push_back((*frame)->bytes.size());
    }
    EXPECT_EQ(sizes, (std::vector<size_t>{large.size(), large.size(), 5}));
    EXPECT_FALSE(sender.wants_write());
    EXPECT_EQ(sender.queued_bytes(), 0U);
    expect_error(sender.send(as_bytes(large), {}, 20), Code::timeout, "frame: send");
    expect_error(sender.queue(as_bytes("x"), {}), Code::timeout, "frame: send"); // broken: a half-written frame
}

TEST(Channel, a_peer_that_is_gone) {
    auto [left, right] = socket_pair();
    FrameChannel sender(std::move(left));
    right.reset();
    const auto sent = sender.send(as_bytes("x"), {}, patience_ms);
    ASSERT_FALSE(sent.has_value());
    EXPECT_EQ(sent.error().code, Code::reset);
}

TEST(Channel, refuses_to_send_what_no_peer_takes) {
    const size_t before = open_fds();
    {
        auto [left, right] = socket_pair();
        FrameChannel sender(std::move(left), {.frame_bytes_max = 10});
        expect_error(sender.queue(as_bytes("12345678901"), {}), Code::too_large, "frame: length");
        const UniqueFd one = file();
        expect_error(sender.queue(as_bytes("x"), std::vector<int>(254, one.get())), Code::too_large,
                     "frame: descriptors");
        expect_error(sender.queue(as_bytes("x"), std::vector<int>{one.get(), 1'000'000}), Code::kernel,
                     "frame: duplicate descriptor");
        EXPECT_FALSE(sender.wants_write());
        ASSERT_TRUE(sender.queue(as_bytes("x"), std::vector<int>{one.get()})); // dies unsent
    }
    EXPECT_EQ(open_fds(), before);
}

TEST(Channel, garbage_never_leaks_and_never_hangs) {
    const size_t before = open_fds();
    const UniqueFd one = file();
    std::mt19937 random(7);
    for (int round = 0; round < 300; ++round) {
        auto [left, right] = socket_pair();
        FrameChannel receiver(std::move(right), {.frame_bytes_max = 4096, .fds_max = 2});
        for (int piece = static_cast<int>(random() % 6); piece >= 0; --piece) {
            std::string bytes(1 + random() % 40, '\0');
            std::ranges::generate(bytes, [&] { return static_cast<char>(random() % 3); });
            if (random() % 3 == 0)
                write_raw_with_fds(left.get(), bytes, std::vector<int>(1 + random() % 3, one.get()));
            else
                write_raw(left.get(), bytes);
        }
        left.reset();
        size_t frames = 0;
        while (receiver.receive(patience_ms).has_value())
            ASSERT_LT(++frames, 1000U);
    }
    EXPECT_EQ(open_fds(), before + 1);
}

} // namespace
} // namespace weft::wire
