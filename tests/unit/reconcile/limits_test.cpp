// SPDX-License-Identifier: Apache-2.0
// What does not fit, and how fast much is compiled.
#include "config/model/limits.hpp"

#include <chrono>

#include "tests/unit/reconcile/fixture.hpp"

namespace weft::agent {
namespace {

using namespace yaml;

/// Services with 1024 ports each, and so many addresses.
ObjectStore many_services(int count, const std::vector<const char*>& networks) {
    ObjectStore store;
    for (int i = 0; i < count; ++i) {
        auto service = std::make_shared<Service>();
        service->meta.ns = "default";
        service->meta.name = "s" + std::to_string(i);
        for (const char* network : networks)
            service->cluster_ips.push_back(*IpAddress::parse(network + std::to_string(i + 1)));
        for (uint16_t port = 1; port <= 1024; ++port)
            service->ports.push_back({.name = "http-" + std::to_string(port),
                                      .port = port,
                                      .protocol = Protocol::tcp,
                                      .app_protocol = {},
                                      .target = port});
        const ObjectName name{.ns = service->meta.ns, .name = service->meta.name};
        store.all<Service>().emplace(name, Entry<Service>{.good = std::move(service), .faults = {}, .origin = "f"});
    }
    return store;
}

TEST_F(ReconcileTest, services_that_do_not_fit_are_left_out_and_the_rest_is_served) {
    const auto out = compile(many_services(33, {"10.96.1.", "fd00::"}), options_, {}, {});
    EXPECT_EQ(out.kernel.services.size(), 65536U);
    EXPECT_EQ(out.snapshot.frontends.size(), 32768U);
    EXPECT_TRUE(std::ranges::all_of(out.snapshot.frontends, [](const auto& each) { return each.id != 0; }));
    EXPECT_FALSE(out.diagnostics.empty());
}

TEST_F(ReconcileTest, ports_above_the_limit_of_clusters_are_left_out) {
    const auto out = compile(many_services(257, {}), options_, {}, {});
    EXPECT_EQ(out.snapshot.clusters.size(), config::limits::clusters_max);
    EXPECT_FALSE(out.diagnostics.empty());
}

TEST_F(ReconcileTest, of_more_pods_than_fit_those_of_other_nodes_are_left_out) {
    constexpr size_t most = config::limits::workloads_max;
    ObjectStore store = store_of(space("default", ambient) + pod({.name = "z-local", .ip = "10.0.0.1"}));
    const auto other = std::make_shared<const Pod>();
    for (size_t i = 0; i < most; ++i)
        store.all<Pod>().emplace(ObjectName{.ns = "default", .name = "p" + std::to_string(i)},
                                 Entry<Pod>{.good = other, .faults = {}, .origin = "f"});
    std::vector<Diagnostic> diagnostics;
    const auto captured = pods_to_capture(store, {}, diagnostics);
    ASSERT_EQ(captured.size(), 1U);
    EXPECT_EQ(captured[0].uid, "default/z-local");
    ASSERT_EQ(diagnostics.size(), 1U);
    EXPECT_NE(diagnostics[0].object.find("Pod default/p9"), std::string::npos); // the last by name
}

TEST_F(ReconcileTest, a_service_for_which_no_id_is_left_has_no_frontend) {
    out_.service_ids.next = config::limits::service_id_max;
    compile_text(space("default", ambient) + pod({.name = "w1", .ip = "10.0.0.1"}) + service("a", "10.96.0.1") +
                 service("b", "10.96.0.2") + policy("p", at_service("b")));
    ASSERT_EQ(out_.snapshot.frontends.size(), 1U);
    EXPECT_EQ(out_.snapshot.frontends[0].service, "a");
    EXPECT_EQ(out_.snapshot.frontends[0].id, config::limits::service_id_max);
    EXPECT_TRUE(diagnosed("Service default/b", "all service ids"));
    ASSERT_EQ(guards("default/w1").at(8080).size(), 1U); // its policies guard the pod all the same
    EXPECT_EQ(guards("default/w1").at(8080)[0].frontend, config::none);
}

TEST_F(ReconcileTest, ten_thousand_routes_compile_quickly) {
    std::string text = space("default", ambient);
    for (int i = 0; i < 10'000; ++i) {
        const auto n = std::to_string(i);
        if (i < 1000) {
            text += pod({.name = "p" + n,
                         .ip = "10.1." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1),
                         .labels = "app: a" + n});
            text += service("s" + n, "10.96." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1),
                            "selector: {app: a" + n + "}, ports: [{port: 80, targetPort: http}]");
        }
        const auto target = "s" + std::to_string(i % 1000);
        text += route("r" + n, to_service(target),
                      "{matches: [{path: {value: /p" + n + "}}], backendRefs: [{name: " + target + ", port: 80}]}");
    }
    const auto store = store_of(text);
    const auto captured = capture_all(store);
    const auto begin = std::chrono::steady_clock::now();
    const auto out = compile(store, options_, captured, {});
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
    RecordProperty("compile_ms", static_cast<int>(spent.count() * 1000));
    EXPECT_EQ(out.snapshot.route_tables.size(), 1000U);
    EXPECT_LT(spent.count(), 5.0); // sanitizers and a loaded machine; in release well under one second
}

} // namespace
} // namespace weft::agent
