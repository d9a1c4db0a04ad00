// SPDX-License-Identifier: Apache-2.0
#include "config/base/net.hpp"

#include <gtest/gtest.h>
#include <sys/un.h>

#include <unordered_set>

namespace weft {
namespace {

TEST(IpAddress, parse_and_print) {
    struct Row {
        std::string_view text, printed;
        bool v4;
    };
    constexpr Row rows[] = {
        {"10.0.0.1", "10.0.0.1", true},
        {"0.0.0.0", "0.0.0.0", true},
        {"255.255.255.255", "255.255.255.255", true},
        {"::1", "::1", false},
        {"::", "::", false},
        {"2001:DB8::1", "2001:db8::1", false},
        {"::ffff:10.0.0.1", "10.0.0.1", true}, // an IPv4-mapped address is the IPv4 address
        {"::ffff:a00:1", "10.0.0.1", true},
        {"fe80::1", "fe80::1", false},
    };
    for (const auto& row : rows) {
        const auto address = IpAddress::parse(row.text);
        ASSERT_TRUE(address.has_value()) << row.text;
        EXPECT_EQ(address->to_string(), row.printed);
        EXPECT_EQ(address->is_v4(), row.v4) << row.text;
    }
}

TEST(IpAddress, refuses_everything_else) {
    for (const std::string_view text :
         {"", " ", "10.0.0", "10.0.0.0.1", "10.0.0.256", "010.0.0.1", "10.0.0.1 ", " 10.0.0.1", "0x0a.0.0.1", "1",
          "fe80::1%eth0", "[::1]", "::g", "1::2::3", "10.0.0.1/8", "10.0.0.1:80", "localhost"})
        EXPECT_FALSE(IpAddress::parse(text).has_value()) << text;
    EXPECT_FALSE(IpAddress::parse(std::string_view("10.0.0.1\0x", 10)).has_value());
    EXPECT_FALSE(IpAddress::parse(std::string(100, '1')).has_value());
}

TEST(IpAddress, kinds_and_conversions) {
    EXPECT_TRUE(IpAddress::parse("127.3.2.1")->is_loopback());
    EXPECT_TRUE(IpAddress::parse("::1")->is_loopback());
    EXPECT_FALSE(IpAddress::parse("128.0.0.1")->is_loopback());
    EXPECT_TRUE(IpAddress::parse("0.0.0.0")->is_unspecified());
    EXPECT_TRUE(IpAddress::parse("::")->is_unspecified());
    EXPECT_FALSE(IpAddress::parse("::1")->is_unspecified());
    const auto four = *IpAddress::parse("10.1.2.3");
    EXPECT_EQ(ntohl(four.v4_network_order()), 0x0a010203U);
    EXPECT_EQ(IpAddress::v4(four.v4_network_order()), four);
    const auto six = *IpAddress::parse("2001:db8::1");
    EXPECT_EQ(IpAddress::v6(six.v6_address()), six);
    EXPECT_LT(*IpAddress::parse("10.0.0.1"), *IpAddress::parse("10.0.0.2"));
}

TEST(Cidr, contains) {
    struct Row {
        std::string_view block, address;
        bool expected;
    };
    constexpr Row rows[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.1", "10.0.0.1", true},
        {"10.0.0.1", "10.0.0.2", false},
        {"10.0.0.1/32", "10.0.0.1", true},
        {"0.0.0.0/0", "8.8.8.8", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "2001:db8::1", true},
        {"::/0", "8.8.8.8", false},
        {"10.0.0.77/24", "10.0.0.1", true},
        {"10.0.0.0/31", "10.0.0.1", true},
        {"10.0.0.0/31", "10.0.0.2", false},
        {"10.128.0.0/9", "10.127.0.0", false},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"2001:db8::/33", "2001:db8:7fff::", true},
        {"2001:db8::1", "2001:db8::1", true},
        {"2001:db8::1/127", "2001:db8::", true},
        {"::ffff:10.0.0.0/104", "10.9.9.9", true},
        {"::ffff:10.0.0.0/104", "11.9.9.9", false},
        {"::ffff:10.0.0.1", "10.0.0.1", true},
        {"::/8", "10.0.0.1", false},
    };
    for (const auto& row : rows) {
        const auto block = Cidr::parse(row.block);
        ASSERT_TRUE(block.has_value()) << row.block;
        EXPECT_EQ(block->contains(*IpAddress::parse(row.address)), row.expected) << row.block << " " << row.address;
    }
}

TEST(Cidr, parse_and_print) {
    EXPECT_EQ(Cidr::parse("10.0.0.0/8")->to_string(), "10.0.0.0/8");
    EXPECT_EQ(Cidr::parse("10.0.0.1")->to_string(), "10.0.0.1/32");
    EXPECT_EQ(Cidr::parse("2001:db8::/32")->to_string(), "2001:db8::/32");
    EXPECT_EQ(Cidr::parse("::1")->to_string(), "::1/128");
    for (const std::string_view text :
         {"", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/ 8", "10.0.0.0/8/8", "::/129",
          "x/8", "10.0.0/8", "10.0.0.0/8x", "10.0.0.0/999999999999"})
        EXPECT_FALSE(Cidr::parse(text).has_value()) << text;
}

TEST(SocketAddress, parse_and_print) {
    for (const std::string_view text : {"10.0.0.1:80", "[2001:db8::1]:80", "0.0.0.0:0", "[::]:65535"}) {
        const auto address = SocketAddress::parse(text);
        ASSERT_TRUE(address.has_value()) << text;
        EXPECT_EQ(address->to_string(), text);
    }
    for (const std::string_view text :
         {"", "10.0.0.1", ":80", "10.0.0.1:", "10.0.0.1:65536", "10.0.0.1:080", "10.0.0.1:+80", "10.0.0.1:8a",
          "2001:db8::1:80", "[2001:db8::1]", "[]:80", "[::1:80", "::1]:80"})
        EXPECT_FALSE(SocketAddress::parse(text).has_value()) << text;
}

TEST(SocketAddress, sockaddr_both_ways) {
    for (const std::string_view text : {"10.0.0.1:8080", "[2001:db8::1]:443"}) {
        const auto address = *SocketAddress::parse(text);
        sockaddr_storage storage{};
        const socklen_t size = address.to_sockaddr(storage);
        EXPECT_EQ(size, address.address.is_v4() ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
        EXPECT_EQ(SocketAddress::from_sockaddr(storage), address);
    }
    // A mapped address that a dual-stack socket reports is the IPv4 one.
    sockaddr_storage storage{};
    auto& six = reinterpret_cast<sockaddr_in6&>(storage);
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(80);
    six.sin6_addr = IpAddress::parse("10.0.0.1")->v6_address();
    EXPECT_EQ(SocketAddress::from_sockaddr(storage), SocketAddress::parse("10.0.0.1:80"));
    storage.ss_family = AF_UNIX;
    EXPECT_EQ(SocketAddress::from_sockaddr(storage), std::nullopt);
}

TEST(Hash, spreads) {
    std::unordered_set<size_t> addresses;
    std::unordered_set<size_t> sockets;
    for (uint32_t i = 0; i < 10'000; ++i) {
        const auto address = IpAddress::v4(htonl(0x0a000000 + i));
        addresses.insert(std::hash<IpAddress>{}(address));
        sockets.insert(std::hash<SocketAddress>{}({address, static_cast<uint16_t>(i % 3)}));
    }
    std::unordered_set<size_t> slots; // of a table that takes the low bits
    for (const size_t hash : addresses)
        slots.insert(hash & 0xffff);
    EXPECT_EQ(addresses.size(), 10'000U);
    EXPECT_GT(slots.size(), 9'000U);
    EXPECT_GT(sockets.size(), 9'990U);
}

} // namespace
} // namespace weft
