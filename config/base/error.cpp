// SPDX-License-Identifier: Apache-2.0
#include "config/base/error.hpp"

#include <cerrno>
#include <cstring>

namespace weft {

const char* name(Code code) {
    using enum Code;
    switch (code) {
    case invalid: return "invalid";
    case malformed: return "malformed";
    case too_large: return "too_large";
    case timeout: return "timeout";
    case refused: return "refused";
    case reset: return "reset";
    case eof: return "eof";
    case tls: return "tls";
    case denied: return "denied";
    case unavailable: return "unavailable";
    case canceled: return "canceled";
    case kernel: return "kernel";
    }
    return "unknown";
}

std::string to_string(const Error& error) {
    std::string text = std::string(error.during) + ": " + name(error.code);
    if (error.detail != 0)
        text += std::string(" (") + std::strerror(error.detail < 0 ? -error.detail : error.detail) + ")";
    return text;
}

Error from_errno(int error_number, const char* during, Side side) {
    Code code = Code::kernel;
    switch (error_number) {
    case ECONNREFUSED:
    case EPERM:
    case EACCES: code = Code::refused; break;
    case ECONNRESET:
    case EPIPE:
    case ECONNABORTED: code = Code::reset; break;
    case ETIMEDOUT: code = Code::timeout; break;
    case ECANCELED: code = Code::canceled; break;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case EADDRNOTAVAIL: code = Code::unavailable; break;
    default: break;
    }
    return Error{.code = code, .side = side, .detail = error_number, .during = during};
}

} // namespace weft
