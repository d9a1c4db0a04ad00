// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "agent/kube/api_server.hpp"
#include "config/base/unique_fd.hpp"
#include "tests/unit/kube/loopback_listener.hpp"

namespace weft::agent::kube::test {

/// What a server got.
struct Received {
    std::string method;
    std::string target;
    std::string content_type;
    std::string body;
};
struct Reply {
    int status = 200;
    std::string body{};
    std::string head{}; ///< more lines of it, each with its end
};

/// HTTP/1.1 on loopback, one thread, which calls `answer` for each whole request.
class FakeServer {
public:
    using Answer = std::function<Reply(const Received&)>;
    explicit FakeServer(Answer answer) : answer_(std::move(answer)) {
        listener_ = loopback_listener(port_);
        thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
    }
    FakeServer(const FakeServer&) = delete;
    FakeServer& operator=(const FakeServer&) = delete;

    [[nodiscard]] ApiServer server() const {
        ApiServer out;
        out.url = "http://127.0.0.1:" + std::to_string(port_);
        return out;
    }
    [[nodiscard]] std::vector<Received> received() {
        const std::lock_guard lock(mutex_);
        return received_;
    }

private:
    struct Peer {
        UniqueFd fd;
        std::string input;
    };

    void run(const std::stop_token& stop) {
        std::vector<Peer> peers;
        while (!stop.stop_requested()) {
            std::vector<pollfd> items{{.fd = listener_.get(), .events = POLLIN, .revents = 0}};
            for (const Peer& peer : peers)
                items.push_back({.fd = peer.fd.get(), .events = POLLIN, .revents = 0});
            ::poll(items.data(), items.size(), 10);
            for (size_t i = items.size() - 1; i > 0; --i) {
                if (items[i].revents != 0 && !serve(peers[i - 1]))
                    peers.erase(peers.begin() + static_cast<std::ptrdiff_t>(i - 1));
            }
            if (items[0].revents != 0)
                peers.push_back(
                    {.fd = UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)), .input = {}});
        }
    }

    bool serve(Peer& peer) {
        std::string piece(65'536, '\0');
        const ssize_t got = ::recv(peer.fd.get(), piece.data(), piece.size(), MSG_DONTWAIT);
        if (got <= 0)
            return false;
        peer.input.append(piece, 0, static_cast<size_t>(got));
        for (;;) {
            const size_t end = peer.input.find("\r\n\r\n");
            if (end == std::string::npos)
                return true;
            const std::string head = peer.input.substr(0, end);
            const std::string length = field(head, "content-length");
            const size_t body = length.empty() ? 0 : std::stoul(length);
            if (peer.input.size() < end + 4 + body)
                return true;
            answer(peer, head, peer.input.substr(end + 4, body));
            peer.input.erase(0, end + 4 + body);
        }
    }

    static std::string field(const std::string& head, const std::string& name) {
        std::string lower = head;
        std::ranges::transform(lower, lower.begin(),
                               [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        const size_t at = lower.find("\r\n" + name + ": ");
        if (at == std::string::npos)
            return "";
        const size_t from = at + name.size() + 4;
        return head.substr(from, head.find("\r\n", from) - from);
    }

    void answer(Peer& peer, const std::string& head, std::string body) {
        const size_t space = head.find(' ');
        const Received got{.method = head.substr(0, space),
                           .target = head.substr(space + 1, head.find(' ', space + 1) - space - 1),
                           .content_type = field(head, "content-type"),
                           .body = std::move(body)};
        {
            const std::lock_guard lock(mutex_);
            received_.push_back(got); // before anybody sees what comes of it
        }
        const Reply reply = answer_(got);
        const std::string text = "HTTP/1.1 " + std::to_string(reply.status) + " X\r\n" + reply.head +
                                 "Content-Length: " + std::to_string(reply.body.size()) + "\r\n\r\n" + reply.body;
        for (size_t sent = 0; sent < text.size();) {
            const ssize_t n = ::send(peer.fd.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
            if (n <= 0)
                return;
            sent += static_cast<size_t>(n);
        }
    }

    const Answer answer_;
    std::mutex mutex_;
    std::vector<Received> received_;
    UniqueFd listener_;
    uint16_t port_ = 0;
    std::jthread thread_;
};

} // namespace weft::agent::kube::test
