// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "config/base/error.hpp"
#include "l7engine/http/h1_message.hpp"
#include "l7engine/http/head.hpp"
#include "l7engine/http/out_queue.hpp"

namespace weft::l7::h1 {

/// The sending half of an HTTP/1 connection. Writes canonical framing, and nothing that the next reader could take for
/// more than one message: names, values and targets are checked here, wherever they come from (Code::invalid).
class H1Writer {
public:
    enum class Connection : uint8_t { implied, close, keep_alive };
    struct Options {
        Framing framing = Framing::none;
        uint64_t length = 0;     ///< Framing::fixed
        bool say_length = false; ///< write Content-Length: `length`, also if there is no body
        Connection connection = Connection::implied;
        bool discard_body = false;     ///< the reply to HEAD: data is taken and dropped
        std::string_view upgrade = {}; ///< write Connection: upgrade and Upgrade
    };

    [[nodiscard]] Result<void> write_request(const Head& head, const Options& options);
    [[nodiscard]] Result<void> write_response(const Head& head, const Options& options);
    /// An informational head: changes nothing about the body that follows later.
    [[nodiscard]] Result<void> write_informational(const Head& head);
    /// Bytes of a tunnel.
    void write_raw(Slice&& data) {
        if (!data.empty())
            queue_.append(std::move(data));
    }
    [[nodiscard]] Result<void> write_data(Slice&& data, bool last);
    /// Dropped, though the message ends, if the framing has no place for them.
    [[nodiscard]] Result<void> write_trailers(const Trailers& trailers);

    [[nodiscard]] const OutQueue& queue() const { return queue_; }
    [[nodiscard]] OutQueue& queue() { return queue_; }

private:
    void begin_body(const Options& options);
    void queue_data(Slice&& data);
    Result<void> end_body();

    OutQueue queue_;
    Framing framing_ = Framing::none;
    bool in_body_ = false; ///< a head is written and its body is not ended
    bool discard_body_ = false;
    uint64_t left_ = 0;
};

} // namespace weft::l7::h1
