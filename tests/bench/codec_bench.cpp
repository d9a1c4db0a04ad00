// SPDX-License-Identifier: Apache-2.0
/// What one exchange costs in the engine's pure code: no socket, no coroutine. Nanoseconds and allocations per
/// exchange; instructions by
///   valgrind --tool=callgrind --toggle-collect='*run_rounds*' codec_bench ROW 2000
/// divided by five times the rounds: each row is run five times and the best is shown.
///
///   codec_bench [ROW [ROUNDS]]

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>

#include "l7engine/filter/chain.hpp"
#include "l7engine/filter/registry.hpp"
#include "l7engine/filter/router.hpp"
#include "l7engine/http/grpc.hpp"
#include "l7engine/http/h1_codec.hpp"
#include "l7engine/proxy/stats.hpp"

namespace {
size_t allocations = 0;
} // namespace

void* operator new(size_t size) {
    ++allocations;
    void* memory = std::malloc(size);
    if (memory == nullptr)
        throw std::bad_alloc();
    return memory;
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
    std::free(memory);
}

namespace weft::l7 {
namespace {

constexpr std::string_view plain_request = "GET /api/9/items HTTP/1.1\r\nHost: reviews:9080\r\n\r\n";
constexpr std::string_view usual_request =
    "GET /api/9/items?page=2&sort=name HTTP/1.1\r\nHost: reviews.default.svc.cluster.local:9080\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef\r\nX-Request-Id: 7f9c3a52-1b0e-4d0a-9a51-2f4f8e1c0b6d\r\n"
    "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n\r\n";
const std::string reply = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                          "Content-Type: text/plain\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n"
                          "Last-Modified: Sat, 05 Nov 1994 08:49:37 GMT\r\nAccept-Ranges: bytes\r\n\r\n" +
                          std::string(1024, 'x');

/// Ten rules of which the last allows, a 90/10 route behind a header and a path match, two endpoints.
config::SnapshotPtr make_snapshot() {
    config::Snapshot snapshot;
    snapshot.workloads.resize(2);
    config::Workload& client = snapshot.workloads[0];
    client = {.ns = "default",
              .pod = "c-1",
              .service_account = "c",
              .name = "c",
              .canonical_service = "c",
              .canonical_revision = "v1",
              .app = "c",
              .version = "v1",
              .principal = "spiffe://cluster.local/ns/default/sa/c",
              .addresses = {*IpAddress::parse("10.0.0.1")}};
    snapshot.workloads[1] = client;
    snapshot.workloads[1].name = "reviews";
    snapshot.workloads[1].addresses = {*IpAddress::parse("10.0.1.1"), *IpAddress::parse("10.0.1.2")};
    for (const char* service : {"reviews", "canary"}) {
        snapshot.clusters.push_back(
            {.ns = "default",
             .service = service,
             .host = std::string(service) + ".default.svc.cluster.local",
             .port = 9080,
             .endpoints = {{.address = *SocketAddress::parse("10.0.1.1:9080"), .workload = 1},
                           {.address = *SocketAddress::parse("10.0.1.2:9080"), .workload = 1}}});
    }
    config::Policy policy{.ns = "default", .name = "p", .action = config::Policy::Action::allow, .rules = {}};
    for (int number = 0; number < 10; ++number) {
        config::PolicyRule rule;
        rule.from.resize(1);
        rule.to.resize(1);
        rule.to[0].methods.values = {{.value = "GET"}};
        if (number < 9) {
            const std::string text = std::to_string(number);
            rule.from[0].principals.values = {{.value = "cluster.local/ns/other/sa/a" + text}};
            rule.to[0].paths.values = {
                {.text = {.kind = config::StringPattern::Kind::prefix, .value = "/api/" + text}, .pattern = {}}};
        } else {
            rule.from[0].namespaces.values = {"default"};
        }
        policy.rules.push_back(rule);
    }
    snapshot.policies = {policy};
    snapshot.policy_sets = {{.deny = {}, .allow = {0}}};
    config::RouteTable table;
    table.entries = {
        {.match = {.path = "/api", .method = {}, .headers = {{"x-canary", "yes"}}, .queries = {}, .hostnames = {}},
         .rule = 0},
        {.match = {.path = "/api", .method = {}, .headers = {}, .queries = {}, .hostnames = {}}, .rule = 1}};
    table.rules = {{.route = "default/r", .name = "canary", .backends = {{.cluster = 1, .weight = 1}}},
                   {.route = "default/r",
                    .name = "split",
                    .backends = {{.cluster = 0, .weight = 90}, {.cluster = 1, .weight = 10}}}};
    snapshot.route_tables = {table};
    snapshot.frontends = {{.id = 0x010000,
                           .addresses = {*IpAddress::parse("10.96.0.1")},
                           .port = 9080,
                           .ns = "default",
                           .service = "reviews",
                           .host = "reviews.default.svc.cluster.local",
                           .l7 = true,
                           .cluster = 0,
                           .routes = 0,
                           .policies = 0,
                           .consumer_routes = {}}};
    snapshot.pods = {{.id = 1, .workload = 0, .inbound = {}}};
    return std::make_shared<const config::Snapshot>(std::move(snapshot));
}

/// Both codecs of a keep-alive pair of connections and what the proxy does between them.
class Relay final : public Events {
public:
    enum class Work : uint8_t { codec, chain, stats };

    Relay(std::string_view request, Work work) : request_(Slice::of_static(request)), work_(work) {}

    void exchange() {
        on_request_ = true;
        exchange_.emplace(Exchange{.view = &view_});
        check(server_->receive(request_, *this).has_value());
        client_->sent(size_of(client_->pending()));
        on_request_ = false;
        check(client_->receive(reply_, *this).has_value());
        server_->sent(size_of(server_->pending()));
        if (work_ == Work::stats)
            record();
        exchange_.reset();
    }

    void on_head(StreamId stream, Head&& head, bool last) override {
        if (on_request_) {
            exchange_->request = std::move(head);
            if (work_ != Work::codec)
                judge();
            check(client_->send_head(client_->open().value(), exchange_->request, last).has_value());
        } else {
            exchange_->response = std::move(head);
            if (work_ != Work::codec)
                check(chain_.on_response(*exchange_).take().has_value());
            check(server_->send_head(stream, exchange_->response, last).has_value());
        }
    }
    void on_data(StreamId stream, Slice&& data, bool last) override {
        check(server_->send_data(stream, std::move(data), last).has_value());
    }
    void on_trailers(StreamId, Trailers&&) override { std::abort(); }
    void on_reset(StreamId, Error) override { std::abort(); }
    void on_goaway(StreamId) override {}

private:
    static void check(bool fine) {
        if (!fine)
            std::abort();
    }
    static size_t size_of(std::span<const Slice> slices) {
        size_t size = 0;
        for (const Slice& slice : slices)
            size += slice.size();
        return size;
    }
    void judge() {
        Exchange& x = *exchange_;
        x.pod_id = 1;
        x.pod = view_.pod(1);
        x.frontend = view_.frontend(0x010000);
        x.peer = {.address = *SocketAddress::from_sockaddr(client_address_), .workload = view_.workload(0U)};
        x.destination = destination_;
        x.picker = &picker_;
        x.times = {.start_ms = 1, .upstream_start_ms = 1, .upstream_head_ms = 2};
        const Result<Verdict> verdict = chain_.on_request(x).take();
        check(verdict && std::holds_alternative<Continue>(*verdict));
    }
    void record() {
        Exchange& x = *exchange_;
        RequestRecord record;
        record.facts.source = x.peer.workload;
        record.facts.destination = x.choice.workload;
        record.facts.service = ServiceName::of(*x.choice.cluster);
        record.facts.protocol = is_grpc(x.request.headers) ? RequestProtocol::grpc : RequestProtocol::http;
        record.facts.response_code = x.response.status;
        record.duration_ms = 1;
        record.request_bytes = request_.size();
        record.response_bytes = reply.size();
        stats_.record(view_.snapshot(), record);
    }

    const SnapshotView view_{make_snapshot()};
    const Chain chain_ = make_chain(Direction::outbound, {});
    EndpointPicker picker_{1};
    Counters counters_;
    StatsShard stats_{1000, counters_};
    const SocketAddress destination_ = *SocketAddress::parse("10.96.0.1:9080");
    const sockaddr_storage client_address_ = [] {
        sockaddr_storage storage{};
        SocketAddress::parse("10.0.0.1:40000")->to_sockaddr(storage);
        return storage;
    }();
    std::unique_ptr<Codec> server_ = make_h1_server_codec({});
    std::unique_ptr<Codec> client_ = make_h1_client_codec({});
    Slice request_;
    Slice reply_ = Slice::of_static(reply);
    std::optional<Exchange> exchange_;
    Work work_;
    bool on_request_ = false;
};

struct Row {
    const char* name;
    std::string_view request;
    Relay::Work work;
};
constexpr Row rows[] = {
    {"plain", plain_request, Relay::Work::codec},       {"usual", usual_request, Relay::Work::codec},
    {"plain+chain", plain_request, Relay::Work::chain}, {"usual+chain", usual_request, Relay::Work::chain},
    {"plain+stats", plain_request, Relay::Work::stats}, {"usual+stats", usual_request, Relay::Work::stats},
};

[[gnu::noinline]] void run_rounds(Relay& relay, size_t rounds) {
    for (size_t round = 0; round < rounds; ++round)
        relay.exchange();
}

void measure(const Row& row, size_t rounds) {
    Relay relay(row.request, row.work);
    for (size_t warm = 0; warm < 100; ++warm)
        relay.exchange();
    double best_ns = 0;
    size_t counted = 0;
    for (int repeat = 0; repeat < 5; ++repeat) {
        const size_t before = allocations;
        const auto start = std::chrono::steady_clock::now();
        run_rounds(relay, rounds);
        const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
        counted = allocations - before;
        if (repeat == 0 || took.count() < best_ns)
            best_ns = took.count();
    }
    const auto count = static_cast<double>(rounds);
    std::printf("%-12s %8.0f ns %6.2f allocations\n", row.name, best_ns / count, static_cast<double>(counted) / count);
}

} // namespace
} // namespace weft::l7

int main(int argc, char** argv) {
    const size_t rounds = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 100'000;
    for (const auto& row : weft::l7::rows) {
        if (argc < 2 || row.name == std::string_view(argv[1]))
            weft::l7::measure(row, rounds);
    }
    return 0;
}
