// SPDX-License-Identifier: Apache-2.0
#include "config/base/net.hpp"

#include <arpa/inet.h>

#include <charconv>
#include <cstring>

namespace weft {
namespace {

constexpr std::array<uint8_t, 12> mapped_prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr size_t address_text_max = 45;

std::optional<uint16_t> parse_number(std::string_view text, unsigned max) {
    unsigned value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size() || value > max)
        return std::nullopt;
    if (text.size() > 1 && text.front() == '0')
        return std::nullopt;
    return static_cast<uint16_t>(value);
}

} // namespace

IpAddress IpAddress::v4(uint32_t network_order) {
    IpAddress out;
    std::memcpy(out.bytes.data(), mapped_prefix.data(), mapped_prefix.size());
    std::memcpy(out.bytes.data() + 12, &network_order, 4);
    return out;
}

IpAddress IpAddress::v6(const in6_addr& address) {
    IpAddress out;
    std::memcpy(out.bytes.data(), &address, 16);
    return out;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
    // inet_pton stops at a NUL: what follows it would be ignored.
    if (text.empty() || text.size() > address_text_max || text.find('\0') != std::string_view::npos)
        return std::nullopt;
    const std::string copy(text);
    in_addr four{};
    if (inet_pton(AF_INET, copy.c_str(), &four) == 1)
        return v4(four.s_addr);
    in6_addr six{};
    if (inet_pton(AF_INET6, copy.c_str(), &six) == 1)
        return v6(six);
    return std::nullopt;
}

bool IpAddress::is_v4() const {
    return std::memcmp(bytes.data(), mapped_prefix.data(), mapped_prefix.size()) == 0;
}

bool IpAddress::is_loopback() const {
    if (is_v4())
        return bytes[12] == 127;
    const in6_addr six = v6_address();
    return IN6_IS_ADDR_LOOPBACK(&six);
}

bool IpAddress::is_unspecified() const {
    return *this == IpAddress{} || *this == v4(0);
}

uint32_t IpAddress::v4_network_order() const {
    uint32_t value = 0;
    std::memcpy(&value, bytes.data() + 12, 4);
    return value;
}

in6_addr IpAddress::v6_address() const {
    in6_addr out{};
    std::memcpy(&out, bytes.data(), 16);
    return out;
}

std::string IpAddress::to_string() const {
    char text[INET6_ADDRSTRLEN] = {};
    if (is_v4())
        inet_ntop(AF_INET, bytes.data() + 12, text, sizeof(text));
    else
        inet_ntop(AF_INET6, bytes.data(), text, sizeof(text));
    return text;
}

std::optional<Cidr> Cidr::parse(std::string_view text) {
    const size_t slash = text.find('/');
    const auto address = IpAddress::parse(text.substr(0, slash));
    if (!address)
        return std::nullopt;
    if (slash == std::string_view::npos)
        return Cidr{*address, 128};
    const bool v4 = address->is_v4() && text.substr(0, slash).find(':') == std::string_view::npos;
    const auto bits = parse_number(text.substr(slash + 1), v4 ? 32 : 128);
    if (!bits)
        return std::nullopt;
    return Cidr{*address, static_cast<uint8_t>(*bits + (v4 ? 96 : 0))};
}

bool Cidr::contains(const IpAddress& other) const {
    // "::/0" is every IPv6 address; that IPv4 is held mapped must not make it every IPv4 address too.
    if (prefix_bits < 96 && other.is_v4())
        return false;
    const size_t whole = prefix_bits / 8;
    if (std::memcmp(address.bytes.data(), other.bytes.data(), whole) != 0)
        return false;
    const unsigned rest = prefix_bits % 8;
    if (rest == 0)
        return true;
    const auto mask = static_cast<uint8_t>(0xff00U >> rest);
    return (address.bytes[whole] & mask) == (other.bytes[whole] & mask);
}

std::string Cidr::to_string() const {
    const bool v4 = address.is_v4() && prefix_bits >= 96;
    return address.to_string() + "/" + std::to_string(v4 ? prefix_bits - 96 : prefix_bits);
}

socklen_t SocketAddress::to_sockaddr(sockaddr_storage& out) const {
    std::memset(&out, 0, sizeof(out));
    if (address.is_v4()) {
        auto& four = reinterpret_cast<sockaddr_in&>(out);
        four.sin_family = AF_INET;
        four.sin_port = htons(port);
        four.sin_addr.s_addr = address.v4_network_order();
        return sizeof(sockaddr_in);
    }
    auto& six = reinterpret_cast<sockaddr_in6&>(out);
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(port);
    six.sin6_addr = address.v6_address();
    return sizeof(sockaddr_in6);
}

std::optional<SocketAddress> SocketAddress::from_sockaddr(const sockaddr_storage& storage) {
    if (storage.ss_family == AF_INET) {
        const auto& four = reinterpret_cast<const sockaddr_in&>(storage);
        return SocketAddress{IpAddress::v4(four.sin_addr.s_addr), ntohs(four.sin_port)};
    }
    if (storage.ss_family == AF_INET6) {
        const auto& six = reinterpret_cast<const sockaddr_in6&>(storage);
        return SocketAddress{IpAddress::v6(six.sin6_addr), ntohs(six.sin6_port)};
    }
    return std::nullopt;
}

std::string SocketAddress::to_string() const {
    const std::string text = address.to_string();
    return (address.is_v4() ? text : "[" + text + "]") + ":" + std::to_string(port);
}

std::optional<SocketAddress> SocketAddress::parse(std::string_view text) {
    const size_t colon = text.rfind(':');
    if (colon == std::string_view::npos)
        return std::nullopt;
    std::string_view host = text.substr(0, colon);
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (bracketed)
        host = host.substr(1, host.size() - 2);
    const auto address = IpAddress::parse(host);
    const auto port = parse_number(text.substr(colon + 1), 65535);
    if (!address || !port || (!bracketed && !address->is_v4()))
        return std::nullopt;
    return SocketAddress{*address, *port};
}

} // namespace weft

size_t std::hash<weft::IpAddress>::operator()(const weft::IpAddress& address) const noexcept {
    uint64_t high = 0;
    uint64_t low = 0;
    std::memcpy(&high, address.bytes.data(), 8);
    std::memcpy(&low, address.bytes.data() + 8, 8);
    uint64_t mixed = (high ^ 0x9e3779b97f4a7c15ULL) * 0xff51afd7ed558ccdULL ^ low;
    mixed ^= mixed >> 32;
    mixed *= 0xc4ceb9fe1a85ec53ULL;
    return mixed ^ (mixed >> 32); // what tells addresses of one network apart is in the high half so far
}

size_t std::hash<weft::SocketAddress>::operator()(const weft::SocketAddress& address) const noexcept {
    return std::hash<weft::IpAddress>{}(address.address) * 31 + address.port;
}
