// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "agent/kube/api_server.hpp"

namespace weft::agent::kube {

/// Requests one after another, each waited for: for programs that ask a few questions and end. The agent's own go
/// through Http. One connection is kept. One thread.
class Requests {
public:
    struct Answer {
        int status = 0;    ///< of HTTP; 0: there was none
        std::string body;  ///< whatever the status
        std::string error; ///< why there is no whole answer; empty: there is
    };

    /// `timeout_ms`: of one request, connecting included.
    Requests(ApiServer server, uint32_t timeout_ms);
    Requests(const Requests&) = delete;
    Requests& operator=(const Requests&) = delete;
    ~Requests();

    /// `accept`: media types, in the order of preference.
    [[nodiscard]] Answer get(const std::string& path, const std::string& accept = "application/json");
    [[nodiscard]] Answer post(const std::string& path, const std::string& json);
    [[nodiscard]] Answer remove(const std::string& path);

private:
    struct State;
    [[nodiscard]] Answer send(const std::string& path, const std::string& accept, const std::string* json,
                              const char* method = nullptr);

    std::unique_ptr<State> state_;
};

} // namespace weft::agent::kube
