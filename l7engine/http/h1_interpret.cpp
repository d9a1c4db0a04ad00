// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/h1_message.hpp"

namespace weft::l7::h1 {
namespace {

/// Removes what Connection nominated; Keep-Alive, Upgrade and the like never came into the headers.
Result<void> remove_hop_by_hop(RawHead& raw) {
    if (raw.connection.malformed)
        return refuse(400, "connection");
    for (const std::string_view name : raw.connection.nominated)
        raw.headers.remove(name);
    return {};
}

struct Length {
    bool chunked = false;
    std::optional<uint64_t> fixed;
};

/// Content-Length and Transfer-Encoding, where any doubt is an error (RFC 9112 6.3).
Result<Length> read_length(const RawHead& raw) {
    Length length;
    if (raw.codings.present()) {
        if (raw.content_length_count > 0 || raw.minor == 0)
            return refuse(400, "transfer-encoding");
        if (const Result<void> codings = raw.codings.check(); !codings)
            return std::unexpected(codings.error());
        length.chunked = true;
    }
    if (raw.content_length_count > 1)
        return refuse(400, "content-length");
    if (raw.content_length_count == 1) {
        length.fixed = parse_content_length(raw.content_length);
        if (!length.fixed)
            return refuse(400, "content-length");
    }
    return length;
}

void set_framing(Message& message, const Length& length, const ConnectionOptions& options) {
    if (length.chunked) {
        message.framing = Framing::chunked;
        message.nominated.assign(options.nominated.begin(), options.nominated.end());
    } else if (length.fixed && *length.fixed > 0) {
        message.framing = Framing::fixed;
        message.length = *length.fixed;
    }
    message.head.content_length = length.fixed;
}

bool keeps_alive(const RawHead& raw) {
    return !raw.connection.close && (raw.minor > 0 || raw.connection.keep_alive);
}

Result<void> check_request_version(const RawHead& raw, const H1Settings& settings) {
    if (raw.major != 1 || raw.minor > 1)
        return refuse(505, "version");
    if (raw.minor == 0 && !settings.accept_http_10)
        return refuse(426, "version");
    return {};
}

/// Fills method, path and authority. The target's authority wins over Host, which must be right all the same.
Result<void> set_target(Head& head, const RawHead& raw, const H1Settings& settings) {
    if (raw.host_count != 1 || !is_authority(raw.host))
        return refuse(400, "host");
    if (raw.target.size() > settings.target_bytes_max)
        return refuse(414, "request target");
    const std::optional<Target> target = split_target(raw.target, raw.method);
    if (!target)
        return refuse(400, "request target");
    head.method = raw.method;
    head.authority = target->authority.empty() ? raw.host : target->authority;
    if (target->path.empty() && raw.method == "OPTIONS")
        head.path = "*"; // RFC 9112 3.2.4: the absolute form of "*"
    else if (target->path.empty() || target->path.front() == '?')
        head.path.append("/").append(target->path);
    else
        head.path = target->path;
    return {};
}

/// Sets Head::upgrade if this is a request to change the protocol that may be honoured.
Result<void> set_upgrade(Message& message, const RawHead& raw) {
    if (raw.upgrade_count == 0 || !raw.connection.upgrade || message.http_10)
        return {};
    if (raw.method != "GET" && equal_ignoring_case(raw.upgrade, "websocket"))
        return refuse(400, "upgrade"); // RFC 6455 4.1: GET only
    if (raw.method == "GET" && raw.upgrade_count == 1 && message.framing == Framing::none)
        message.head.upgrade = equal_ignoring_case(raw.upgrade, "websocket") ? "websocket" : raw.upgrade;
    return {};
}

Result<void> set_expect(Message& message, const RawHead& raw) {
    if (message.http_10)
        return {}; // RFC 9110 10.1.1: ignored
    if (raw.expect_other)
        return refuse(417, "expect");
    message.head.expect_continue = raw.expect_continue && message.framing != Framing::none;
    return {};
}

Result<void> set_request_fields(Message& message, RawHead& raw, const H1Settings& settings) {
    if (const Result<void> target = set_target(message.head, raw, settings); !target)
        return target;
    if (const Result<void> upgrade = set_upgrade(message, raw); !upgrade)
        return upgrade;
    if (const Result<void> expect = set_expect(message, raw); !expect)
        return expect;
    if (raw.method == "TRACE" && message.framing != Framing::none)
        return refuse(400, "trace with a body"); // RFC 9110 9.3.8
    if (raw.te_trailers)
        raw.headers.add("TE", "trailers");
    return {};
}

} // namespace

Result<void> interpret_request(RawHead& raw, const H1Settings& settings, Message& message) {
    const Result<Length> length = read_length(raw);
    if (!length)
        return std::unexpected(length.error());
    if (const Result<void> version = check_request_version(raw, settings); !version)
        return version;
    if (raw.method == "CONNECT")
        return refuse(404, "connect"); // no tunnels: nothing here can be connected to
    if (!is_allowed_method(raw.method))
        return refuse(400, "method");
    if (const Result<void> removed = remove_hop_by_hop(raw); !removed)
        return removed;

    message.http_10 = raw.minor == 0;
    message.keep_alive = keeps_alive(raw);
    set_framing(message, *length, raw.connection);
    if (const Result<void> fields = set_request_fields(message, raw, settings); !fields)
        return fields;
    message.head.headers = std::move(raw.headers);
    return {};
}

Result<void> interpret_response(RawHead& raw, bool to_head, bool upgrade_asked, Message& message) {
    if (raw.major != 1 || raw.minor > 1 || raw.status < 100)
        return refuse(400, "status line");
    const bool upgraded = upgrade_asked && raw.connection.upgrade && raw.upgrade_count == 1 &&
                          equal_ignoring_case(raw.upgrade, "websocket");
    if (raw.status == 101 && !upgraded)
        return refuse(400, "unasked upgrade");
    const Result<Length> length = read_length(raw);
    if (!length)
        return std::unexpected(length.error());
    const bool informational = raw.status < 200;
    if (informational && (length->chunked || length->fixed))
        return refuse(400, "body in an informational reply");
    if (const Result<void> removed = remove_hop_by_hop(raw); !removed)
        return removed;

    message.head.status = raw.status;
    message.http_10 = raw.minor == 0;
    message.keep_alive = keeps_alive(raw);
    message.head.headers = std::move(raw.headers);
    if (raw.status == 204) {
        // It has no body whatever it says; what it announces may come, so nothing after it is trusted.
        message.keep_alive = message.keep_alive && !length->chunked && length->fixed.value_or(0) == 0;
    } else if (to_head || raw.status == 304) {
        message.head.content_length = length->fixed;
        // A length is what the body would have had. Chunks are announced by a server that may be about to send some.
        message.keep_alive = message.keep_alive && (to_head || !length->chunked);
    } else if (!informational) {
        set_framing(message, *length, raw.connection);
        if (!length->chunked && !length->fixed) {
            message.framing = Framing::until_close;
            message.keep_alive = false;
        }
    }
    return {};
}

} // namespace weft::l7::h1
