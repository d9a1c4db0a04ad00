// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/reconcile/fixture.hpp"

namespace weft::agent {
namespace {

using namespace yaml;

Strings uids(const std::string& text, std::vector<Diagnostic>& diagnostics) {
    Strings out;
    for (const auto& pod : pods_to_capture(store_of(text), {}, diagnostics))
        out.push_back(pod.uid);
    return out;
}
Strings uids(const std::string& text) {
    std::vector<Diagnostic> diagnostics;
    auto out = uids(text, diagnostics);
    EXPECT_TRUE(diagnostics.empty());
    return out;
}

TEST(Capture, the_pod_label_overrides_the_namespace_label) {
    EXPECT_EQ(uids(space("default", ambient) + pod({.name = "a", .ip = "10.0.0.1"}) +
                   pod({.name = "b", .ip = "10.0.0.2", .labels = "istio.io/dataplane-mode: none"})),
              Strings{"default/a"});
    EXPECT_EQ(uids(space("default") + pod({.name = "a", .ip = "10.0.0.1"}) +
                   pod({.name = "b", .ip = "10.0.0.2", .labels = ambient})),
              Strings{"default/b"});
    EXPECT_EQ(uids(space("default", "istio.io/dataplane-mode: none") +
                   pod({.name = "b", .ip = "10.0.0.2", .labels = ambient})),
              Strings{"default/b"});
    EXPECT_EQ(uids(pod({.name = "b", .ip = "10.0.0.2"})), Strings{});
}

TEST(Capture, host_network_finished_and_injected_pods_are_left_alone) {
    EXPECT_EQ(uids(space("default", ambient) + pod({.name = "a", .ip = "10.0.0.1", .spec = "hostNetwork: true"}) +
                   pod({.name = "b", .ip = "10.0.0.2", .status = "phase: Succeeded"}) +
                   pod({.name = "c", .ip = "10.0.0.2", .status = "phase: Failed"}) +
                   "---\napiVersion: v1\nkind: Pod\nmetadata: {name: d, annotations: {weftmesh.io/netns: x, "
                   "sidecar.istio.io/status: '{}'}}\nspec: {}\n"
                   "---\napiVersion: v1\nkind: Pod\nmetadata: {name: other-node}\nspec: {}\n"),
              Strings{});
}

TEST(Capture, of_two_pods_with_one_address_the_older_keeps_it) {
    std::vector<Diagnostic> diagnostics;
    const auto text = space("default", ambient) +
                      pod({.name = "a", .ip = "10.0.0.1", .created = "2024-01-02T00:00:00Z"}) +
                      pod({.name = "b", .ip = "10.0.0.1", .created = "2024-01-01T00:00:00Z"});
    EXPECT_EQ(uids(text, diagnostics), Strings{"default/b"});
    ASSERT_EQ(diagnostics.size(), 1U);
    EXPECT_EQ(diagnostics[0].object, "Pod default/a");
    EXPECT_EQ(diagnostics[0].field, "status.podIPs");
}

TEST(Capture, a_pod_that_is_going_gives_way_to_the_one_that_has_its_address_now) {
    std::vector<Diagnostic> diagnostics;
    const auto text = space("default", ambient) +
                      pod({.name = "a", .ip = "10.0.0.1", .created = "2024-01-01T00:00:00Z", .deleting = true}) +
                      pod({.name = "b", .ip = "10.0.0.1", .created = "2024-01-02T00:00:00Z"});
    EXPECT_EQ(uids(text, diagnostics), Strings{"default/b"});
    ASSERT_EQ(diagnostics.size(), 1U);
    EXPECT_EQ(diagnostics[0].object, "Pod default/a");
    EXPECT_EQ(diagnostics[0].severity, Diagnostic::Severity::warning);
}

TEST(Capture, namespaces_of_the_cluster_itself_are_never_enrolled) {
    EXPECT_EQ(uids(space("kube-system", ambient) + pod({.name = "a", .ip = "10.0.0.1", .ns = "kube-system"}) +
                   pod({.name = "b", .ip = "10.0.0.2", .labels = ambient, .ns = "istio-system"})),
              Strings{});
}

TEST(Capture, the_netns_must_be_a_name_or_an_absolute_path_and_nobody_elses) {
    const auto with = [](const std::string& name, const std::string& netns) {
        return "---\napiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", labels: {" + ambient +
               "}, annotations: {weftmesh.io/netns: '" + netns + "'}}\nspec: {}\n";
    };
    for (const char* bad : {"", "a/b", "..", "../x", "/run/netns/../../x"}) {
        std::vector<Diagnostic> diagnostics;
        EXPECT_EQ(uids(with("a", bad), diagnostics), Strings{}) << bad;
        EXPECT_EQ(diagnostics.size(), 1U) << bad;
    }
    EXPECT_EQ(uids(with("a", "x") + with("b", "/proc/7/ns/net")), (Strings{"default/a", "default/b"}));
    std::vector<Diagnostic> diagnostics;
    EXPECT_EQ(uids(with("a", "x") + with("b", "/var/run/netns/x"), diagnostics), Strings{"default/a"});
    EXPECT_EQ(diagnostics.size(), 1U);
}

} // namespace
} // namespace weft::agent
