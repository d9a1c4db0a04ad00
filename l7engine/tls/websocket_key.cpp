// SPDX-License-Identifier: Apache-2.0
#include "l7engine/tls/websocket_key.hpp"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <sys/random.h>

#include <array>
#include <cstdint>
#include <span>

namespace weft::l7::tls {

namespace {

constexpr std::string_view guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr size_t key_bytes = 16;

std::string base64(std::span<const uint8_t> bytes) {
    std::array<uint8_t, 2 * SHA_DIGEST_LENGTH> text; // four characters for three bytes, and a terminator
    const int size = EVP_EncodeBlock(text.data(), bytes.data(), static_cast<int>(bytes.size()));
    return {reinterpret_cast<const char*>(text.data()), static_cast<size_t>(size)};
}

} // namespace

std::string websocket_accept(std::string_view key) {
    std::string text(key);
    text += guid;
    std::array<uint8_t, SHA_DIGEST_LENGTH> digest;
    SHA1(reinterpret_cast<const uint8_t*>(text.data()), text.size(), digest.data());
    return base64(digest);
}

std::string make_websocket_key() {
    std::array<uint8_t, key_bytes> random{};
    // Cannot fail for so few bytes once the kernel's pool is ready; the key only has to differ from others.
    (void)getrandom(random.data(), random.size(), 0);
    return base64(random);
}

} // namespace weft::l7::tls
