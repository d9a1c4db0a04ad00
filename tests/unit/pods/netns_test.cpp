// SPDX-License-Identifier: Apache-2.0
#include "agent/pods/netns.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>

#include "agent/pods/sockets.hpp"
#include "tests/unit/pods/lab.hpp"

namespace weft::agent {
namespace {

uint64_t own_cookie() {
    const UniqueFd probe(socket(AF_INET, SOCK_STREAM, 0));
    return netns_cookie_of(probe.get()).value_or(0);
}

TEST(Netns, NameAndPathAreTheSameNamespace) {
    const LabNetns lab("a");
    const auto by_name = Netns::open(lab.name());
    const auto by_path = Netns::open(lab.path());
    ASSERT_TRUE(by_name && by_path);
    EXPECT_EQ(by_name->cookie(), by_path->cookie());
    EXPECT_NE(by_name->cookie(), own_cookie());
    EXPECT_TRUE(by_name->exists());
}

TEST(Netns, EnterReturnsToTheOwnNamespace) {
    const LabNetns lab("a");
    const auto netns = Netns::open(lab.name());
    ASSERT_TRUE(netns);
    const uint64_t before = own_cookie();
    {
        const auto scope = netns->enter();
        ASSERT_TRUE(scope);
        EXPECT_EQ(own_cookie(), netns->cookie());
    }
    EXPECT_EQ(own_cookie(), before);
}

TEST(Netns, RefusesWhatIsNoNetworkNamespaceOfAPod) {
    const std::string fifo = "/tmp/weft-test-fifo-" + std::to_string(getpid());
    ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
    struct Case {
        std::string text;
        Code code;
    };
    for (const Case& one : {Case{"", Code::invalid}, Case{"a/b", Code::invalid}, Case{"..", Code::invalid},
                            Case{"/etc/passwd", Code::invalid}, Case{"/proc/self/ns/mnt", Code::invalid},
                            Case{fifo, Code::invalid}, // opening it for reading would block for ever
                            Case{std::string(5000, 'x'), Code::invalid}, Case{"/proc/self/ns/net", Code::refused}}) {
        const auto opened = Netns::open(one.text);
        ASSERT_FALSE(opened) << one.text;
        EXPECT_EQ(opened.error().code, one.code) << one.text;
    }
    unlink(fifo.c_str());
    const auto absent = Netns::open("weft-test-no-such-namespace");
    ASSERT_FALSE(absent);
    EXPECT_EQ(absent.error().detail, ENOENT);
}

TEST(Netns, VanishedIsNoticedAndNotPinned) {
    LabNetns lab("a");
    const auto netns = Netns::open(lab.name());
    ASSERT_TRUE(netns);
    lab.remove();
    EXPECT_FALSE(netns->exists());
    EXPECT_FALSE(netns->enter());
}

TEST(Netns, AnotherNamespaceUnderTheSameNameIsNotEntered) {
    LabNetns first("a");
    const auto netns = Netns::open(first.name());
    ASSERT_TRUE(netns);
    LabNetns::run("ip netns del " + first.name());
    LabNetns::run("ip netns add " + first.name()); // may even get the same inode number: the cookie tells
    EXPECT_FALSE(netns->enter());
    EXPECT_FALSE(make_upstream_sockets(*netns, false, 1));
}

} // namespace
} // namespace weft::agent
