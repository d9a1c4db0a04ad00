// SPDX-License-Identifier: Apache-2.0
#include "l7engine/tls/client_hello.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

namespace weft::l7::tls {
namespace {

constexpr uint8_t content_handshake = 22;
constexpr uint8_t message_client_hello = 1;
constexpr uint8_t version_major = 3;
constexpr uint16_t extension_server_name = 0;
constexpr uint8_t name_type_host = 0;
constexpr size_t record_head_bytes = 5;
constexpr size_t record_bytes_max = 16 * 1024; ///< RFC 8446 5.1: TLSPlaintext.length
constexpr size_t message_head_bytes = 4;
constexpr size_t session_id_bytes_max = 32;
constexpr size_t random_bytes = 32;
constexpr size_t host_bytes_max = 253;

/// Takes numbers and vectors off the front. Once something did not fit, everything after is empty and ok() is false.
class Cursor {
public:
    explicit Cursor(std::string_view text) : text_(text) {}

    uint32_t number(size_t bytes) {
        uint32_t value = 0;
        for (const char c : take(bytes))
            value = value << 8 | static_cast<unsigned char>(c);
        return value;
    }
    std::string_view take(size_t bytes) {
        if (bytes > text_.size()) {
            ok_ = false;
            text_ = {};
            return {};
        }
        const std::string_view front = text_.substr(0, bytes);
        text_.remove_prefix(bytes);
        return front;
    }
    /// A vector with a length of that many bytes before it.
    Cursor vector(size_t length_bytes) {
        const uint32_t length = number(length_bytes);
        return Cursor(take(length));
    }
    [[nodiscard]] bool ok() const { return ok_; }
    [[nodiscard]] bool empty() const { return text_.empty(); }
    [[nodiscard]] size_t size() const { return text_.size(); }
    [[nodiscard]] std::string_view rest() const { return text_; }

private:
    std::string_view text_;
    bool ok_ = true;
};

std::unexpected<Error> malformed(const char* during) {
    return fail(Code::malformed, during);
}

/// How long the handshake message is that begins so; 0: its head is not whole yet.
Result<size_t> message_size(std::string_view begun) {
    if (begun.size() < message_head_bytes)
        return 0;
    Cursor head(begun);
    if (head.number(1) != message_client_hello)
        return malformed("tls handshake message");
    const size_t size = message_head_bytes + head.number(3);
    if (size > client_hello_bytes_max)
        return fail(Code::too_large, "client hello");
    return size;
}

/// Collects the handshake message out of the records. nullopt: more bytes are needed.
Result<std::optional<std::string>> gather(std::string_view text) {
    const size_t all = text.size();
    std::string message;
    size_t records = 0;
    while (text.size() >= record_head_bytes) {
        if (++records > client_hello_records_max)
            return fail(Code::too_large, "client hello records");
        Cursor record(text);
        if (record.number(1) != content_handshake || record.number(1) != version_major)
            return malformed("tls record");
        (void)record.number(1); // the minor version says nothing here
        const size_t length = record.number(2);
        if (length == 0 || length > record_bytes_max)
            return malformed("tls record length");
        const std::string_view here = record.rest().substr(0, length);
        const bool whole = here.size() == length;
        // Copied once it is whole; but its beginning may tell more than enough.
        message.append(whole ? here : here.substr(0, message_head_bytes));
        text.remove_prefix(record_head_bytes + here.size());
        const Result<size_t> size = message_size(message);
        if (!size)
            return std::unexpected(size.error());
        if (all - text.size() > client_hello_bytes_max)
            break;
        if (whole && *size > 0 && message.size() >= *size) {
            message.resize(*size);
            return message;
        }
        if (!whole)
            break;
    }
    if (all > client_hello_bytes_max)
        return fail(Code::too_large, "client hello");
    return std::optional<std::string>();
}

/// Letters, digits, '-', '_' and '.' between labels: what a DNS name may hold in practice.
bool is_host_name(std::string_view name) {
    if (name.empty() || name.size() > host_bytes_max || name.starts_with('.') || name.ends_with('.') ||
        name.find("..") != std::string_view::npos)
        return false;
    return std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    });
}

Result<void> read_server_name(Cursor extension, ClientHello& hello) {
    Cursor names = extension.vector(2);
    while (!names.empty()) {
        const uint32_t type = names.number(1);
        Cursor name = names.vector(2);
        if (!names.ok())
            return malformed("server name");
        if (type != name_type_host)
            continue;
        if (!hello.server_name.empty())
            return malformed("server name given twice");
        std::string text(name.rest());
        std::ranges::transform(text, text.begin(),
                               [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
        if (text.ends_with('.'))
            text.pop_back();
        if (!is_host_name(text))
            return malformed("server name");
        hello.server_name = std::move(text);
    }
    return extension.ok() && extension.empty() ? Result<void>() : malformed("server name");
}

Result<void> read_extensions(Cursor& message, ClientHello& hello) {
    bool named = false;
    Cursor extensions = message.vector(2);
    while (!extensions.empty()) {
        const uint32_t type = extensions.number(2);
        Cursor extension = extensions.vector(2);
        if (!extensions.ok())
            return malformed("extension");
        if (type != extension_server_name)
            continue;
        // Two of it: which one counts would depend on the reader (RFC 8446 4.2).
        if (std::exchange(named, true))
            return malformed("extension given twice");
        if (const Result<void> read = read_server_name(extension, hello); !read)
            return read;
    }
    return message.ok() && message.empty() ? Result<void>() : malformed("client hello");
}

Result<ClientHello> read_message(std::string_view text) {
    Cursor message(text.substr(message_head_bytes));
    ClientHello hello;
    (void)message.number(2); // legacy_version
    (void)message.take(random_bytes);
    const Cursor session = message.vector(1);
    const Cursor ciphers = message.vector(2);
    const Cursor compression = message.vector(1);
    if (!message.ok() || session.size() > session_id_bytes_max || ciphers.size() < 2 || ciphers.size() % 2 != 0 ||
        compression.empty())
        return malformed("client hello");
    if (message.empty())
        return hello; // before RFC 3546 there were no extensions
    if (const Result<void> extensions = read_extensions(message, hello); !extensions)
        return std::unexpected(extensions.error());
    return hello;
}

} // namespace

Result<std::optional<ClientHello>> read_client_hello(Bytes bytes) {
    Result<std::optional<std::string>> message = gather(as_text(bytes));
    if (!message)
        return std::unexpected(message.error());
    if (!*message)
        return std::optional<ClientHello>();
    Result<ClientHello> hello = read_message(**message);
    if (!hello)
        return std::unexpected(hello.error());
    return std::optional<ClientHello>(std::move(*hello));
}

} // namespace weft::l7::tls
