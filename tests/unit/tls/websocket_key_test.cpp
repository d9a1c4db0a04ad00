// SPDX-License-Identifier: Apache-2.0
#include "l7engine/tls/websocket_key.hpp"

#include <gtest/gtest.h>

namespace weft::l7::tls {
namespace {

TEST(WebsocketKey, AcceptsAsTheRfcSays) {
    EXPECT_EQ(websocket_accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); // RFC 6455 1.3
}

TEST(WebsocketKey, AKeyIsSixteenBytesAndAnotherEachTime) {
    const std::string key = make_websocket_key();
    EXPECT_EQ(key.size(), 24U);
    EXPECT_TRUE(key.ends_with("==")) << key;
    EXPECT_NE(key, make_websocket_key());
}

} // namespace
} // namespace weft::l7::tls
