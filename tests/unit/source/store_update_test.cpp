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

} // namespace
} // namespace weft::agent
