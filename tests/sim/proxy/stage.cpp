// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/proxy/stage.hpp"

#include <charconv>

namespace weft::l7::test {

namespace {

std::string field(std::string_view head, std::string_view name) {
    for (size_t at = 0; at < head.size();) {
        const size_t end = std::min(head.find("\r\n", at), head.size());
        const std::string_view line = head.substr(at, end - at);
        if (line.size() > name.size() && line[name.size()] == ':' &&
            equal_ignoring_case(line.substr(0, name.size()), name)) {
            std::string_view value = line.substr(name.size() + 1);
            while (value.starts_with(' '))
                value.remove_prefix(1);
            return std::string(value);
        }
        at = end + 2;
    }
    return {};
}

/// Length of the body in `bytes`, decoded into `body`; npos: not whole.
size_t read_body(std::string_view head, std::string_view bytes, std::string& body) {
    if (equal_ignoring_case(field(head, "transfer-encoding"), "chunked")) {
        size_t at = 0;
        for (;;) {
            const size_t line = bytes.find("\r\n", at);
            if (line == std::string_view::npos)
                return line;
            size_t size = 0;
            std::from_chars(bytes.data() + at, bytes.data() + line, size, 16);
            at = line + 2;
            if (size == 0) {
                const size_t end = bytes.substr(at).starts_with("\r\n") ? at : bytes.find("\r\n\r\n", at);
                if (end == std::string_view::npos)
                    return end;
                return bytes.substr(at).starts_with("\r\n") ? at + 2 : end + 4;
            }
            if (at + size + 2 > bytes.size())
                return std::string_view::npos;
            body += bytes.substr(at, size);
            at += size + 2;
        }
    }
    const std::string length = field(head, "content-length");
    if (length.empty())
        return 0;
    const size_t size = std::stoul(length);
    if (bytes.size() < size)
        return std::string_view::npos;
    body = bytes.substr(0, size);
    return size;
}

} // namespace

Replies parse_replies(std::string_view bytes, bool head_only) {
    Replies replies;
    while (!bytes.empty()) {
        const size_t end = bytes.find("\r\n\r\n");
        if (end == std::string_view::npos) {
            replies.partial = true;
            break;
        }
        Replies::One one{.head = std::string(bytes.substr(0, end + 2)), .body = {}};
        EXPECT_TRUE(one.head.starts_with("HTTP/1.1 ")) << one.head;
        one.status = std::stoi(one.head.substr(9, 3));
        bytes.remove_prefix(end + 4);
        if (one.status < 200) {
            ++replies.informational;
            continue;
        }
        if (!head_only && one.status != 204 && one.status != 304) {
            const size_t size = read_body(one.head, bytes, one.body);
            if (size == std::string_view::npos) {
                replies.partial = true;
                break;
            }
            bytes.remove_prefix(size);
        }
        replies.whole.push_back(std::move(one));
    }
    return replies;
}

size_t whole_request(std::string_view bytes) {
    const size_t end = bytes.find("\r\n\r\n");
    if (end == std::string_view::npos)
        return 0;
    std::string body;
    const size_t size = read_body(bytes.substr(0, end + 2), bytes.substr(end + 4), body);
    return size == std::string_view::npos ? 0 : end + 4 + size;
}

std::string reply(std::string_view body, std::string_view extra, std::string_view status) {
    return "HTTP/1.1 " + std::string(status) + "\r\ncontent-length: " + std::to_string(body.size()) + "\r\n" +
           std::string(extra) + "\r\n" + std::string(body);
}

sim::World::OnConnect http_server(std::function<std::string(std::string_view, sim::Peer)> answer) {
    return [answer = std::move(answer)](sim::Peer peer) {
        auto used = std::make_shared<size_t>(0);
        peer.on_event([answer, used](sim::Peer end) {
            for (;;) {
                const std::string_view rest = std::string_view(end.received()).substr(*used);
                const size_t size = whole_request(rest);
                if (size == 0)
                    break;
                *used += size;
                const std::string text = answer(rest.substr(0, size), end);
                if (!text.empty() && !end.over())
                    end.send(text);
            }
            if (end.saw_fin())
                end.close();
        });
    };
}

int status_of(const sim::Peer& client) {
    const Replies replies = parse_replies(client.received());
    return replies.whole.empty() ? 0 : replies.whole.back().status;
}

size_t replies_of(const sim::Peer& client) {
    return parse_replies(client.received()).whole.size();
}

config::Policy policy_of(config::Policy::Action action, std::string method) {
    config::Policy policy{.ns = "default", .name = "p", .action = action, .rules = {}};
    config::PolicyOperation operation;
    operation.methods.values = {{.kind = config::StringPattern::Kind::exact, .value = std::move(method)}};
    policy.rules = {{.from = {}, .to = {operation}, .when = {}}};
    return policy;
}

sim::Faults Stage::calm() {
    sim::Faults faults;
    faults.short_send = 0;
    faults.no_buffers = 0;
    faults.multishot_end = 0;
    faults.interrupted = 0;
    faults.reset_loses_tail = 0;
    faults.reset_missed = 0;
    faults.unspliceable = 0;
    return faults;
}

Stage::Stage(uint64_t seed, sim::Faults faults, ProxySettings settings)
    : world(seed, faults), slots(256), frames_before_(FramePool::live_bytes()),
      descriptors_before_(world.open_descriptors()) {
    worker = std::move(*Worker::create(0, {}));
    proxy = std::make_unique<Proxy>(*worker, settings, 1, [this](SocketStock::Wish wish) {
        wishes.push_back(wish);
        if (!agent_gives)
            return;
        world.after(1 + world.random(5), [this, wish] {
            if (proxy == nullptr)
                return;
            std::vector<UniqueFd> sockets;
            for (uint32_t index = 0; index < wish.count; ++index)
                sockets.push_back(world.socket());
            proxy->stock().give(wish.pod_id, wish.ipv6, std::move(sockets));
        });
    });
    snapshot.generation = 1;
    snapshot.workloads = {{.ns = "default",
                           .pod = "client-0",
                           .service_account = "client",
                           .name = "client",
                           .canonical_service = "client",
                           .canonical_revision = "v1",
                           .app = "client",
                           .version = "v1",
                           .principal = "spiffe://cluster.local/ns/default/sa/client",
                           .addresses = {*IpAddress::parse("10.0.0.1")}},
                          {.ns = "default",
                           .pod = "server-0",
                           .service_account = "server",
                           .name = "server",
                           .canonical_service = "server",
                           .canonical_revision = "v1",
                           .app = "server",
                           .version = "v1",
                           .principal = "spiffe://cluster.local/ns/default/sa/server",
                           .addresses = {*IpAddress::parse("10.0.0.2")}}};
    snapshot.clusters = {
        {.ns = "default", .service = "plain", .host = "plain.default.svc.cluster.local", .port = 80, .endpoints = {}}};
    snapshot.frontends = {{.id = service_id,
                           .addresses = {*IpAddress::parse("10.96.0.1")},
                           .port = 80,
                           .ns = "default",
                           .service = "plain",
                           .host = "plain.default.svc.cluster.local",
                           .protocol = config::Protocol::http1,
                           .l7 = true,
                           .cluster = 0,
                           .consumer_routes = {}}};
    snapshot.pods = {{.id = client_pod, .workload = 0, .inbound = {}},
                     {.id = server_pod, .workload = 1, .inbound = {}}};
    proxy->map_dial_slots(
        {.slots = slots.data(), .begin = 0, .count = static_cast<uint32_t>(slots.size()), .keep_alive = nullptr});
    proxy->stock().add_pod(client_pod);
    proxy->stock().add_pod(server_pod);
    apply();
}

Stage::~Stage() {
    if (!ended_)
        end();
}

void Stage::add_endpoint(std::string_view address, uint32_t local_pod) {
    snapshot.clusters[0].endpoints.push_back({.address = address_of(address), .workload = 1, .local_pod = local_pod});
    apply();
}

void Stage::apply() {
    proxy->apply(std::make_shared<const SnapshotView>(std::make_shared<const config::Snapshot>(snapshot)));
}

sim::Peer Stage::client() {
    auto [socket, peer] = world.connected();
    proxy->serve(make_tcp_stream(*worker, std::move(socket), {}), {.direction = Direction::outbound,
                                                                   .pod_id = client_pod,
                                                                   .frontend_id = service_id,
                                                                   .client = address_of("127.0.0.1:40000"),
                                                                   .destination = address_of("10.96.0.1:80")});
    return peer;
}

sim::Peer Stage::inbound_client(std::string_view from, uint16_t port) {
    auto [socket, peer] = world.connected();
    proxy->serve(make_tcp_stream(*worker, std::move(socket), {}),
                 {.direction = Direction::inbound,
                  .pod_id = server_pod,
                  .frontend_id = 0,
                  .client = address_of(from),
                  .destination = {.address = *IpAddress::parse("10.0.0.2"), .port = port}});
    return peer;
}

void Stage::end() {
    ended_ = true;
    bool drained = false;
    proxy->drain(5'000, [&] { drained = true; });
    EXPECT_TRUE(until([&] { return drained; }, 60'000)) << "drain hangs, seed " << world.seed();
    EXPECT_EQ(proxy->connections(), 0U);
    EXPECT_EQ(proxy->exchanges(), 0U);
    EXPECT_EQ(proxy->pool().size(), 0U);
    EXPECT_TRUE(until([&] { return worker->tasks().size() == 0; })) << "tasks left, seed " << world.seed();
    proxy = nullptr;
    EXPECT_EQ(FramePool::live_bytes(), frames_before_) << "frames left, seed " << world.seed();
    EXPECT_TRUE(until([&] { return world.open_descriptors() <= descriptors_before_; }, 10'000))
        << world.open_descriptors() << " descriptors, seed " << world.seed();
    for (const std::string& misuse : world.misuses())
        ADD_FAILURE() << misuse << ", seed " << world.seed();
    worker = nullptr;
}

} // namespace weft::l7::test
