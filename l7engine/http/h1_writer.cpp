// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/h1_writer.hpp"

#include <charconv>
#include <cstring>
#include <string_view>

namespace weft::l7::h1 {
namespace {

/// Room for everything in a head that is not method, path, authority or a field: fixed text and the codec's own fields.
constexpr size_t own_fields_bytes_max = 256;
/// A piece of body up to this size is copied next to its framing: it costs less than a slice and an iovec of its own,
/// and its buffer is free at once.
constexpr size_t copied_bytes_max = 512;
constexpr size_t chunk_framing_bytes_max = 16 + 2 + 2; ///< size in hexadecimal, CRLF before and behind the data

std::string_view reason_phrase(uint16_t status);

/// Appends into room that was reserved for the whole head.
class Pen {
public:
    explicit Pen(char* at) : begin_(at), at_(at) {}

    Pen& text(std::string_view text) {
        at_ = copy_text(at_, text);
        return *this;
    }
    Pen& number(uint64_t value, int base = 10) {
        at_ = std::to_chars(at_, at_ + 20, value, base).ptr;
        return *this;
    }
    /// Cheaper than text(): a size that the compiler knows.
    template <size_t size>
    Pen& literal(const char (&text)[size]) {
        std::memcpy(at_, text, size - 1);
        at_ += size - 1;
        return *this;
    }
    Pen& field(std::string_view name, std::string_view value) {
        return text(name).literal(": ").text(value).literal("\r\n");
    }
    [[nodiscard]] size_t size() const { return static_cast<size_t>(at_ - begin_); }

private:
    char* begin_;
    char* at_;
};

size_t fields_size(const Headers& headers) {
    return headers.bytes() + headers.size() * 4;
}

/// Joins what stands one behind the other in memory: nearly all of a head that is passed on is one copy.
class LineCopier {
public:
    explicit LineCopier(Pen& pen) : pen_(pen) {}
    void add(std::string_view line) {
        if (line.data() != lines_.data() + lines_.size())
            flush();
        lines_ = lines_.empty() ? line : std::string_view(lines_.data(), lines_.size() + line.size());
    }
    void flush() {
        pen_.text(lines_);
        lines_ = {};
    }

private:
    Pen& pen_;
    std::string_view lines_;
};

/// The owner's fields. Those of framing and connection are the codec's business and are passed over.
Result<void> write_fields(Pen& pen, const Headers& headers, bool request) {
    bool te = false;
    LineCopier copier(pen);
    for (size_t i = 0; i < headers.size(); ++i) {
        const std::string_view line = headers.line(i);
        if (!headers.is_checked(i)) {
            const std::string_view name = headers.name(i);
            const std::string_view value = headers.value(i);
            if (!is_token(name) || !is_field_value(value))
                return fail(Code::invalid, "header to send");
            const Known known = known_field(name);
            te = te || (known == Known::te && request && equal_ignoring_case(value, "trailers"));
            if (known != Known::other)
                continue;
        }
        if (!line.empty()) {
            copier.add(line);
        } else { // other blanks around the value than one before it
            copier.flush();
            pen.field(headers.name(i), headers.value(i));
        }
    }
    copier.flush();
    if (te)
        pen.literal("TE: trailers\r\nConnection: TE\r\n"); // RFC 9110 10.1.4: TE must be nominated
    return {};
}

void write_own_fields(Pen& pen, const H1Writer::Options& options) {
    if (options.say_length)
        pen.literal("Content-Length: ").number(options.length).literal("\r\n");
    else if (options.framing == Framing::chunked)
        pen.literal("Transfer-Encoding: chunked\r\n");
    if (!options.upgrade.empty())
        pen.literal("Connection: upgrade\r\n").field("Upgrade", options.upgrade);
    else if (options.connection == H1Writer::Connection::close)
        pen.literal("Connection: close\r\n");
    else if (options.connection == H1Writer::Connection::keep_alive)
        pen.literal("Connection: keep-alive\r\n");
}

bool is_sendable_request(const Head& head) {
    const bool path = head.path == "*" ? head.method == "OPTIONS" : head.path.starts_with('/');
    return is_token(head.method) && head.method != "CONNECT" && path && is_target(head.path) &&
           is_authority(head.authority);
}

bool is_sendable_status(uint16_t status) {
    return status >= 100 && status <= 999;
}

void write_status_line(Pen& pen, uint16_t status) {
    pen.literal("HTTP/1.1 ").number(status).literal(" ").text(reason_phrase(status)).literal("\r\n");
}

} // namespace

Result<void> H1Writer::write_request(const Head& head, const Options& options) {
    if (!is_sendable_request(head))
        return fail(Code::invalid, "request to send");
    Pen pen(queue_.reserve(head.method.size() + head.path.size() + head.authority.size() + fields_size(head.headers) +
                           own_fields_bytes_max));
    pen.text(head.method).literal(" ").text(head.path).literal(" HTTP/1.1\r\n").field("Host", head.authority);
    if (const Result<void> fields = write_fields(pen, head.headers, true); !fields)
        return fields;
    write_own_fields(pen, options);
    if (head.expect_continue && options.framing != Framing::none)
        pen.literal("Expect: 100-continue\r\n");
    pen.literal("\r\n");
    queue_.commit(pen.size());
    begin_body(options);
    return {};
}

Result<void> H1Writer::write_response(const Head& head, const Options& options) {
    if (!is_sendable_status(head.status) || (head.status == 101) == options.upgrade.empty())
        return fail(Code::invalid, "status to send");
    Pen pen(queue_.reserve(fields_size(head.headers) + own_fields_bytes_max));
    write_status_line(pen, head.status);
    if (const Result<void> fields = write_fields(pen, head.headers, false); !fields)
        return fields;
    write_own_fields(pen, options);
    pen.literal("\r\n");
    queue_.commit(pen.size());
    begin_body(options);
    return {};
}

Result<void> H1Writer::write_informational(const Head& head) {
    const Options options;
    const bool in_body = in_body_;
    const Result<void> written = write_response(head, options);
    in_body_ = in_body;
    return written;
}

void H1Writer::begin_body(const Options& options) {
    framing_ = options.framing;
    left_ = options.length;
    discard_body_ = options.discard_body;
    in_body_ = options.framing != Framing::none || options.discard_body;
}

Result<void> H1Writer::write_data(Slice&& data, bool last) {
    if (!in_body_)
        return fail(Code::invalid, "data without a head");
    const bool more = !data.empty() && !discard_body_;
    if (more && framing_ == Framing::fixed) {
        if (data.size() > left_)
            return fail(Code::invalid, "more data than content-length");
        left_ -= data.size();
    }
    if (more)
        queue_data(std::move(data));
    if (!last)
        return {};
    if (framing_ == Framing::chunked && !discard_body_)
        queue_.append("0\r\n\r\n");
    return end_body();
}

void H1Writer::queue_data(Slice&& data) {
    const bool chunked = framing_ == Framing::chunked;
    const bool copied = data.size() <= copied_bytes_max;
    if (chunked || copied) {
        Pen pen(queue_.reserve(chunk_framing_bytes_max + (copied ? data.size() : 0)));
        if (chunked)
            pen.number(data.size(), 16).literal("\r\n");
        if (copied)
            pen.text(data.text());
        if (copied && chunked)
            pen.literal("\r\n");
        queue_.commit(pen.size());
    }
    if (copied)
        return;
    queue_.append(std::move(data));
    if (chunked)
        queue_.append("\r\n");
}

Result<void> H1Writer::write_trailers(const Trailers& trailers) {
    if (!in_body_)
        return fail(Code::invalid, "trailers without a head");
    if (framing_ != Framing::chunked || discard_body_)
        return end_body();
    Pen pen(queue_.reserve(fields_size(trailers) + own_fields_bytes_max));
    pen.literal("0\r\n");
    for (size_t i = 0; i < trailers.size(); ++i) {
        if (!is_token(trailers.name(i)) || !is_field_value(trailers.value(i)))
            return fail(Code::invalid, "trailer to send");
        if (!is_forbidden_trailer(trailers.name(i)))
            pen.field(trailers.name(i), trailers.value(i));
    }
    pen.literal("\r\n");
    queue_.commit(pen.size());
    return end_body();
}

Result<void> H1Writer::end_body() {
    in_body_ = false;
    if (framing_ == Framing::fixed && !discard_body_ && left_ > 0)
        return fail(Code::invalid, "less data than content-length");
    return {};
}

namespace {

std::string_view reason_phrase(uint16_t status) {
    switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 102: return "Processing";
    case 103: return "Early Hints";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 203: return "Non-Authoritative Information";
    case 204: return "No Content";
    case 205: return "Reset Content";
    case 206: return "Partial Content";
    case 207: return "Multi-Status";
    case 208: return "Already Reported";
    case 226: return "IM Used";
    case 300: return "Multiple Choices";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 305: return "Use Proxy";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 407: return "Proxy Authentication Required";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Payload Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 418: return "I'm a teapot";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Entity";
    case 423: return "Locked";
    case 424: return "Failed Dependency";
    case 425: return "Too Early";
    case 426: return "Upgrade Required";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 451: return "Unavailable For Legal Reasons";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 507: return "Insufficient Storage";
    case 508: return "Loop Detected";
    case 511: return "Network Authentication Required";
    default: return "Unknown";
    }
}

} // namespace
} // namespace weft::l7::h1
