// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nghttp2/nghttp2.h>

#include <array>
#include <string_view>
#include <vector>

#include "config/base/error.hpp"
#include "l7engine/http/head.hpp"

namespace weft::l7::h2 {

inline constexpr size_t sent_head_bytes_max = 128 * 1024; ///< names, values and 32 per field

/// A header block to send, as nghttp2 takes it: views of the Head or Trailers that it was made from. Checks what goes
/// out wherever it comes from (Code::invalid), and leaves out what belongs to the framing of a connection. One per
/// connection, used again.
class FieldList {
public:
    /// `tunnel`: as an extended CONNECT.
    [[nodiscard]] Result<void> set_request(const Head& head, bool tunnel, bool last);
    /// `tunnel`: the reply to an extended CONNECT, whose 101 is written as 200.
    [[nodiscard]] Result<void> set_response(const Head& head, bool tunnel);
    [[nodiscard]] Result<void> set_trailers(const Trailers& trailers);
    void set_status(uint16_t status); ///< a bare reply

    [[nodiscard]] const nghttp2_nv* data() const { return fields_.data(); }
    [[nodiscard]] size_t size() const { return fields_.size(); }

private:
    using Digits = std::array<char, 20>;

    void clear();
    void add(std::string_view name, std::string_view value);
    void add_number(std::string_view name, uint64_t value, Digits& digits);
    Result<void> add_headers(const Headers& headers, bool request);

    std::vector<nghttp2_nv> fields_;
    size_t bytes_ = 0;
    Digits status_{}, length_{};
};

} // namespace weft::l7::h2
