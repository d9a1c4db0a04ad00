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

std::string placed(const std::string& name, const std::string& uid, const std::string& node,
                   const std::string& annotations = "", const std::string& spec = "") {
    return "---\napiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", labels: {" + ambient + "}, annotations: {" +
           annotations + "}" + (uid.empty() ? "" : ", uid: " + uid) + "}\nspec: {" +
           (node.empty() ? "" : "nodeName: " + node) + (spec.empty() ? "" : ", " + spec) + "}\n";
}

TEST(Capture, with_a_node_name_the_pods_of_that_node_are_captured_by_uid) {
    std::vector<Diagnostic> diagnostics;
    const auto store =
        store_of(placed("a", "u-a", "n1") + placed("b", "u-b", "n2") + placed("c", "u-c", "") +
                 placed("d", "u-d", "n1", "", "hostNetwork: true") + placed("e", "u-e", "n1", "weftmesh.io/netns: x") +
                 placed("f", "u-f", "n2", "weftmesh.io/netns: y") + placed("g", "u-g", "", "weftmesh.io/netns: z"));
    const auto found = pods_to_capture(store, {.name = "n1"}, diagnostics);
    EXPECT_TRUE(diagnostics.empty());
    const std::vector<PodToCapture> wanted = {
        {.uid = "default/a", .netns = "", .kubelet_uid = "u-a", .addresses = {}},
        {.uid = "default/e", .netns = "x", .kubelet_uid = "", .addresses = {}},
        {.uid = "default/g", .netns = "z", .kubelet_uid = "", .addresses = {}},
    };
    EXPECT_EQ(found, wanted);
    // From the API the annotation is the word of anybody who may make a pod.
    const auto strict = pods_to_capture(store, {.name = "n1", .trusts_annotation = false}, diagnostics);
    ASSERT_EQ(strict.size(), 2U);
    EXPECT_EQ(strict[1], (PodToCapture{.uid = "default/e", .netns = "", .kubelet_uid = "u-e", .addresses = {}}));
}

TEST(Capture, a_static_pod_is_found_by_its_hash_and_cannot_pose_as_another_pod) {
    const std::string mirror = "kubernetes.io/config.mirror: h, kubernetes.io/config.hash: ";
    const auto text = placed("a", "u-a", "n1", mirror + "h1") +                             // as the kubelet writes it
                      placed("b", "u-b", "n1", mirror + "u-c") + placed("c", "u-c", "n1") + // another's uid
                      placed("d", "u-d", "n1", mirror + "h1") +                             // another's hash
                      placed("e", "u-e", "n1", "kubernetes.io/config.hash: u-c") +          // no mirror
                      placed("f", "u-f", "n1", mirror + "../x") + placed("g", "", "n1");
    std::vector<Diagnostic> diagnostics;
    std::map<std::string, std::string> found;
    for (const auto& pod : pods_to_capture(store_of(text), {.name = "n1"}, diagnostics))
        found[pod.uid] = pod.kubelet_uid;
    EXPECT_EQ(found,
              (std::map<std::string, std::string>{{"default/a", "h1"}, {"default/c", "u-c"}, {"default/e", "u-e"}}));
    Strings said;
    for (const auto& each : diagnostics)
        said.push_back(each.object + " " + each.field);
    std::ranges::sort(said);
    const std::string hash = " metadata.annotations[kubernetes.io/config.hash]";
    EXPECT_EQ(said, (Strings{"Pod default/b" + hash, "Pod default/d" + hash, "Pod default/f" + hash,
                             "Pod default/g metadata.uid"}));
}

TEST(Capture, of_two_static_pods_with_one_hash_the_older_has_it_whether_or_not_it_is_enrolled) {
    const auto mirror = [](const std::string& name, const std::string& day, const std::string& mode,
                           const std::string& node, const std::string& more = "") {
        return "---\napiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", uid: u-" + name +
               ", creationTimestamp: '2024-01-" + day + "T00:00:00Z', labels: {istio.io/dataplane-mode: " + mode +
               "}, annotations: {kubernetes.io/config.mirror: h, kubernetes.io/config.hash: h1}" + more +
               "}\nspec: {nodeName: " + node + "}\n";
    };
    struct Row {
        const char* what;
        std::string other;
        bool captured;
    };
    const Row rows[] = {
        {"the other is an older one that is not enrolled", mirror("z", "01", "none", "n1"), false},
        {"and is going", mirror("z", "01", "none", "n1", ", deletionTimestamp: '2024-02-01T00:00:00Z'"), false},
        {"a younger one", mirror("z", "03", "none", "n1"), true},
        {"made in the same second: by name", mirror("z", "02", "none", "n1"), true},
        {"the same, the other way round", mirror("a", "02", "none", "n1"), false},
        {"of another node, whose kubelet has its own", mirror("z", "01", "none", "n2"), true},
    };
    for (const Row& row : rows) {
        std::vector<Diagnostic> diagnostics;
        const auto found =
            pods_to_capture(store_of(mirror("m", "02", "ambient", "n1") + row.other), {.name = "n1"}, diagnostics);
        EXPECT_EQ(found.size(), row.captured ? 1U : 0U) << row.what;
        EXPECT_EQ(diagnostics.size(), row.captured ? 0U : 1U) << row.what;
    }
}

} // namespace
} // namespace weft::agent
