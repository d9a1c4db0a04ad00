// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <memory>

#include "l7engine/http/h2_codec.hpp"

namespace weft::l7::h2 {

enum class Role : uint8_t { server, client };

/// Throws on out of memory; the other failures of nghttp2's submit functions are answers, returned.
int checked(int result);

struct SessionDeleter {
    void operator()(nghttp2_session* session) const { nghttp2_session_del(session); }
};
using Session = std::unique_ptr<nghttp2_session, SessionDeleter>;

/// nghttp2 with our options; `user_data` comes back in each callback.
[[nodiscard]] Session make_session(Role role, const nghttp2_session_callbacks* callbacks, const H2Settings& settings,
                                   void* user_data);
/// Queues our first SETTINGS and the connection's window.
void announce(nghttp2_session* session, Role role, const H2Settings& settings);
/// In the bytes of a server's first SETTINGS: the limit of streams that the peer reads. nghttp2 itself is given a
/// higher one, because what is above its limit it takes as a connection error, where RFC 9113 5.1.2 has a stream error.
void write_streams_max(uint8_t* settings_frame, size_t size, uint32_t streams_max);

} // namespace weft::l7::h2
