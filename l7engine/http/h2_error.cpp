// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/h2_error.hpp"

#include <nghttp2/nghttp2.h>

#include <iterator>

namespace weft::l7::h2 {

const char* code_name(uint32_t code) {
    static constexpr const char* names[] = {
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    };
    return code < std::size(names) ? names[code] : "unknown HTTP/2 error";
}

uint32_t code_for(const Error& error) {
    switch (error.code) {
    case Code::canceled:
    case Code::timeout:
    case Code::denied: return NGHTTP2_CANCEL;
    // Only where the caller knows that nothing was done, is "refused" true: the peer sends the request again.
    case Code::refused:
    case Code::unavailable: return error.retryable ? NGHTTP2_REFUSED_STREAM : NGHTTP2_INTERNAL_ERROR;
    case Code::malformed: return error.side == Side::self ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_PROTOCOL_ERROR;
    case Code::too_large: return NGHTTP2_ENHANCE_YOUR_CALM;
    case Code::invalid:
    case Code::reset:
    case Code::eof:
    case Code::tls:
    case Code::kernel: break;
    }
    return NGHTTP2_INTERNAL_ERROR;
}

Error peer_reset(uint32_t code, Side peer) {
    const bool refused = code == NGHTTP2_REFUSED_STREAM;
    return {.code = refused ? Code::refused : Code::reset,
            .side = peer,
            .retryable = refused && peer == Side::upstream,
            .detail = static_cast<int32_t>(code),
            .during = code_name(code)};
}

Error peer_fault(uint32_t code, Side peer, const char* during) {
    const bool much = code == NGHTTP2_ENHANCE_YOUR_CALM;
    return {.code = much ? Code::too_large : Code::malformed,
            .side = peer,
            .detail = static_cast<int32_t>(code),
            .during = during};
}

} // namespace weft::l7::h2
