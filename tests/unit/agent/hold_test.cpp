// SPDX-License-Identifier: Apache-2.0
#include "agent/hold.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace weft::agent {
namespace {

constexpr const char* good = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";
constexpr const char* refused = "apiVersion: v1\nkind: Namespace\nmetadata: {name: b}\nno_such_field: 1\n";
constexpr const char* broken = "kind: [\n";
constexpr const char* no_kind = "apiVersion: v1\nnote: x\n";

/// The first load of a new agent from one file, or none (nullptr), beside one that cannot be read whole or not.
LoadResult first_load(const char* text, const char* beside = nullptr) {
    std::vector<SourceFile> files;
    const auto add = [&](const char* name, const char* content) {
        if (content != nullptr)
            files.push_back({.name = name,
                             .parsed = std::make_shared<const ParsedFile>(parse_manifests(content)),
                             .unreadable = {}});
    };
    add("f.yaml", text);
    add("notes.yaml", beside);
    return merge({}, std::move(files));
}

TEST(Hold, AKindThatIsNotServedHoldsIfItsObjectsWereInForce) {
    LoadResult loaded = first_load(good);
    loaded.absent = {"AuthorizationPolicy", "HTTPRoute"};
    EXPECT_TRUE(reasons_to_hold(loaded, Record{{"Namespace a"}}).empty());
    EXPECT_TRUE(reasons_to_hold(loaded, Record{{"Namespace a", "Namespace gone"}}).empty());
    const auto reasons = reasons_to_hold(loaded, Record{{"AuthorizationPolicy default/x", "Namespace a"}});
    ASSERT_EQ(reasons.size(), 1U);
    EXPECT_NE(
        reasons.front().find("does not serve AuthorizationPolicy, and AuthorizationPolicy default/x was in force"),
        std::string::npos);
    EXPECT_EQ(reasons_to_hold(loaded, std::nullopt).size(), 2U) << "nobody knows what was in force";
}

TEST(Hold, OnlyWhatMayHaveBeenInForceAndIsMissingHolds) {
    struct Row {
        const char* text;
        std::optional<Record> former;
        const char* reason; ///< a part of it; nullptr: go on
        const char* beside = nullptr;
    };
    const std::string both = std::string(good) + "---\n" + refused;
    const std::string unserved = std::string(good) + "---\napiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\n"
                                                     "metadata: {name: g}\nspec: {parentRefs: [{name: w}]}\n";
    const Record only_a = {{"Namespace a"}};
    const Record a_and_b = {{"Namespace a", "Namespace b"}};
    const std::vector<Row> rows = {
        {good, only_a, nullptr},
        {good, std::nullopt, nullptr},
        {good, a_and_b, nullptr}, // b was deleted meanwhile
        {both.c_str(), only_a, nullptr},
        {both.c_str(), a_and_b, "Namespace b was in force and is refused now: no_such_field"},
        {both.c_str(), std::nullopt, "Namespace b is refused and may have been in force"},
        {unserved.c_str(), std::nullopt, nullptr}, // no release had it in force
        {broken, only_a, "f.yaml cannot be read whole and may hold what was in force, as Namespace a"},
        {broken, std::nullopt, "f.yaml cannot be read whole"},
        {broken, Record{}, nullptr},
        {good, only_a, nullptr, broken}, // nothing of it was in force
        {good, only_a, nullptr, no_kind},
        {good, a_and_b, "notes.yaml cannot be read whole and may hold what was in force, as Namespace b", broken},
        {good, a_and_b, "notes.yaml cannot be read whole", no_kind},
        {good, std::nullopt, "notes.yaml cannot be read whole", broken},
        {both.c_str(), only_a, nullptr, broken},
        {both.c_str(), a_and_b, "Namespace b was in force and is refused now", broken},
        {nullptr, only_a, "no object at all"},
        {nullptr, std::nullopt, "no object at all"},
        {nullptr, Record{}, nullptr},
    };
    for (const Row& row : rows) {
        const auto reasons = reasons_to_hold(first_load(row.text, row.beside), row.former);
        ASSERT_EQ(reasons.size(), row.reason == nullptr ? 0U : 1U)
            << (row.text == nullptr ? "" : row.text) << "beside" << (row.beside == nullptr ? "" : row.beside);
        if (row.reason != nullptr) {
            EXPECT_NE(reasons[0].find(row.reason), std::string::npos) << reasons[0];
            EXPECT_NE(reasons[0].find("; to go on, "), std::string::npos) << reasons[0];
        }
    }
}

TEST(Hold, TheFingerprintTellsOtherIdsApart) {
    const std::string both = std::string(good) + "---\n" + refused;
    const std::string another = std::string(good) + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: c}\n";
    const uint64_t one = fingerprint_of_record(first_load(good).store);
    EXPECT_EQ(one, fingerprint_of_record(first_load(both.c_str()).store)) << "what was refused is not in force";
    EXPECT_NE(one, fingerprint_of_record(first_load(another.c_str()).store));
    EXPECT_NE(one, fingerprint_of_record({}));
}

/// What turned bad while an agent ran: the next one goes on with what that one had.
TEST(Hold, TheGoodVersionOfWhatIsRefusedIsHandedOn) {
    const auto policy = [](const std::string& action) {
        return "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
               "metadata: {name: p, namespace: a, annotations: {istio.io/x: \"t\\tb\\né\", other/y: z}}\n"
               "spec: {targetRefs: [{kind: Service, name: s}], action: " +
               action + ", rules: [{to: [{operation: {paths: [/a]}}]}]}\n";
    };
    const auto load = [](const ObjectStore& before, const std::string& text) {
        std::vector<SourceFile> files;
        files.push_back(
            {.name = "f.yaml", .parsed = std::make_shared<const ParsedFile>(parse_manifests(text)), .unreadable = {}});
        return merge(before, std::move(files));
    };
    const std::string path = std::filesystem::temp_directory_path() / ("weft-handed-on-" + std::to_string(getpid()));
    const ObjectName name{.ns = "a", .name = "p"};
    const LoadResult fine = load({}, policy("DENY"));
    ASSERT_NE(fine.store.find<AuthorizationPolicy>(name), nullptr);
    EXPECT_TRUE(record_of(fine.store).outdated.empty()) << "the source has it";
    const LoadResult bad = load(fine.store, policy("PERMIT"));
    EXPECT_NE(fingerprint_of_record(fine.store), fingerprint_of_record(bad.store));
    ASSERT_TRUE(write_record(path, record_of(bad.store)));
    const std::optional<Record> former = read_record(path);
    EXPECT_EQ(former, record_of(bad.store));
    ASSERT_TRUE(former);

    LoadResult next = load({}, policy("PERMIT"));
    EXPECT_EQ(reasons_to_hold(next, former).size(), 1U);
    bring_back(next.store, *former);
    EXPECT_TRUE(reasons_to_hold(next, former).empty());
    const auto& entry = next.store.all<AuthorizationPolicy>().at(name);
    EXPECT_FALSE(entry.faults.empty()) << "and its status goes on saying why the newest is refused";
    ASSERT_NE(entry.good, nullptr);
    EXPECT_EQ(*entry.good, *fine.store.find<AuthorizationPolicy>(name));
    EXPECT_EQ(record_of(next.store), *former) << "the one after that, too";
    const LoadResult mended = load(next.store, policy("ALLOW"));
    EXPECT_NE(*mended.store.find<AuthorizationPolicy>(name), *entry.good);

    LoadResult garbled = load({}, policy("PERMIT"));
    for (const char* text : {"", "{", "[]", R"({"kind":"AuthorizationPolicy"})",
                             R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"p"}})"}) {
        bring_back(garbled.store, {.ids = {}, .outdated = {{"AuthorizationPolicy a/p", text}}});
        EXPECT_EQ(garbled.store.find<AuthorizationPolicy>(name), nullptr) << text;
    }
    std::filesystem::remove(path);
}

TEST(Hold, TheRecordIsWholeOrNotThere) {
    const std::string path = std::filesystem::temp_directory_path() / ("weft-record-" + std::to_string(getpid()));
    EXPECT_EQ(read_record(path), std::nullopt);
    const Record record = record_of(first_load(good).store);
    EXPECT_EQ(record, Record{{"Namespace a"}});
    EXPECT_TRUE(write_record(path, record));
    EXPECT_EQ(read_record(path), record);
    std::filesystem::create_directory(path + ".new"); // it cannot be written: an old one would say too little
    EXPECT_FALSE(write_record(path, {}));
    EXPECT_EQ(read_record(path), std::nullopt);
    std::filesystem::remove(path + ".new");
}

TEST(Hold, ARecordThatIsCutShortOrAnothersIsNone) {
    const std::string path = std::filesystem::temp_directory_path() / ("weft-cut-record-" + std::to_string(getpid()));
    for (const char* text : {"", "Namespace a\n", "Namespace a\nen", "end\nNamespace a\n"}) {
        std::ofstream(path) << text;
        EXPECT_EQ(read_record(path), std::nullopt) << text;
    }
    EXPECT_TRUE(write_record(path, {}));
    EXPECT_EQ(read_record(path), Record{});
    std::filesystem::remove(path);
}

TEST(Hold, TheRecordFollowsNoLinkAndIsForItsOwnerOnly) {
    namespace fs = std::filesystem;
    const std::string path = fs::temp_directory_path() / ("weft-linked-record-" + std::to_string(getpid()));
    const std::string other = path + ".other";
    std::ofstream(other) << "kept";
    fs::create_symlink(other, path + ".new");
    EXPECT_TRUE(write_record(path, {{"Namespace a"}}));
    EXPECT_EQ(read_record(path), Record{{"Namespace a"}});
    EXPECT_EQ(fs::file_size(other), 4U);
    EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(path)));
    EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_read | fs::perms::owner_write);
    fs::remove(path);
    fs::remove(other);
}

} // namespace
} // namespace weft::agent
