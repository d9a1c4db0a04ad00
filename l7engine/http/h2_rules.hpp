// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/base/error.hpp"
#include "l7engine/http/h2_codec.hpp"
#include "l7engine/http/head.hpp"

/// The rules between a decoded header block and our Head or Trailers (RFC 9113 8): pure, and complete without
/// nghttp2's.
namespace weft::l7::h2 {

/// Takes the fields of one header block in order; the first fault counts. A fault's `detail` is PROTOCOL_ERROR: the
/// message is malformed; or the status, from 400 on, that a server answers.
class BlockReader {
public:
    enum class Kind : uint8_t { request, response, trailers };

    explicit BlockReader(const H2Settings& settings) : settings_(settings) {}

    void start(Kind kind);
    void add(std::string_view name, std::string_view value);

    /// `last`: no body follows.
    [[nodiscard]] Result<Head> finish_request(bool last);
    /// A 2xx to an extended CONNECT becomes 101.
    [[nodiscard]] Result<Head> finish_response(bool tunnel);
    [[nodiscard]] Result<Trailers> finish_trailers();

private:
    void forget();
    struct Pseudo {
        std::optional<std::string> method, path, scheme, authority, protocol, status;
    };

    Result<void> check(std::string_view name, std::string_view value);
    Result<void> check_size(std::string_view name, std::string_view value);
    Result<void> add_pseudo(std::string_view name, std::string_view value);
    Result<void> add_field(std::string_view name, std::string_view value);
    Result<void> add_content_length(std::string_view value);
    Result<void> add_expect(std::string_view value);
    Result<void> set_authority(Head& head) const;
    Result<void> set_target(Head& head) const;
    Result<void> set_connect(Head& head) const;

    const H2Settings settings_;
    Kind kind_ = Kind::request;
    std::optional<Error> fault_;
    size_t bytes_ = 0, fields_ = 0;
    bool regular_seen_ = false;
    Pseudo pseudo_;
    std::optional<std::string> host_, cookie_;
    std::optional<uint64_t> content_length_;
    bool te_trailers_ = false, expect_continue_ = false, expect_other_ = false;
    Headers headers_;
};

} // namespace weft::l7::h2
