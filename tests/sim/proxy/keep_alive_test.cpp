// SPDX-License-Identifier: Apache-2.0
// What `make profile` runs, besides the pure code: requests as most are.
#include "config/base/slab.hpp"
#include "tests/sim/proxy/stage.hpp"

namespace weft::l7::test {
namespace {

TEST(ProxyKeepAlive, two_thousand_requests_on_one_connection_leave_nothing_behind) {
    Stage stage(26);
    stage.add_endpoint("10.0.1.1:8080");
    const std::string answer = reply(std::string(1024, 'x'));
    stage.world.serve(address_of("10.0.1.1:8080"), http_server([&](std::string_view, sim::Peer) { return answer; }));
    const sim::Peer client = stage.client();
    size_t received = 0;
    const auto exchange = [&] {
        client.send("GET /a?b=c HTTP/1.1\r\nHost: plain\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n");
        const bool over = stage.until(
            [&] { return client.received().size() > received + 1024 && stage.proxy->exchanges() == 0; }, 10'000);
        received = client.received().size();
        return over;
    };
    for (int warm = 0; warm < 100; ++warm)
        ASSERT_TRUE(exchange());
    const size_t slabs = SlabPool::mapped_bytes();
    const size_t frames = FramePool::live_bytes();
    for (int count = 0; count < 2'000; ++count)
        ASSERT_TRUE(exchange());
    EXPECT_EQ(counted(stage, Counter::pool_hits), 2'099U) << "one connection to the backend";
    EXPECT_EQ(FramePool::live_bytes(), frames);
    EXPECT_LE(SlabPool::mapped_bytes(), slabs + 4 * SlabPool::slab_bytes);
}

} // namespace
} // namespace weft::l7::test
