// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/server.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "config/base/clock.hpp"
#include "config/base/log.hpp"

namespace weft::agent::cni {
namespace {

using CountedEvent = metrics::Event;
using weft::cni::decode_request;
using weft::cni::encode;
using weft::cni::message_bytes_max;

constexpr size_t descriptors_taken_max = 8; ///< of one packet; the kernel closes the others

struct Packet {
    ssize_t bytes = 0; ///< as recvmsg(2) says it
    bool cut = false;
    std::string text;
    UniqueFd first;
    size_t descriptors = 0;
};

Packet receive(int fd) {
    Packet packet;
    packet.text.resize(message_bytes_max);
    iovec part{.iov_base = packet.text.data(), .iov_len = packet.text.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(descriptors_taken_max * sizeof(int))> control{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    packet.bytes = recvmsg(fd, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    packet.cut = (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    packet.text.resize(packet.bytes > 0 ? static_cast<size_t>(packet.bytes) : 0);
    if (packet.bytes < 0)
        return packet;
    for (cmsghdr* each = CMSG_FIRSTHDR(&header); each != nullptr; each = CMSG_NXTHDR(&header, each)) {
        if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS)
            continue;
        const size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; ++i) {
            int received = -1;
            std::memcpy(&received, CMSG_DATA(each) + i * sizeof(int), sizeof(int));
            UniqueFd owned(received);
            if (packet.descriptors++ == 0)
                packet.first = std::move(owned);
        }
    }
    return packet;
}

const char* word(Outcome outcome) {
    switch (outcome) {
        using enum Outcome;
    case captured: return "captured";
    case not_enrolled: return "not_enrolled";
    case released: return "released";
    case refused: return "refused";
    }
    return "";
}

} // namespace

std::expected<std::unique_ptr<Server>, std::string> Server::start(Settings settings, metrics::Counters& counters) {
    UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake)
        return std::unexpected(std::string("eventfd: ") + std::strerror(errno));
    std::unique_ptr<Server> server(new Server(std::move(settings), std::move(wake), counters));
    server->thread_ = std::jthread([raw = server.get()](const std::stop_token& stop) { raw->run(stop); });
    return server;
}

Server::Server(Settings settings, UniqueFd wake, metrics::Counters& counters)
    : settings_(std::move(settings)), wake_(std::move(wake)), counters_(counters) {}

Server::~Server() {
    stop();
}

void Server::stop() {
    if (!thread_.joinable())
        return;
    thread_.request_stop();
    const uint64_t one = 1;
    static_cast<void>(!::write(wake_.get(), &one, sizeof(one)));
    thread_.join();
}

void Server::reply(uint64_t token, const Answer& answer) {
    {
        const std::lock_guard lock(mutex_);
        replies_.emplace_back(token, answer);
    }
    const uint64_t one = 1;
    static_cast<void>(!::write(wake_.get(), &one, sizeof(one)));
}

void Server::run(const std::stop_token& stop) {
    while (!stop.stop_requested())
        turn();
    send_replies();
    connections_.clear();
}

void Server::turn() {
    std::vector<pollfd> items;
    items.push_back({.fd = wake_.get(), .events = POLLIN, .revents = 0});
    items.push_back({.fd = settings_.listener.get(), .events = POLLIN, .revents = 0});
    const size_t first = items.size();
    std::vector<Connection*> polled;
    uint64_t due_ms = fail_open_read_at_ms_;
    for (Connection& connection : connections_) {
        items.push_back({.fd = connection.fd.get(), .events = POLLIN, .revents = 0});
        polled.push_back(&connection);
        due_ms = std::min(due_ms, connection.deadline_ms);
    }
    const uint64_t before_ms = monotonic_ms();
    poll(items.data(), items.size(), due_ms > before_ms ? static_cast<int>(due_ms - before_ms) : 0);
    uint64_t count = 0;
    static_cast<void>(!::read(wake_.get(), &count, sizeof(count)));
    send_replies();
    for (size_t i = 0; i < polled.size(); ++i)
        if (items[first + i].revents != 0 && !polled[i]->closed)
            serve(*polled[i]);
    if (items[1].revents != 0)
        accept_connections();
    const uint64_t now_ms = monotonic_ms();
    for (Connection& connection : connections_)
        if (!connection.closed && connection.deadline_ms <= now_ms)
            refuse(connection, "slow");
    std::erase_if(connections_, [](const Connection& connection) { return connection.closed; });
    if (now_ms >= fail_open_read_at_ms_) {
        fail_open_read_at_ms_ = now_ms + fail_open_read_ms;
        count_fail_opens();
    }
}

void Server::accept_connections() {
    while (true) {
        UniqueFd fd(accept4(settings_.listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!fd) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                counters_.add(CountedEvent::cni_refusal, "accept");
            return;
        }
        ucred peer{};
        socklen_t length = sizeof(peer);
        if (getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || peer.uid != 0) {
            counters_.add(CountedEvent::cni_refusal, "user");
            log::warn("cni_connection_refused", log::kv("reason", "user"), log::kv("uid", peer.uid));
            continue;
        }
        if (connections_.size() >= requests_max) {
            counters_.add(CountedEvent::cni_refusal, "too_many"); // the plugin tries again
            continue;
        }
        connections_.push_back({.token = ++last_token_,
                                .fd = std::move(fd),
                                .deadline_ms = monotonic_ms() + request_wait_ms,
                                .closed = false});
    }
}

void Server::serve(Connection& connection) {
    Packet packet = receive(connection.fd.get());
    const bool asked = connection.deadline_ms == UINT64_MAX;
    if (packet.bytes < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (packet.bytes <= 0) { // it went
        connection.closed = true;
        if (asked) {
            counters_.add(CountedEvent::cni_answer, "left");
            static_cast<void>(settings_.post(Left{.token = connection.token}));
        }
        return;
    }
    if (asked) { // a second request
        static_cast<void>(settings_.post(Left{.token = connection.token}));
        return refuse(connection, "malformed");
    }
    if (packet.cut)
        return refuse(connection, "too_large");
    if (packet.descriptors > 1)
        return refuse(connection, "malformed");
    connection.deadline_ms = UINT64_MAX;
    take(connection, packet.text, std::move(packet.first));
}

void Server::take(Connection& connection, const std::string& bytes, UniqueFd netns) {
    auto request = decode_request(bytes);
    if (!request) {
        counters_.add(CountedEvent::cni_refusal, "malformed");
        log::warn("cni_request_refused", log::kv("reason", request.error()));
        return answer_now(connection, {.outcome = Outcome::refused, .reason = request.error()});
    }
    if (!settings_.post(Asked{.token = connection.token, .request = *std::move(request), .netns = std::move(netns)}))
        refuse(connection, "busy"); // the plugin tries again
}

void Server::refuse(Connection& connection, const char* cause) {
    counters_.add(CountedEvent::cni_refusal, cause);
    connection.closed = true;
}

void Server::answer_now(Connection& connection, const Answer& answer) {
    const std::string text = encode(answer);
    // The peer's receive buffer is empty: one packet fits, or the peer is gone.
    static_cast<void>(send(connection.fd.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
    connection.closed = true;
}

void Server::send_replies() {
    std::vector<std::pair<uint64_t, Answer>> replies;
    {
        const std::lock_guard lock(mutex_);
        replies.swap(replies_);
    }
    for (const auto& [token, answer] : replies) {
        const auto found = std::ranges::find_if(
            connections_, [&](const Connection& each) { return each.token == token && !each.closed; });
        if (found == connections_.end())
            continue;
        counters_.add(CountedEvent::cni_answer, word(answer.outcome));
        answer_now(*found, answer);
    }
}

/// The plugin appends lines. Taken away first: what it writes later is in a new file.
void Server::count_fail_opens() {
    const std::string path = settings_.socket_path + std::string(weft::cni::fail_open_suffix);
    const std::string taken = path + ".counted";
    if (std::rename(path.c_str(), taken.c_str()) != 0)
        return;
    const UniqueFd file(open(taken.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat status{};
    std::string text(fail_open_bytes_max, '\0');
    ssize_t got = 0;
    if (file && fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode))
        got = read(file.get(), text.data(), text.size());
    ::unlink(taken.c_str());
    text.resize(got > 0 ? static_cast<size_t>(got) : 0);
    std::istringstream lines(text);
    size_t count = 0;
    for (std::string line; std::getline(lines, line); ++count)
        if (count < fail_open_said_max)
            log::error("cni_failed_open", log::kv("pod", line));
    if (count != 0)
        counters_.add(CountedEvent::cni_fail_open, "", count);
}

} // namespace weft::agent::cni
