// SPDX-License-Identifier: Apache-2.0
#include "agent/source/store_update.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace weft::agent {
namespace {

const size_t services = AnyObject(std::shared_ptr<const Service>()).index();

ParsedObject service(const std::string& name, uint16_t port, bool good = true) {
    auto object = std::make_shared<Service>();
    object->meta.ns = "default";
    object->meta.name = name;
    object->ports.push_back({.name = "", .port = port, .app_protocol = {}, .target = port});
    ParsedObject parsed{
        .name = {.ns = "default", .name = name}, .object = std::shared_ptr<const Service>(), .faults = {}};
    if (good)
        parsed.object = std::shared_ptr<const Service>(std::move(object));
    else
        parsed.faults.push_back({.field = "spec", .message = "bad"});
    return parsed;
}

struct Subject {
    void put(ParsedObject object) {
        StoreUpdate(store, "api").apply(ObjectChange{.kind = services, .object = std::move(object), .deleted = false});
    }
    [[nodiscard]] int port(const std::string& name) const {
        const Service* found = store.find<Service>({.ns = "default", .name = name});
        return found == nullptr ? 0 : found->ports.at(0).port;
    }
    ObjectStore store;
};

TEST(StoreUpdate, takes_changes_and_deletions) {
    Subject s;
    s.put(service("a", 1));
    s.put(service("b", 2));
    s.put(service("a", 3));
    EXPECT_EQ(s.port("a"), 3);
    StoreUpdate(s.store, "api").apply(ObjectChange{.kind = services, .object = service("b", 0), .deleted = true});
    EXPECT_EQ(s.port("b"), 0);
    EXPECT_EQ(s.store.size(), 1U);
}

TEST(StoreUpdate, a_refused_version_keeps_the_last_good_one_in_force) {
    Subject s;
    s.put(service("a", 1));
    s.put(service("a", 0, false));
    EXPECT_EQ(s.port("a"), 1);
    EXPECT_EQ(s.store.all<Service>().begin()->second.faults.size(), 1U);
    StoreUpdate(s.store, "api").apply(KindListed{.kind = services, .objects = {service("a", 0, false)}});
    EXPECT_EQ(s.port("a"), 1);
    s.put(service("a", 5));
    EXPECT_EQ(s.port("a"), 5);
    EXPECT_TRUE(s.store.all<Service>().begin()->second.faults.empty());
}

TEST(StoreUpdate, what_a_list_does_not_have_is_gone_and_other_kinds_stay) {
    Subject s;
    s.put(service("a", 1));
    s.put(service("b", 2));
    s.store.all<Namespace>()[{.ns = "", .name = "default"}] = {};
    StoreUpdate(s.store, "api").apply(KindListed{.kind = services, .objects = {service("b", 4), service("c", 3)}});
    EXPECT_EQ(s.port("a"), 0);
    EXPECT_EQ(s.port("b"), 4);
    EXPECT_EQ(s.port("c"), 3);
    EXPECT_EQ(s.store.all<Namespace>().size(), 1U);
}

TEST(StoreUpdate, an_unchanged_object_stays_the_same_object) {
    Subject s;
    s.put(service("a", 1));
    const Service* before = s.store.find<Service>({.ns = "default", .name = "a"});
    s.put(service("a", 1));
    EXPECT_EQ(s.store.find<Service>({.ns = "default", .name = "a"}), before);
}

TEST(StoreUpdate, a_new_status_is_no_change_and_a_new_meaning_is) {
    ObjectStore store;
    const auto put = [&](ParsedObject object, Revision revision) {
        StoreUpdate update(store, "api");
        object.revision = std::move(revision);
        update.apply(ObjectChange{.kind = services, .object = std::move(object), .deleted = false});
        return update.changed();
    };
    const auto revision = [&] { return store.all<Service>().begin()->second.revision; };
    EXPECT_TRUE(put(service("a", 1), {.generation = 1, .version = 10}));
    EXPECT_FALSE(put(service("a", 1), {.generation = 1, .version = 11, .own_status = 5, .programmed = true}));
    EXPECT_EQ(revision().version, 10U) << "what it means came with that";
    EXPECT_EQ(revision().own_status, 5U);
    EXPECT_TRUE(revision().programmed);
    EXPECT_FALSE(put(service("a", 1), {.generation = 2, .version = 12}));
    EXPECT_EQ(revision().version, 12U) << "another generation, which says the same to us";
    EXPECT_TRUE(put(service("a", 2), {.generation = 2, .version = 13}));
    EXPECT_EQ(revision().version, 13U) << "labels have no generation";
    EXPECT_TRUE(put(service("a", 0, false), {.uid = "x", .version = 14}));
    EXPECT_FALSE(put(service("a", 0, false), {.uid = "x", .version = 15}));
    EXPECT_TRUE(put(service("a", 0, false), {.uid = "y", .version = 16})) << "deleted and made again";
    const auto listed = [&](std::vector<ParsedObject> objects) {
        StoreUpdate update(store, "api");
        update.apply(KindListed{.kind = services, .objects = std::move(objects)});
        return update.changed();
    };
    EXPECT_TRUE(listed({service("a", 3)}));
    EXPECT_FALSE(listed({service("a", 3)}));
    EXPECT_TRUE(listed({}));
    EXPECT_FALSE(listed({}));
}

ParsedObject parsed(const std::string& text) {
    ParsedFile file = parse_manifests(text);
    return file.objects.empty() ? ParsedObject{} : std::move(file.objects.front());
}

std::string pod(const std::string& meta, const std::string& spec, const std::string& status) {
    return "apiVersion: v1\nkind: Pod\nmetadata: {name: p, " + meta + "}\nspec: {" + spec + "}\nstatus: {" + status +
           "}\n";
}

std::vector<std::string> texts(const std::vector<IpAddress>& addresses) {
    std::vector<std::string> out;
    for (const IpAddress& address : addresses)
        out.push_back(address.to_string());
    return out;
}

/// The pod "p" after each of these versions, from an API server and from a directory.
std::vector<std::shared_ptr<const Pod>> after(const std::vector<ParsedObject>& versions) {
    ObjectStore served;
    LoadResult loaded;
    for (const ParsedObject& version : versions) {
        StoreUpdate(served, "api")
            .apply(ObjectChange{.kind = kind_info("Pod").index, .object = version, .deleted = false});
        auto file = std::make_shared<ParsedFile>();
        file->objects.push_back(version);
        loaded = merge(loaded.store, {SourceFile{.name = "f", .parsed = std::move(file), .unreadable = {}}});
    }
    return {served.all<Pod>().begin()->second.good, loaded.store.all<Pod>().begin()->second.good};
}

TEST(StoreUpdate, a_refused_pod_keeps_its_capture_and_none_of_its_old_facts) {
    const std::string meta = "uid: u-1, labels: {app: web}";
    const std::string node = "nodeName: n1, serviceAccountName: web";
    const std::string up = "phase: Running, conditions: [{type: Ready, status: 'True'}], podIP: 10.0.0.1";
    const ParsedObject good = parsed(pod(meta, node, up));
    ASSERT_TRUE(good.faults.empty());

    const std::string bad =
        "uid: u-1, annotations: {istio.io/x: '1'}, deletionTimestamp: '2026-01-01T00:00:00Z', labels: {app: 'b c'}";
    const ParsedObject over = parsed(pod(bad, node, "phase: Failed, conditions: [{type: Ready, status: 'False'}]"));
    ASSERT_FALSE(over.faults.empty());
    for (const auto& now : after({good, over})) {
        ASSERT_TRUE(now);
        EXPECT_TRUE(now->addresses.empty()) << "somebody else may have it";
        EXPECT_TRUE(now->finished);
        EXPECT_FALSE(now->ready);
        EXPECT_TRUE(now->meta.deleting);
        EXPECT_TRUE(now->meta.annotations.contains("istio.io/x"));
        EXPECT_EQ(now->meta.labels.at("app"), "web");
        EXPECT_EQ(now->service_account, "web");
        EXPECT_EQ(now->node_name, "n1");
    }
    for (const auto& now : after({good, parsed(pod("uid: u-1, labels: {app: 'b c'}", node, "podIP: 10.0.0.2"))}))
        EXPECT_EQ(texts(now->addresses), std::vector<std::string>{"10.0.0.2"});
    for (const auto& now : after({good, parsed(pod("uid: u-2, labels: {app: 'b c'}", node, up))}))
        EXPECT_FALSE(now) << "another pod of that name";
    for (const auto& now : after({parsed(pod("labels: {app: 'b c'}", node, up))}))
        EXPECT_FALSE(now) << "never was good";
    ParsedObject unread = over; // of which nothing could be read
    unread.read = {};
    for (const auto& now : after({good, unread})) {
        ASSERT_TRUE(now);
        EXPECT_TRUE(now->addresses.empty());
        EXPECT_FALSE(now->finished);
    }
    for (const auto& now : after({good, over, good}))
        EXPECT_EQ(texts(now->addresses), std::vector<std::string>{"10.0.0.1"});
}

TEST(StoreUpdate, a_refused_slice_has_the_endpoints_that_its_newest_version_names) {
    const std::string head = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n"
                             "metadata: {name: e, labels: {kubernetes.io/service-name: s}}\n";
    ObjectStore store;
    const auto put = [&](ParsedObject object) {
        StoreUpdate(store, "api")
            .apply(
                ObjectChange{.kind = kind_info("EndpointSlice").index, .object = std::move(object), .deleted = false});
        std::string out;
        for (const auto& endpoint : store.all<EndpointSlice>().begin()->second.good->endpoints)
            out += texts(endpoint.addresses).at(0) + (endpoint.ready ? " " : "! ");
        return out;
    };
    const ParsedObject good = parsed(head + "endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2]}]\n"
                                            "ports: [{port: 80}]\n");
    EXPECT_EQ(put(good), "10.0.0.1 10.0.0.2 ");
    EXPECT_EQ(put(parsed(head + "endpoints: [{addresses: [10.0.0.2], conditions: {ready: 'no'}}, "
                                "{addresses: [10.0.0.3]}]\nports: [{port: 0}]\n")),
              "10.0.0.2! 10.0.0.3 ");
    const EndpointSlice& now = *store.all<EndpointSlice>().begin()->second.good;
    EXPECT_EQ(now.service, "s");
    EXPECT_EQ(now.ports.at(0).port, 80);
    EXPECT_FALSE(store.all<EndpointSlice>().begin()->second.faults.empty());
    ParsedObject unread = good;
    unread.object = std::shared_ptr<const EndpointSlice>();
    unread.faults.push_back({.field = "", .message = "too large"});
    EXPECT_EQ(put(unread), "10.0.0.2! 10.0.0.3 ") << "nothing is known of it";
}

} // namespace
} // namespace weft::agent
