// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "config/base/unique_fd.hpp"

namespace weft::agent::kube::test {

/// As much of an API server as a list and watch needs: HTTP/1.1 on loopback, one thread. Kinds go by their plural.
class FakeApi {
public:
    FakeApi();
    ~FakeApi();
    FakeApi(const FakeApi&) = delete;
    FakeApi& operator=(const FakeApi&) = delete;

    [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
    /// What a list of the kind gives from now on; without a call it is empty. `status` other than 200: no list.
    void set(const std::string& plural, const std::string& items, int status = 200);
    /// An event for every watch of the kind that is open, and for those that begin with an older version.
    void push(const std::string& plural, const std::string& type, const std::string& object);
    /// Every connection breaks, and while `down` nobody is answered.
    void set_down(bool down);
    [[nodiscard]] size_t watches(const std::string& plural);
    [[nodiscard]] size_t lists(const std::string& plural);

private:
    struct Kind {
        std::string items;
        int status = 200;
        size_t lists = 0;
        std::vector<std::pair<uint64_t, std::string>> events; ///< by version
    };
    struct Peer {
        UniqueFd fd;
        std::string input;
        std::string watched; ///< plural; empty: no watch
        uint64_t seen = 0;
    };

    void run(const std::stop_token& stop);
    bool serve(Peer& peer);
    void answer(Peer& peer, const std::string& target);
    void feed(Peer& peer);
    void open();

    std::mutex mutex_;
    std::map<std::string, Kind> kinds_;
    std::vector<Peer> peers_;
    uint64_t version_ = 100;
    uint16_t port_ = 0;
    UniqueFd listener_;
    bool down_ = false;
    std::jthread thread_;
};

} // namespace weft::agent::kube::test
