// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/sniff.hpp"

#include <algorithm>
#include <string_view>

namespace weft::l7 {
namespace {

/// Longer than any registered method: what goes on for longer without a space is no request line.
constexpr size_t method_bytes_max = 24;
constexpr size_t blank_lines_max = 4; ///< the HTTP/1 codec skips that many before a request line

constexpr unsigned char tls_handshake = 22;
constexpr unsigned char tls_major = 3;
constexpr unsigned char tls_client_hello = 1;
constexpr size_t tls_record_head = 5;

unsigned char at(std::string_view text, size_t index) {
    return static_cast<unsigned char>(text[index]);
}

/// content type, version, record length, then the type of the handshake message.
Sniffed sniff_tls(std::string_view text) {
    if (text.size() > 1 && at(text, 1) != tls_major)
        return Sniffed::tcp;
    if (text.size() <= tls_record_head)
        return Sniffed::more;
    const size_t length = static_cast<size_t>(at(text, 3)) << 8 | at(text, 4);
    return at(text, tls_record_head) == tls_client_hello && length > 0 ? Sniffed::tls : Sniffed::tcp;
}

/// Upper-case methods only: "get key" is another protocol's. Ours to refuse or not is the codec's business.
bool is_method_character(char c) {
    return (c >= 'A' && c <= 'Z') || c == '-';
}

/// Other line protocols begin with upper-case words too ("GET key"): only the version at the end of the line tells.
Sniffed sniff_request_line(std::string_view text) {
    const auto* const end = std::find_if_not(text.begin(), text.end(), is_method_character);
    const auto method = static_cast<size_t>(end - text.begin());
    if (method > method_bytes_max)
        return Sniffed::tcp;
    if (method == text.size())
        return Sniffed::more;
    if (method == 0 || text[method] != ' ')
        return Sniffed::tcp;
    // A line that ends beyond the limit has been called HTTP/1 before its end came.
    const size_t newline = text.substr(0, sniff_bytes_max).find('\n');
    if (newline == std::string_view::npos)
        return text.size() < sniff_bytes_max ? Sniffed::more : Sniffed::http1;
    std::string_view line = text.substr(0, newline);
    if (line.ends_with('\r'))
        line.remove_suffix(1);
    const size_t last_space = line.rfind(' ');
    return line.substr(last_space + 1).starts_with("HTTP/") ? Sniffed::http1 : Sniffed::tcp;
}

} // namespace

Sniffed sniff(Bytes bytes) {
    std::string_view text = as_text(bytes);
    if (text.empty())
        return Sniffed::more;
    if (at(text, 0) == tls_handshake)
        return sniff_tls(text);
    if (http2_preface.starts_with(text.substr(0, http2_preface.size())))
        return text.size() < http2_preface.size() ? Sniffed::more : Sniffed::http2;
    for (size_t blank = 0; blank < blank_lines_max && text.starts_with("\r\n"); ++blank)
        text.remove_prefix(2);
    if (text.empty() || text == "\r")
        return Sniffed::more;
    return sniff_request_line(text);
}

} // namespace weft::l7
