// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "agent/kube/http.hpp"

namespace weft::agent::kube {

struct Answer {
    Outcome outcome; ///< `error` also says that the body was too long
    std::string body;
    [[nodiscard]] bool ok() const { return outcome.status / 100 == 2 && outcome.error.empty(); }
};

/// Requests whose answers are taken whole: what reads and writes single objects needs, beside Http's streams. One
/// thread uses it; wake() is for any.
class Client {
public:
    using Done = std::move_only_function<void(const Answer&)>;

    explicit Client(ApiServer server);
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
    ~Client();

    /// `done` is called by turn(), once, and may call again; not when the client ends first.
    void call(const Request& request, Done done);
    /// Moves all calls on; waits for at most that long, or until wake().
    void turn(int timeout_ms) { http_.turn(timeout_ms); }
    void wake() { http_.wake(); }
    [[nodiscard]] size_t under_way() const { return calls_.size(); }

private:
    class Call;
    std::list<std::unique_ptr<Call>> calls_; ///< before http_, which refers to them until it ends
    Http http_;
};

} // namespace weft::agent::kube
