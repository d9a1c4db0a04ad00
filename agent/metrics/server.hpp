// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>

namespace weft::agent::metrics {

/// Pages written at once. Each costs memory; a third scrape is answered 503, so that probes find a thread.
inline constexpr int pages_max = 2;
/// Connections served at once. One that is silent keeps its thread for http_wait_ms.
inline constexpr int http_threads = 16;
inline constexpr int http_wait_ms = 1000;
/// Whoever takes a page more slowly is cut off.
inline constexpr uint64_t page_ms_max = 15'000;

/// The agent's HTTP side: GET /metrics, /readyz, /healthz and nothing else. Handlers are called on the server's own
/// threads, at most http_threads at once; they must not outlive what they refer to, so stop() comes first.
class HttpServer {
public:
    struct Answer {
        bool good = true; ///< 200, else 503
        std::string text; ///< one line
    };
    struct Handlers {
        std::function<void(std::ostream&)> metrics; ///< what it writes is sent as it comes
        std::function<void()> busy;                 ///< a scrape was refused: pages_max are being written already
        std::function<Answer()> ready;
        std::function<Answer()> healthy;
    };

    /// `address`: "ADDRESS:PORT", IPv6 in brackets; port 0 lets the kernel choose. The error is one line for people.
    [[nodiscard]] static std::expected<std::unique_ptr<HttpServer>, std::string> start(std::string_view address,
                                                                                       Handlers handlers);
    ~HttpServer();
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    void stop();
    /// The port in use.
    [[nodiscard]] uint16_t port() const { return port_; }

private:
    explicit HttpServer(Handlers handlers);
    struct Library;
    Handlers handlers_;
    std::unique_ptr<Library> library_;
    uint16_t port_ = 0;
};

} // namespace weft::agent::metrics
