// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace weft::agent::metrics {

/// The agent's HTTP side: GET /metrics, /readyz, /healthz and nothing else. Handlers are called on the server's own
/// threads, at most http_threads at once; they must not outlive what they refer to, so stop() comes first.
class HttpServer {
public:
    struct Answer {
        bool good = true; ///< 200, else 503
        std::string text; ///< one line
    };
    struct Handlers {
        std::function<std::string()> metrics;
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
