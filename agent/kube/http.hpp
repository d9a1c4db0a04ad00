// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "agent/kube/api_server.hpp"
#include "agent/kube/reflector.hpp"

namespace weft::agent::kube {

inline constexpr uint32_t request_timeout_ms = 60'000;

struct Request {
    std::string method = "GET";
    std::string path;           ///< with its query
    std::string content_type{}; ///< of the body
    std::string body{};
    uint32_t timeout_ms = request_timeout_ms; ///< as a whole
    bool endless = false;                     ///< a watch, which has no limit of time as a whole, only of silence
};

/// Requests to one API server over libcurl: HTTP/2, one at a time on a connection, which then is the next one's. Where
/// several share one, libcurl 7.88 may leave a request alone with data that it has read already, until something else
/// comes on that connection: of seven lists of 10,000 pods beside idle watches, four stood still for a minute. One
/// thread uses it; wake() is for any.
class Http {
public:
    /// Gets what a request brings, on the thread that turns. Lives until ended(), or until the Http ends.
    class Receiver {
    public:
        virtual ~Receiver() = default;
        /// The head of the answer is there.
        virtual void began(int status) = 0;
        /// False: enough; ended() follows.
        [[nodiscard]] virtual bool take_piece(int status, std::string_view piece) = 0;
        /// The last call for this request; the receiver may begin the next one in it.
        virtual void ended(const Outcome& outcome) = 0;
    };

    explicit Http(ApiServer server);
    Http(const Http&) = delete;
    Http& operator=(const Http&) = delete;
    ~Http();

    /// `request` is copied.
    void begin(const Request& request, Receiver& receiver);
    /// Moves all requests on; waits for at most that long, or until wake().
    void turn(int timeout_ms);
    void wake();

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace weft::agent::kube
