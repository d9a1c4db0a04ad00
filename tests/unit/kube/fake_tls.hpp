// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "config/base/unique_fd.hpp"

namespace weft::agent::kube::test {

/// A key and a certificate that it has signed itself: whoever trusts that trusts the server. `names` as OpenSSL has
/// them: "DNS:a.example", "IP:127.0.0.1".
class Certificate {
public:
    explicit Certificate(const std::string& names);
    Certificate(const Certificate&) = delete;
    Certificate& operator=(const Certificate&) = delete;
    ~Certificate();
    [[nodiscard]] std::string pem() const;

private:
    friend class FakeTls;
    struct State;
    std::unique_ptr<State> state_;
};

/// HTTP/1.1 over TLS on loopback, one thread: each connection gets one answer, "ok", and ends.
class FakeTls {
public:
    explicit FakeTls(const Certificate& certificate);
    FakeTls(const FakeTls&) = delete;
    FakeTls& operator=(const FakeTls&) = delete;

    [[nodiscard]] std::string url() const { return "https://127.0.0.1:" + std::to_string(port_); }
    /// From the next connection on. It must outlive the server.
    void use(const Certificate& certificate);
    [[nodiscard]] std::string server_name(); ///< that the last client asked for
    [[nodiscard]] std::string head();        ///< of the last request

private:
    void run(const std::stop_token& stop);
    void serve(int fd);

    std::mutex mutex_;
    const Certificate* certificate_;
    std::string server_name_;
    std::string head_;
    UniqueFd listener_;
    uint16_t port_ = 0;
    std::jthread thread_;
};

} // namespace weft::agent::kube::test
