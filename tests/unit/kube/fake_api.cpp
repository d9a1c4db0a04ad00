// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/kube/fake_api.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "tests/unit/kube/loopback_listener.hpp"

namespace weft::agent::kube::test {
namespace {

std::string chunk(const std::string& data) {
    char size[32];
    std::snprintf(size, sizeof size, "%zx\r\n", data.size());
    return size + data + "\r\n";
}

void write_all(const UniqueFd& fd, const std::string& text) {
    for (size_t sent = 0; sent < text.size();) {
        const ssize_t n = ::send(fd.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        sent += static_cast<size_t>(n);
    }
}

} // namespace

FakeApi::FakeApi() {
    open();
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

FakeApi::~FakeApi() = default;

void FakeApi::open() {
    listener_ = loopback_listener(port_);
}

void FakeApi::set(const std::string& plural, const std::string& items, int status) {
    const std::lock_guard lock(mutex_);
    kinds_[plural].items = items;
    kinds_[plural].status = status;
    ++version_;
}

void FakeApi::push(const std::string& plural, const std::string& type, const std::string& object) {
    const std::lock_guard lock(mutex_);
    kinds_[plural].events.emplace_back(++version_, R"({"type":")" + type + R"(","object":)" + object + "}\n");
    for (Peer& peer : peers_)
        feed(peer);
}

void FakeApi::set_down(bool down) {
    const std::lock_guard lock(mutex_);
    down_ = down;
    peers_.clear();
    if (down)
        listener_.reset();
    else
        open();
}

size_t FakeApi::watches(const std::string& plural) {
    const std::lock_guard lock(mutex_);
    return static_cast<size_t>(std::ranges::count(peers_, plural, &Peer::watched));
}

size_t FakeApi::lists(const std::string& plural) {
    const std::lock_guard lock(mutex_);
    return kinds_[plural].lists;
}

void FakeApi::run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
        std::vector<pollfd> items;
        {
            const std::lock_guard lock(mutex_);
            items.push_back({.fd = listener_.get(), .events = POLLIN, .revents = 0});
            for (const Peer& peer : peers_)
                items.push_back({.fd = peer.fd.get(), .events = POLLIN, .revents = 0});
        }
        ::poll(items.data(), items.size(), 10);
        const std::lock_guard lock(mutex_);
        std::erase_if(peers_, [&](Peer& peer) {
            pollfd now{.fd = peer.fd.get(), .events = POLLIN, .revents = 0};
            return ::poll(&now, 1, 0) == 1 && !serve(peer);
        });
        pollfd door{.fd = listener_.get(), .events = POLLIN, .revents = 0};
        if (listener_ && ::poll(&door, 1, 0) == 1) {
            UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            if (fd)
                peers_.push_back({.fd = std::move(fd), .input = {}, .watched = {}, .seen = 0});
        }
    }
}

bool FakeApi::serve(Peer& peer) {
    char piece[4096];
    const ssize_t got = ::recv(peer.fd.get(), piece, sizeof piece, MSG_DONTWAIT);
    if (got <= 0)
        return false;
    peer.input.append(piece, static_cast<size_t>(got));
    for (size_t end = peer.input.find("\r\n\r\n"); end != std::string::npos; end = peer.input.find("\r\n\r\n")) {
        const std::string head = peer.input.substr(0, end);
        peer.input.erase(0, end + 4);
        answer(peer, head.substr(4, head.find(' ', 4) - 4));
    }
    return true;
}

void FakeApi::answer(Peer& peer, const std::string& target) {
    const std::string path = target.substr(0, target.find('?'));
    Kind& kind = kinds_[path.substr(path.rfind('/') + 1)];
    if (target.find("watch=true") != std::string::npos) {
        peer.watched = path.substr(path.rfind('/') + 1);
        peer.seen = std::strtoull(target.c_str() + target.find("resourceVersion=") + 16, nullptr, 10);
        write_all(peer.fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        return feed(peer);
    }
    ++kind.lists;
    const std::string body =
        R"({"metadata":{"resourceVersion":")" + std::to_string(version_) + R"("},"items":[)" + kind.items + "]}";
    const std::string status = kind.status == 200 ? "200 OK" : std::to_string(kind.status) + " No";
    write_all(peer.fd, "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
}

void FakeApi::feed(Peer& peer) {
    if (peer.watched.empty())
        return;
    for (const auto& [version, line] : kinds_[peer.watched].events) {
        if (version > peer.seen)
            write_all(peer.fd, chunk(line));
    }
    peer.seen = version_;
}

} // namespace weft::agent::kube::test
