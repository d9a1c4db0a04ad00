// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <map>
#include <set>

#include "l7engine/filter/authz.hpp"
#include "l7engine/filter/chain.hpp"
#include "l7engine/filter/registry.hpp"
#include "l7engine/filter/router.hpp"
#include "l7engine/filter/sanitize.hpp"
#include "l7engine/io/task_group.hpp"

namespace weft::l7::test {
namespace {

config::Snapshot small_snapshot() {
    config::Snapshot snapshot;
    snapshot.workloads = {{.ns = "default",
                           .pod = "c",
                           .service_account = "c",
                           .name = "c",
                           .canonical_service = "c",
                           .canonical_revision = "v1",
                           .app = {},
                           .version = {},
                           .principal = "spiffe://cluster.local/ns/default/sa/c",
                           .addresses = {*IpAddress::parse("10.0.0.1")}}};
    snapshot.clusters = {{.ns = "default",
                          .service = "s",
                          .host = "s.default",
                          .port = 80,
                          .endpoints = {{.address = *SocketAddress::parse("10.0.1.1:80")},
                                        {.address = *SocketAddress::parse("10.0.1.2:80")}}}};
    snapshot.frontends = {{.id = 0x010000,
                           .addresses = {*IpAddress::parse("10.96.0.1")},
                           .port = 80,
                           .ns = "default",
                           .service = "s",
                           .host = "s.default",
                           .l7 = true,
                           .cluster = 0,
                           .consumer_routes = {}}};
    snapshot.pods = {{.id = 1, .workload = 0, .inbound = {}}};
    return snapshot;
}

std::shared_ptr<const SnapshotView> view_of(config::Snapshot snapshot) {
    return std::make_shared<const SnapshotView>(std::make_shared<const config::Snapshot>(std::move(snapshot)));
}

Exchange exchange_in(const SnapshotView& view, EndpointPicker& picker) {
    Exchange exchange{.view = &view};
    exchange.pod_id = 1;
    exchange.pod = view.pod(1);
    exchange.frontend = view.frontend(0x010000);
    exchange.peer = {.address = *SocketAddress::parse("10.0.0.1:4000"), .workload = view.workload(0U)};
    exchange.destination = *SocketAddress::parse("10.96.0.1:80");
    exchange.picker = &picker;
    exchange.request.method = "GET";
    exchange.request.path = "/";
    exchange.request.authority = "s";
    return exchange;
}

/// Writes its name down; answers, fails or takes its time as told.
class Probe final : public Filter {
public:
    enum class Kind : uint8_t { goes_on, replies, fails, goes_on_later, replies_later };
    Probe(std::string name, Kind kind, std::vector<std::string>& trace)
        : name_(std::move(name)), kind_(kind), trace_(trace) {}
    std::string_view name() const override { return name_; }
    Outcome on_request(Exchange&) override {
        trace_.push_back(name_ + ">");
        switch (kind_) {
        case Kind::goes_on: return Continue{};
        case Kind::replies: return LocalReply{.status = 418};
        case Kind::fails: return Result<Verdict>(fail(Code::unavailable, "probe"));
        case Kind::goes_on_later: return later(Continue{});
        case Kind::replies_later: return later(LocalReply{.status = 418});
        }
        return Continue{};
    }
    Outcome on_response(Exchange&) override {
        trace_.push_back("<" + name_);
        return kind_ == Kind::goes_on_later ? Outcome(later(Continue{})) : Outcome(Continue{});
    }

private:
    static Task<Result<Verdict>> later(Verdict verdict) { co_return verdict; }
    std::string name_;
    Kind kind_;
    std::vector<std::string>& trace_;
};

Task<void> run(const Chain& chain, Exchange& exchange, bool request, Result<Verdict>& out) {
    Outcome outcome = request ? chain.on_request(exchange) : chain.on_response(exchange);
    out = outcome.ready() ? outcome.take() : co_await outcome.task();
}

std::string run_chain(std::vector<Probe::Kind> kinds, bool request, std::vector<std::string>& trace) {
    std::vector<std::unique_ptr<Filter>> filters;
    for (const Probe::Kind kind : kinds)
        filters.push_back(
            std::make_unique<Probe>(std::string(1, static_cast<char>('a' + filters.size())), kind, trace));
    const Chain chain(std::move(filters));
    const auto view = view_of(small_snapshot());
    EndpointPicker picker(1);
    Exchange exchange = exchange_in(*view, picker);
    Result<Verdict> verdict;
    TaskGroup group;
    group.spawn(run(chain, exchange, request, verdict));
    EXPECT_EQ(group.size(), 0U);
    if (!verdict)
        return "error";
    const LocalReply* reply = std::get_if<LocalReply>(&*verdict);
    return reply == nullptr ? "continue" : std::to_string(reply->status);
}

TEST(Chain, runs_in_order_and_ends_at_the_first_answer_whether_at_once_or_later) {
    using enum Probe::Kind;
    struct Case {
        std::vector<Probe::Kind> kinds;
        std::string result;
        std::vector<std::string> trace;
    };
    const Case cases[] = {{{goes_on, goes_on}, "continue", {"a>", "b>"}},
                          {{}, "continue", {}},
                          {{goes_on, replies, goes_on}, "418", {"a>", "b>"}},
                          {{fails, goes_on}, "error", {"a>"}},
                          {{goes_on_later, goes_on, goes_on_later, goes_on}, "continue", {"a>", "b>", "c>", "d>"}},
                          {{goes_on_later, replies_later, goes_on}, "418", {"a>", "b>"}},
                          {{goes_on_later, replies, goes_on}, "418", {"a>", "b>"}}};
    for (const Case& one : cases) {
        std::vector<std::string> trace;
        EXPECT_EQ(run_chain(one.kinds, true, trace), one.result);
        EXPECT_EQ(trace, one.trace);
    }
}

TEST(Chain, passes_responses_in_reverse_order) {
    using enum Probe::Kind;
    std::vector<std::string> trace;
    EXPECT_EQ(run_chain({goes_on, goes_on_later, goes_on}, false, trace), "continue");
    EXPECT_THAT(trace, testing::ElementsAre("<c", "<b", "<a"));
}

TEST(Registry, judges_before_it_routes_and_cleans_before_it_judges) {
    std::vector<std::string_view> names;
    for (const FilterEntry& entry : filter_table())
        names.push_back(entry.name);
    EXPECT_THAT(names, testing::ElementsAre("sanitize", "authz", "identify", "router"));
    for (const Direction direction : {Direction::outbound, Direction::inbound}) {
        const Chain chain = make_chain(direction, {});
        ASSERT_EQ(chain.size(), names.size());
        for (size_t index = 0; index < names.size(); ++index)
            EXPECT_EQ(chain.at(index).name(), names[index]);
    }
}

TEST(Sanitize, takes_out_every_name_that_a_mesh_trusts_and_no_other) {
    const auto view = view_of(small_snapshot());
    EndpointPicker picker(1);
    Exchange exchange = exchange_in(*view, picker);
    const char* gone[] = {"x-envoy-original-path",
                          "X-Envoy-Internal",
                          "x-envoy-peer-metadata",
                          "X-ENVOY-PEER-METADATA-ID",
                          "x-istio-attributes",
                          "X-Forwarded-Client-Cert",
                          "x-envoy-decorator-operation",
                          "x-envoy-",
                          "X_Forwarded_Client_Cert",
                          "x_envoy_internal",
                          "x-istio_y",
                          "Content_Length",
                          "Transfer_Encoding",
                          "proxy_connection",
                          "Keep_Alive"};
    const char* kept[] = {"x-envoy",     "x-istio", "x-forwarded-for", "x-envoyed",    "envoy-x",
                          "x-",          "x_",      "X_Forwarded_For", "content_type", "X-HTTP-Method-Override",
                          "x-forwarded_"};
    for (const char* name : gone) {
        exchange.request.headers.add(name, "1");
        exchange.request.headers.add(name, "2");
    }
    for (const char* name : kept)
        exchange.request.headers.add(name, "1");
    const auto filter = make_sanitize({});
    EXPECT_TRUE(filter->on_request(exchange).ready());
    for (const char* name : gone)
        EXPECT_FALSE(exchange.request.headers.contains(name)) << name;
    for (const char* name : kept)
        EXPECT_TRUE(exchange.request.headers.contains(name)) << name;
    EXPECT_EQ(exchange.request.headers.size(), std::size(kept));
}

TEST(Sanitize, N07_names_with_underscores_pass_or_go_or_end_the_request) {
    const auto view = view_of(small_snapshot());
    EndpointPicker picker(1);
    for (const auto underscores : {UnderscoreNames::allow, UnderscoreNames::reject, UnderscoreNames::drop}) {
        const auto filter = make_sanitize({.underscore_names = underscores});
        Exchange exchange = exchange_in(*view, picker);
        exchange.request.headers.add("x-mine", "1");
        Outcome clean = filter->on_request(exchange);
        EXPECT_TRUE(std::holds_alternative<Continue>(*clean.take()));
        exchange.request.headers.add("X_Forwarded_For", "1");
        Outcome outcome = filter->on_request(exchange);
        const Result<Verdict> verdict = outcome.take();
        const LocalReply* reply = std::get_if<LocalReply>(&*verdict);
        EXPECT_EQ(reply == nullptr ? 0 : reply->status, underscores == UnderscoreNames::reject ? 400 : 0);
        if (reply == nullptr)
            EXPECT_EQ(exchange.request.headers.contains("x_forwarded_for"), underscores == UnderscoreNames::allow);
        EXPECT_TRUE(exchange.request.headers.contains("x-mine"));
        Trailers trailers;
        trailers.add("my_sum", "1");
        sanitize_trailers(trailers, underscores);
        EXPECT_EQ(trailers.size(), underscores == UnderscoreNames::allow ? 1U : 0U);
    }
}

TEST(Sanitize, paths_are_normalised_as_far_as_was_asked_for) {
    const auto view = view_of(small_snapshot());
    EndpointPicker picker(1);
    const std::pair<PathNormalization, const char*> cases[] = {
        {PathNormalization::none, "/a/../%62//c%2Fd"},
        {PathNormalization::base, "/b//c%2Fd"},
        {PathNormalization::merge_slashes, "/b/c%2Fd"},
        {PathNormalization::decode_and_merge_slashes, "/b/c/d"},
    };
    for (const auto& [level, expected] : cases) {
        Exchange exchange = exchange_in(*view, picker);
        exchange.request.path = "/a/../%62//c%2Fd";
        (void)make_sanitize({.path_normalization = level})->on_request(exchange);
        EXPECT_EQ(exchange.request.path, expected);
    }
}

TEST(Sanitize, takes_out_of_trailers_what_only_the_head_or_a_proxy_may_say) {
    Trailers trailers;
    const char* gone[] = {"x-envoy-original-path", "X-Istio-Attributes", "X-Forwarded-Client-Cert",
                          "x-forwarded-for",       "X-Forwarded-Proto",  "X-Real-IP"};
    const char* kept[] = {"grpc-status", "x-sum", "x-forwarded", "x-real-ips", "x-", "x", "my_sum"};
    for (const char* name : gone) {
        trailers.add(name, "1");
        trailers.add(name, "2");
    }
    for (const char* name : kept)
        trailers.add(name, "1");
    sanitize_trailers(trailers, UnderscoreNames::allow);
    EXPECT_EQ(trailers.size(), std::size(kept));
    for (const char* name : kept)
        EXPECT_TRUE(trailers.contains(name)) << name;
}

TEST(Identify, keeps_given_ids_makes_new_ones_and_names_the_server) {
    const auto view = view_of(small_snapshot());
    EndpointPicker picker(1);
    const auto filter = make_identify({.server_name = "weft", .debug_headers = true, .trusted_hops = 0});
    std::set<std::string> ids;
    for (int count = 0; count < 100; ++count) {
        Exchange exchange = exchange_in(*view, picker);
        (void)filter->on_request(exchange);
        const std::string id(*exchange.request.headers.find("x-request-id"));
        EXPECT_THAT(id, testing::MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
        ids.insert(id);
    }
    EXPECT_EQ(ids.size(), 100U);
    Exchange exchange = exchange_in(*view, picker);
    exchange.request.headers.add("X-Request-Id", "mine");
    exchange.request.headers.add("x-forwarded-proto", "https");
    exchange.response.headers.add("Server", "nginx");
    exchange.times = {.start_ms = 1, .upstream_start_ms = 10, .upstream_head_ms = 35};
    (void)filter->on_request(exchange);
    (void)filter->on_response(exchange);
    EXPECT_EQ(exchange.request.headers.find("x-request-id"), "mine");
    EXPECT_EQ(exchange.request.headers.find("x-forwarded-proto"), "https");
    EXPECT_EQ(exchange.response.headers.find("server"), "weft");
    EXPECT_EQ(exchange.response.headers.find("x-envoy-upstream-service-time"), "25");
    Exchange local = exchange_in(*view, picker);
    (void)filter->on_response(local);
    EXPECT_FALSE(local.response.headers.contains("x-envoy-upstream-service-time")) << "no backend was asked";
}

TEST(Identify, adds_only_what_is_switched_on) {
    const auto view = view_of(small_snapshot());
    EndpointPicker picker(1);
    for (const bool on : {true, false}) {
        Exchange exchange = exchange_in(*view, picker);
        const auto filter =
            make_identify({.server_name = "", .debug_headers = on, .request_id = on, .forwarded_proto = on});
        exchange.response.headers.add("server", "nginx");
        exchange.times = {.start_ms = 1, .upstream_start_ms = 10, .upstream_head_ms = 35};
        (void)filter->on_request(exchange);
        (void)filter->on_response(exchange);
        EXPECT_EQ(exchange.request.headers.contains("x-request-id"), on);
        EXPECT_EQ(exchange.request.headers.contains("x-forwarded-proto"), on);
        EXPECT_EQ(exchange.response.headers.contains("x-envoy-upstream-service-time"), on);
        EXPECT_EQ(exchange.response.headers.find("server"), "nginx");
    }
}

/// Status, flag and body of an answer; "" if there is none.
std::string answer_of(Outcome outcome) {
    Result<Verdict> verdict = outcome.take();
    const LocalReply* reply = std::get_if<LocalReply>(&*verdict);
    return reply == nullptr
               ? ""
               : std::to_string(reply->status) + " " + std::string(reply->flag) + " " + std::string(reply->body);
}

uint16_t status_of(Outcome outcome) {
    const std::string answer = answer_of(std::move(outcome));
    return answer.empty() ? 0 : static_cast<uint16_t>(std::stoi(answer));
}

TEST(Authz, refuses_a_pod_that_the_snapshot_does_not_know) {
    config::Snapshot snapshot = small_snapshot();
    snapshot.pods.clear();
    const auto view = view_of(snapshot);
    EndpointPicker picker(1);
    for (const Direction direction : {Direction::outbound, Direction::inbound}) {
        Exchange exchange = exchange_in(*view, picker);
        exchange.direction = direction;
        EXPECT_EQ(answer_of(make_authz({})->on_request(exchange)), "503 NC no configuration");
    }
}

TEST(Authz, gives_policies_the_dialled_address_and_the_pods_identity) {
    config::Snapshot snapshot = small_snapshot();
    config::PolicyRule rule;
    rule.from.resize(1);
    rule.from[0].principals.values = {
        {.kind = config::StringPattern::Kind::exact, .value = "cluster.local/ns/default/sa/c"}};
    rule.from[0].ip_blocks.values = {*Cidr::parse("10.0.0.1/32")};
    rule.to.resize(1);
    rule.to[0].ports.values = {80};
    rule.when = {{.key = config::PolicyCondition::Key::destination_ip,
                  .header = {},
                  .strings = {},
                  .namespaces = {},
                  .service_accounts = {},
                  .blocks = {.values = {*Cidr::parse("10.96.0.1/32")}, .not_values = {}},
                  .ports = {}}};
    snapshot.policies = {{.ns = "default", .name = "p", .action = config::Policy::Action::allow, .rules = {rule}}};
    snapshot.policy_sets = {{.deny = {}, .allow = {0}}};
    snapshot.frontends[0].policies = 0;
    const auto view = view_of(snapshot);
    EndpointPicker picker(1);
    Exchange exchange = exchange_in(*view, picker);
    EXPECT_EQ(status_of(make_authz({})->on_request(exchange)), 0);
    exchange.peer.workload = nullptr;
    EXPECT_EQ(status_of(make_authz({})->on_request(exchange)), 403);
}

TEST(Router, answers_what_cannot_be_routed_from_the_table) {
    config::Snapshot snapshot = small_snapshot();
    snapshot.clusters.push_back(
        {.ns = "default", .service = "empty", .host = "empty.default", .port = 80, .endpoints = {}});
    const config::RouteRule none_has_weight{.route = "r", .name = {}, .backends = {{.cluster = 0, .weight = 0}}};
    const config::RouteRule unresolved{.route = "r", .name = {}, .backends = {{.cluster = config::none, .weight = 1}}};
    const config::RouteRule no_endpoint{.route = "r", .name = {}, .backends = {{.cluster = 1, .weight = 1}}};
    const auto exact = [](std::string path) {
        config::RouteMatch match;
        match.path_kind = config::RouteMatch::Path::exact;
        match.path = std::move(path);
        return match;
    };
    snapshot.route_tables = {{.entries = {{.match = exact("/weight"), .rule = 0},
                                          {.match = exact("/unresolved"), .rule = 1},
                                          {.match = exact("/empty"), .rule = 2}},
                              .rules = {none_has_weight, unresolved, no_endpoint}}};
    snapshot.frontends[0].routes = 0;
    const auto view = view_of(snapshot);
    EndpointPicker picker(1);
    const auto router = make_router({});
    const std::pair<const char*, const char*> rows[] = {{"/weight", "500 - "},
                                                        {"/unresolved", "500 - "},
                                                        {"/empty", "503 UH no healthy upstream"},
                                                        {"/else", "404 NR "}};
    for (const auto& [path, expected] : rows) {
        Exchange exchange = exchange_in(*view, picker);
        exchange.request.path = path;
        EXPECT_EQ(answer_of(router->on_request(exchange)), expected) << path;
    }
    Exchange unknown = exchange_in(*view, picker);
    unknown.frontend = nullptr;
    EXPECT_EQ(answer_of(router->on_request(unknown)), "404 NR ");
}

TEST(Picker, spreads_by_open_requests_avoids_the_failed_and_forgets_the_idle) {
    const auto view = view_of(small_snapshot());
    EndpointPicker picker(1);
    std::map<uint32_t, std::vector<RouteChoice>> chosen;
    const auto choose = [&](std::vector<uint32_t> tried) {
        RouteChoice choice;
        choice.cluster = view->cluster(0);
        choice.tried = std::move(tried);
        EXPECT_TRUE(picker.choose(*view, choice, {.ipv4 = true, .now_ms = 0}));
        const uint32_t endpoint = *choice.endpoint;
        chosen[endpoint].push_back(std::move(choice));
        return endpoint;
    };
    for (int count = 0; count < 100; ++count)
        (void)choose({});
    EXPECT_NEAR(static_cast<double>(chosen[0].size()), 50, 1) << "two endpoints: always the less busy one";
    for (int count = 0; count < 20; ++count)
        EXPECT_EQ(choose({0}), 1U);
    const SocketAddress first = view->cluster(0)->endpoints[0].address;
    EXPECT_EQ(picker.in_flight(first), chosen[0].size());
    chosen[0].front().tried = {0};
    ASSERT_TRUE(picker.choose(*view, chosen[0].front(),
                              {.ipv4 = true, .now_ms = 0})); // another try counts at the other endpoint only
    EXPECT_EQ(picker.in_flight(first), chosen[0].size() - 1);
    chosen.erase(0);
    EXPECT_EQ(picker.in_flight(first), 0U);
    picker.forget_idle();
    EXPECT_EQ(picker.known_endpoints(), 1U);
    chosen.clear();
    picker.forget_idle();
    EXPECT_EQ(picker.known_endpoints(), 0U);
}

/// How often each of `count` endpoints is chosen.
std::map<uint32_t, int> choices_of(EndpointPicker& picker, uint64_t now_ms, std::vector<uint32_t> tried = {},
                                   int rounds = 200) {
    config::Snapshot snapshot = small_snapshot();
    snapshot.clusters[0].endpoints.push_back({.address = *SocketAddress::parse("10.0.1.3:80")});
    const auto view = view_of(snapshot);
    std::map<uint32_t, int> counts;
    for (int round = 0; round < rounds; ++round) {
        RouteChoice choice;
        choice.cluster = view->cluster(0);
        choice.tried = tried;
        EXPECT_TRUE(picker.choose(*view, choice, {.ipv4 = true, .now_ms = now_ms}));
        ++counts[*choice.endpoint];
    }
    return counts;
}

TEST(Picker, stays_away_from_ejected_and_tried_endpoints_as_long_as_there_are_others) {
    using testing::ElementsAre;
    using testing::Key;
    const SocketAddress endpoints[] = {*SocketAddress::parse("10.0.1.1:80"), *SocketAddress::parse("10.0.1.2:80"),
                                       *SocketAddress::parse("10.0.1.3:80")};
    EndpointPicker picker(1);
    EXPECT_THAT(choices_of(picker, 0), ElementsAre(Key(0), Key(1), Key(2)));
    EXPECT_THAT(choices_of(picker, 0, {1}), ElementsAre(Key(0), Key(2)));
    EXPECT_THAT(choices_of(picker, 0, {1, 0}), ElementsAre(Key(2)));
    EXPECT_THAT(choices_of(picker, 0, {1, 0, 2}), ElementsAre(Key(0), Key(1))) << "all but the one tried last";
    picker.endpoint_failed({0, endpoints[0]}, EndpointFailure::connect, 1'000);
    EXPECT_THAT(choices_of(picker, 1'500), ElementsAre(Key(1), Key(2)));
    EXPECT_THAT(choices_of(picker, 1'500, {1}), ElementsAre(Key(2)));
    EXPECT_THAT(choices_of(picker, 1'500, {1, 2}), ElementsAre(Key(0))) << "an ejected one before one that just failed";
    picker.endpoint_failed({0, endpoints[1]}, EndpointFailure::connect, 1'500);
    picker.endpoint_failed({0, endpoints[2]}, EndpointFailure::connect, 1'500);
    EXPECT_THAT(choices_of(picker, 1'600), ElementsAre(Key(0), Key(1), Key(2))) << "all are ejected: all are used";
    EXPECT_EQ(picker.health().ejections(), 3U);
    picker.endpoint_worked({0, endpoints[2]});
    EXPECT_THAT(choices_of(picker, 1'600), ElementsAre(Key(2)));
    const auto counts = choices_of(picker, 2'100);
    EXPECT_EQ(counts.at(0), 1) << "one request tries it";
    EXPECT_FALSE(counts.contains(1));
    picker.endpoint_worked({0, endpoints[0]});
    EXPECT_THAT(choices_of(picker, 2'200), ElementsAre(Key(0), Key(2)));
}

TEST(Router, chooses_again_among_those_not_tried) {
    config::Snapshot snapshot = small_snapshot();
    snapshot.clusters[0].endpoints.push_back({.address = *SocketAddress::parse("10.0.1.3:80")});
    const auto view = view_of(snapshot);
    EndpointPicker picker(1);
    Exchange exchange = exchange_in(*view, picker);
    EXPECT_EQ(status_of(make_router({})->on_request(exchange)), 0);
    std::set<uint32_t> chosen = {exchange.choice.endpoint.value()};
    for (int retry = 0; retry < 2; ++retry) {
        EXPECT_EQ(choose_again(exchange, 0), std::nullopt);
        chosen.insert(*exchange.choice.endpoint);
    }
    EXPECT_EQ(chosen.size(), 3U);
}

TEST(Router, counts_a_request_as_open_unless_the_endpoints_pod_refuses_it) {
    for (const bool refused : {false, true}) {
        config::Snapshot snapshot = small_snapshot();
        snapshot.clusters[0].endpoints.resize(1);
        snapshot.clusters[0].endpoints[0].local_pod = 1;
        snapshot.policies = {{.ns = "default", .name = "p", .action = config::Policy::Action::allow, .rules = {}}};
        snapshot.policy_sets = {{.deny = {}, .allow = {0}}};
        if (refused)
            snapshot.pods[0].inbound = {{.port = 80, .guards = {{.policies = 0}}}};
        const auto view = view_of(snapshot);
        const SocketAddress endpoint = view->cluster(0)->endpoints[0].address;
        EndpointPicker picker(1);
        {
            Exchange exchange = exchange_in(*view, picker);
            EXPECT_EQ(status_of(make_router({})->on_request(exchange)), refused ? 403 : 0);
            EXPECT_EQ(picker.in_flight(endpoint), refused ? 0U : 1U);
        }
        EXPECT_EQ(picker.in_flight(endpoint), 0U);
    }
}

TEST(Authz, remote_ip_is_that_of_x_forwarded_for_by_name_and_by_guard) {
    config::Snapshot snapshot = small_snapshot();
    config::PolicyRule by_source;
    by_source.from.resize(1);
    by_source.from[0].remote_ip_blocks.values = {*Cidr::parse("192.0.2.0/24")};
    config::PolicyRule by_condition;
    by_condition.when.resize(1);
    by_condition.when[0].key = config::PolicyCondition::Key::remote_ip;
    by_condition.when[0].blocks.values = {*Cidr::parse("192.0.2.0/24")};
    for (const config::PolicyRule& rule : {by_source, by_condition}) {
        for (const auto action : {config::Policy::Action::allow, config::Policy::Action::deny}) {
            const bool allow = action == config::Policy::Action::allow;
            snapshot.policies = {{.ns = "default", .name = "p", .action = action, .rules = {rule}}};
            snapshot.policy_sets = {{.deny = {}, .allow = {}}};
            (allow ? snapshot.policy_sets[0].allow : snapshot.policy_sets[0].deny) = {0};
            snapshot.frontends[0].policies = 0;
            snapshot.pods[0].inbound = {{.port = 80, .guards = {{.policies = config::none}, {.policies = 0}}}};
            const auto view = view_of(snapshot);
            EndpointPicker picker(1);
            for (const Direction direction : {Direction::outbound, Direction::inbound}) {
                Exchange exchange = exchange_in(*view, picker);
                exchange.direction = direction;
                EXPECT_EQ(status_of(make_authz({})->on_request(exchange)), allow ? 403 : 0);
                exchange.request.headers.add("x-forwarded-for", "192.0.2.7");
                EXPECT_EQ(status_of(make_authz({})->on_request(exchange)), allow ? 0 : 403);
            }
        }
    }
}

TEST(Authz, judges_the_path_that_sanitize_made) {
    config::Snapshot snapshot = small_snapshot();
    config::PolicyRule rule;
    rule.to.resize(1);
    rule.to[0].paths.values = {
        {.is_template = false, .text = {.kind = config::StringPattern::Kind::exact, .value = "/admin"}, .pattern = {}}};
    snapshot.policies = {{.ns = "default", .name = "p", .action = config::Policy::Action::deny, .rules = {rule}}};
    snapshot.policy_sets = {{.deny = {0}, .allow = {}}};
    snapshot.frontends[0].policies = 0;
    const auto view = view_of(snapshot);
    EndpointPicker picker(1);
    Exchange exchange = exchange_in(*view, picker);
    exchange.request.path = "/a/../admin?x";
    EXPECT_EQ(exchange.request_view().path, "/a/../admin"); // whoever looked before
    EXPECT_EQ(status_of(make_chain(Direction::outbound, {}).on_request(exchange)), 403);
}

TEST(Picker, stays_in_the_family_that_was_dialled_as_long_as_it_has_an_endpoint) {
    config::Snapshot snapshot = small_snapshot();
    snapshot.clusters[0].endpoints.push_back({.address = *SocketAddress::parse("[fd00::1]:80")});
    const auto view = view_of(snapshot);
    EndpointPicker picker(1);
    RouteChoice choice;
    choice.cluster = view->cluster(0);
    for (int count = 0; count < 20; ++count) {
        choice.tried = {2};
        ASSERT_TRUE(picker.choose(*view, choice, {.ipv4 = true, .now_ms = 0}));
        EXPECT_TRUE(choice.address.address.is_v4());
        choice.tried = {0};
        ASSERT_TRUE(picker.choose(*view, choice, {.ipv4 = false, .now_ms = 0}));
        EXPECT_EQ(choice.endpoint, 2U);
    }
    snapshot.clusters[0].endpoints.pop_back();
    const auto only_ipv4 = view_of(snapshot);
    choice.cluster = only_ipv4->cluster(0);
    ASSERT_TRUE(picker.choose(*only_ipv4, choice, {.ipv4 = false, .now_ms = 0}));
    EXPECT_TRUE(choice.address.address.is_v4());
}

} // namespace
} // namespace weft::l7::test
