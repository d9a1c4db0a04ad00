// SPDX-License-Identifier: Apache-2.0
#include "agent/source/directory.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <optional>

#include "agent/source/watch.hpp"
#include "config/base/clock.hpp"
#include "config/base/unique_fd.hpp"

namespace weft::agent {
namespace {

namespace fs = std::filesystem;

std::string policy(const std::string& name, const std::string& method) {
    return "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: " + name +
           "}\nspec:\n  targetRefs: [{group: '', kind: Service, name: s}]\n  rules: [{to: [{operation: {methods: ['" +
           method + "']}}]}]\n";
}
std::string space(const std::string& name, const std::string& label) {
    return "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + ", labels: {v: '" + label + "'}}\n";
}

class DirectoryTest : public testing::Test {
protected:
    DirectoryTest() {
        std::string form = fs::temp_directory_path() / "weft-source-XXXXXX";
        root_ = mkdtemp(form.data());
        dir_ = root_ / "manifests";
        fs::create_directory(dir_);
    }
    ~DirectoryTest() override { fs::remove_all(root_); }

    void write(const std::string& name, const std::string& content) { std::ofstream(dir_ / name) << content; }
    void replace(const std::string& name, const std::string& content) { // atomic
        std::ofstream(dir_ / (name + ".tmp")) << content;
        fs::rename(dir_ / (name + ".tmp"), dir_ / name);
    }
    const LoadResult& load() {
        result_ = source().load(result_.store);
        return result_;
    }
    DirectorySource& source() {
        if (!source_)
            source_.emplace(dir_.string());
        return *source_;
    }
    /// The label of a Namespace in force; "" if there is none.
    std::string label(const std::string& name) const {
        const auto* object = result_.store.find<Namespace>({"", name});
        return object == nullptr ? "" : object->meta.labels.at("v");
    }
    std::string method(const std::string& name) const {
        const auto* object = result_.store.find<AuthorizationPolicy>({"default", name});
        return object == nullptr ? "" : object->rules.at(0).to.at(0).methods.values.at(0).value;
    }

    fs::path root_;
    fs::path dir_;
    std::optional<DirectorySource> source_;
    LoadResult result_;
};

TEST_F(DirectoryTest, reads_yaml_and_yml_but_no_other_and_no_hidden_files) {
    write("a.yaml", space("a", "1") + space("b", "1"));
    write("c.yml", space("c", "1"));
    write("d.txt", space("d", "1"));
    write(".e.yaml", space("e", "1"));
    fs::create_directory(dir_ / "sub");
    write("sub/f.yaml", space("f", "1"));
    const auto& result = load();
    EXPECT_TRUE(result.faults.empty());
    EXPECT_EQ(result.store.size(), 3U);
    EXPECT_EQ(label("c"), "1");
}

TEST_F(DirectoryTest, a_refused_version_keeps_the_last_good_one_until_the_next_good_one) {
    write("a.yaml", policy("p", "GET"));
    load();
    write("a.yaml",
          "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: {rule: []}\n");
    load();
    EXPECT_EQ(method("p"), "GET");
    const auto& entry = result_.store.all<AuthorizationPolicy>().at({"default", "p"});
    ASSERT_FALSE(entry.faults.empty());
    write("a.yaml", policy("p", "PUT"));
    load();
    EXPECT_EQ(method("p"), "PUT");
    EXPECT_TRUE(result_.store.all<AuthorizationPolicy>().at({"default", "p"}).faults.empty());
}

TEST_F(DirectoryTest, a_refused_object_that_was_never_good_is_there_with_its_fault_only) {
    write("a.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\nx: 1\n");
    load();
    const auto& entry = result_.store.all<Namespace>().at({"", "a"});
    EXPECT_EQ(entry.good, nullptr);
    EXPECT_EQ(entry.faults.at(0).field, "x");
    EXPECT_EQ(result_.store.find<Namespace>({"", "a"}), nullptr);
}

TEST_F(DirectoryTest, a_file_that_does_not_parse_keeps_all_that_it_held) {
    write("a.yaml", policy("p", "GET") + policy("q", "GET"));
    write("b.yaml", space("b", "1"));
    load();
    write("a.yaml", policy("p", "PUT") + "\n\t broken: [\n");
    write("b.yaml", space("b", "2"));
    load();
    EXPECT_EQ(method("p"), "GET");
    EXPECT_EQ(method("q"), "GET");
    EXPECT_EQ(label("b"), "2");
    ASSERT_EQ(result_.faults.size(), 1U);
    EXPECT_EQ(result_.faults[0].origin, "a.yaml");
}

TEST_F(DirectoryTest, an_object_whose_name_became_unreadable_stays_in_force) {
    write("a.yaml", policy("p", "GET") + policy("q", "GET"));
    load();
    write("a.yaml", policy("Bad_Name", "GET") + policy("q", "PUT"));
    load();
    EXPECT_EQ(method("p"), "GET"); // it may be the one with the bad name
    EXPECT_EQ(method("q"), "PUT");
    EXPECT_EQ(result_.faults.size(), 1U);
}

TEST_F(DirectoryTest, a_deleted_file_and_a_deleted_document_remove_their_objects) {
    write("a.yaml", space("a", "1") + space("b", "1"));
    write("c.yaml", space("c", "1"));
    load();
    write("a.yaml", space("a", "1"));
    fs::remove(dir_ / "c.yaml");
    load();
    EXPECT_EQ(result_.store.size(), 1U);
    EXPECT_TRUE(result_.faults.empty());
}

TEST_F(DirectoryTest, an_emptied_file_keeps_its_objects) {
    write("a.yaml", policy("p", "GET"));
    load();
    write("a.yaml", "");
    load();
    EXPECT_EQ(method("p"), "GET");
    EXPECT_EQ(result_.faults.size(), 1U);
    write("a.yaml", "# on purpose\n");
    load();
    EXPECT_EQ(method("p"), "");
}

TEST_F(DirectoryTest, the_first_file_by_name_wins_at_first_start) {
    write("b.yaml", space("n", "b"));
    write("a.yaml", space("n", "a"));
    load();
    EXPECT_EQ(label("n"), "a");
    ASSERT_EQ(result_.faults.size(), 1U);
    EXPECT_EQ(result_.faults[0].object, "Namespace n");
    EXPECT_NE(result_.faults[0].message.find("a.yaml"), std::string::npos);
    EXPECT_NE(result_.faults[0].message.find("b.yaml"), std::string::npos);
}

TEST_F(DirectoryTest, of_duplicates_the_one_in_force_stays) {
    write("b.yaml", space("n", "b"));
    load();
    write("a.yaml", space("n", "a"));
    load();
    EXPECT_EQ(label("n"), "b");
    EXPECT_EQ(result_.faults.size(), 1U);
    write("b.yaml", "# gone\n");
    load();
    EXPECT_EQ(label("n"), "a");
    EXPECT_TRUE(result_.faults.empty());
}

TEST_F(DirectoryTest, of_duplicates_in_one_file_the_one_in_force_stays) {
    write("a.yaml", space("n", "1"));
    load();
    write("a.yaml", space("n", "0") + space("n", "1"));
    load();
    EXPECT_EQ(label("n"), "1");
    EXPECT_EQ(result_.faults.size(), 1U);
}

TEST_F(DirectoryTest, a_duplicate_does_not_take_over_while_the_file_in_force_is_broken) {
    write("b.yaml", policy("p", "GET"));
    load();
    write("a.yaml", policy("p", "PUT"));
    write("b.yaml", ": [");
    load();
    EXPECT_EQ(method("p"), "GET");
}

TEST_F(DirectoryTest, a_vanished_directory_keeps_everything) {
    write("a.yaml", policy("p", "GET"));
    load();
    fs::rename(dir_, root_ / "away");
    load();
    EXPECT_EQ(method("p"), "GET");
    ASSERT_EQ(result_.faults.size(), 1U);
    EXPECT_EQ(result_.faults[0].origin, dir_.string());
    fs::create_directory(dir_);
    load();
    EXPECT_EQ(method("p"), ""); // made again, and empty
}

/// Deletes a directory when one of its files is opened for reading: a lease on the file tells by a signal, which is
/// taken before open() returns to the reader.
std::vector<std::string> doomed;
void delete_doomed(int) {
    const int interrupted = errno;
    for (const std::string& path : doomed)
        std::remove(path.c_str());
    errno = interrupted;
}

TEST_F(DirectoryTest, a_directory_deleted_while_it_is_read_keeps_everything) {
    write("a.yaml", policy("p", "GET"));
    write("b.yaml", policy("q", "GET"));
    load();
    const UniqueFd lease(open((dir_ / "a.yaml").c_str(), O_RDWR | O_CLOEXEC));
    if (fcntl(lease.get(), F_SETLEASE, F_WRLCK) != 0)
        FAIL() << "this file system knows no leases: set TMPDIR to one that does";
    doomed = {dir_ / "a.yaml", dir_ / "b.yaml", dir_};
    struct sigaction act{};
    struct sigaction before{};
    act.sa_handler = delete_doomed;
    ASSERT_EQ(sigaction(SIGIO, &act, &before), 0);
    load();
    sigaction(SIGIO, &before, nullptr);
    ASSERT_FALSE(fs::exists(dir_));
    EXPECT_EQ(method("p"), "GET");
    EXPECT_EQ(method("q"), "GET");
    ASSERT_EQ(result_.faults.size(), 1U);
    EXPECT_NE(result_.faults[0].message.find("was deleted"), std::string::npos);
}

TEST_F(DirectoryTest, follows_links_and_reports_dangling_ones_pipes_and_folders) {
    std::ofstream(root_ / "real") << policy("p", "GET");
    fs::create_symlink(root_ / "real", dir_ / "a.yaml");
    load();
    EXPECT_EQ(method("p"), "GET");
    fs::remove(root_ / "real");
    ASSERT_EQ(mkfifo((dir_ / "b.yaml").c_str(), 0600), 0);
    fs::create_directory(dir_ / "c.yaml");
    load();
    EXPECT_EQ(method("p"), "GET");
    EXPECT_EQ(result_.faults.size(), 3U);
}

TEST_F(DirectoryTest, an_unchanged_file_gives_the_same_objects) {
    write("a.yaml", space("a", "1"));
    load();
    const auto before = result_.store;
    load();
    EXPECT_EQ(before.find<Namespace>({"", "a"}), result_.store.find<Namespace>({"", "a"}));
    EXPECT_TRUE(before == result_.store);
}

TEST_F(DirectoryTest, an_old_copy_of_the_store_does_not_change) {
    write("a.yaml", space("a", "1"));
    const auto before = load().store;
    write("a.yaml", space("a", "2"));
    load();
    EXPECT_EQ(before.find<Namespace>({"", "a"})->meta.labels.at("v"), "1");
}

class WatchTest : public DirectoryTest {
protected:
    /// True if the watch fires before the deadline.
    static bool fires(DirectoryWatch& watch, int within_ms) {
        const uint64_t end = monotonic_ms() + static_cast<uint64_t>(within_ms);
        for (uint64_t now = monotonic_ms(); now < end; now = monotonic_ms()) {
            pollfd wait{.fd = watch.fd(), .events = POLLIN, .revents = 0};
            poll(&wait, 1, static_cast<int>(end - now));
            if (watch.ready())
                return true;
        }
        return false;
    }
    DirectoryWatch watch() {
        auto made = DirectoryWatch::open(dir_.string());
        EXPECT_TRUE(made);
        return std::move(*made);
    }
    static constexpr int soon_ms = 3000; ///< well under the slow scan
    static constexpr int quiet_ms = 200;
};

TEST_F(WatchTest, is_quiet_without_changes) {
    auto it = watch();
    EXPECT_FALSE(fires(it, quiet_ms));
    EXPECT_TRUE(it.complete());
}

TEST_F(WatchTest, says_when_it_cannot_watch_everything) {
    fs::create_symlink("a.yaml", dir_ / "a.yaml"); // leads to itself
    EXPECT_FALSE(watch().complete());
}

TEST_F(WatchTest, sees_new_changed_renamed_and_deleted_files) {
    auto it = watch();
    write("a.yaml", "# 1\n");
    EXPECT_TRUE(fires(it, soon_ms));
    write("a.yaml", "# 2\n");
    EXPECT_TRUE(fires(it, soon_ms));
    replace("a.yaml", "# 3\n");
    EXPECT_TRUE(fires(it, soon_ms));
    fs::remove(dir_ / "a.yaml");
    EXPECT_TRUE(fires(it, soon_ms));
    EXPECT_FALSE(fires(it, quiet_ms));
}

TEST_F(WatchTest, many_changes_at_once_fire_once) {
    auto it = watch();
    for (int i = 0; i < 50; ++i)
        write("f" + std::to_string(i) + ".yaml", "# x\n");
    EXPECT_TRUE(fires(it, soon_ms));
    EXPECT_FALSE(fires(it, quiet_ms));
}

TEST_F(WatchTest, waits_for_a_writer_to_close_its_file) {
    auto it = watch();
    std::ofstream stream(dir_ / "a.yaml");
    EXPECT_FALSE(it.writing());
    stream << "half" << std::flush;
    EXPECT_TRUE(it.writing());
    EXPECT_FALSE(fires(it, quiet_ms));
    fs::permissions(dir_ / "a.yaml", fs::perms::owner_read);
    EXPECT_TRUE(it.writing());
    stream << " done\n";
    stream.close();
    EXPECT_FALSE(it.writing());
    EXPECT_TRUE(fires(it, soon_ms));
}

TEST_F(WatchTest, a_writer_that_never_closes_delays_only_so_long) {
    auto it = watch();
    std::ofstream stream(dir_ / "a.yaml");
    stream << "half" << std::flush;
    EXPECT_TRUE(fires(it, DirectoryWatch::patience_ms + soon_ms));
}

TEST_F(WatchTest, sees_a_config_map_style_link_swap) {
    const auto version = [&](const std::string& name, const std::string& content) {
        fs::create_directory(dir_ / name);
        std::ofstream(dir_ / name / "a.yaml") << content;
        fs::create_symlink(name, dir_ / "..data_tmp");
        fs::rename(dir_ / "..data_tmp", dir_ / "..data");
    };
    version("..1", policy("p", "GET"));
    fs::create_symlink("..data/a.yaml", dir_ / "a.yaml");
    load();
    EXPECT_EQ(method("p"), "GET");
    auto it = watch();
    version("..2", policy("p", "PUT"));
    ASSERT_TRUE(fires(it, soon_ms));
    load();
    EXPECT_EQ(method("p"), "PUT");
    fs::remove_all(dir_ / "..1");
    EXPECT_TRUE(fires(it, soon_ms));
}

TEST_F(WatchTest, sees_changes_of_a_link_target_elsewhere) {
    std::ofstream(root_ / "real") << "# 1\n";
    fs::create_symlink(root_ / "real", dir_ / "a.yaml");
    auto it = watch();
    std::ofstream(root_ / "real") << "# 2\n";
    EXPECT_TRUE(fires(it, soon_ms));
    std::ofstream(root_ / "next") << "# 3\n";
    fs::rename(root_ / "next", root_ / "real");
    EXPECT_TRUE(fires(it, soon_ms));
    std::ofstream(root_ / "real") << "# 4\n";
    EXPECT_TRUE(fires(it, soon_ms));
}

TEST_F(WatchTest, sees_the_directory_deleted_and_made_again) {
    auto it = watch();
    fs::remove_all(root_);
    EXPECT_TRUE(fires(it, soon_ms));
    fs::create_directories(dir_);
    EXPECT_TRUE(fires(it, soon_ms));
    write("a.yaml", "# 1\n");
    EXPECT_TRUE(fires(it, soon_ms));
}

TEST_F(WatchTest, ignores_what_happens_beside_the_directory) {
    auto it = watch();
    std::ofstream(root_ / "other") << "x";
    EXPECT_FALSE(fires(it, quiet_ms));
}

} // namespace
} // namespace weft::agent
