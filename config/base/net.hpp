// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <netinet/in.h>

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace weft {

/// An IPv4 or IPv6 address as 16 bytes in network order; IPv4 is held IPv4-mapped (::ffff:a.b.c.d).
/// An IPv4-mapped IPv6 address therefore *is* the IPv4 address: the two can never be told apart by mistake.
struct IpAddress {
    std::array<uint8_t, 16> bytes{};

    [[nodiscard]] static IpAddress v4(uint32_t network_order);
    [[nodiscard]] static IpAddress v6(const in6_addr& address);
    /// Dotted quad or RFC 4291 text; nothing else (no zone, no brackets, no leading zeros).
    [[nodiscard]] static std::optional<IpAddress> parse(std::string_view text);

    [[nodiscard]] bool is_v4() const;
    [[nodiscard]] bool is_loopback() const;
    [[nodiscard]] bool is_unspecified() const;
    /// Only if is_v4(): network byte order.
    [[nodiscard]] uint32_t v4_network_order() const;
    [[nodiscard]] in6_addr v6_address() const;
    [[nodiscard]] std::string to_string() const;

    auto operator<=>(const IpAddress&) const = default;
};

/// An address block. A bare address is a /32 or /128 block.
struct Cidr {
    IpAddress address;
    uint8_t prefix_bits = 128; ///< over the 16 mapped bytes: an IPv4 /8 is 96+8

    [[nodiscard]] static std::optional<Cidr> parse(std::string_view text);
    [[nodiscard]] bool contains(const IpAddress& other) const;
    [[nodiscard]] std::string to_string() const;
    bool operator==(const Cidr&) const = default;
};

/// Address and port. `port` is in host byte order.
struct SocketAddress {
    IpAddress address;
    uint16_t port = 0;

    /// Fills a sockaddr of the address's own family; returns its length.
    socklen_t to_sockaddr(sockaddr_storage& out) const;
    [[nodiscard]] static std::optional<SocketAddress> from_sockaddr(const sockaddr_storage& storage);
    /// "10.0.0.1:80", "[2001:db8::1]:80".
    [[nodiscard]] std::string to_string() const;
    /// "ADDRESS:PORT" with an IPv6 address in brackets.
    [[nodiscard]] static std::optional<SocketAddress> parse(std::string_view text);
    auto operator<=>(const SocketAddress&) const = default;
};

} // namespace weft

template <>
struct std::hash<weft::IpAddress> {
    size_t operator()(const weft::IpAddress& address) const noexcept;
};
template <>
struct std::hash<weft::SocketAddress> {
    size_t operator()(const weft::SocketAddress& address) const noexcept;
};
