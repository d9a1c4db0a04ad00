// SPDX-License-Identifier: Apache-2.0
#include "l7engine/server/memory_watch.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace weft::l7 {
namespace {

TEST(MemoryFiles, say_a_number_or_nothing) {
    EXPECT_EQ(read_bytes("1048576\n"), 1048576U);
    EXPECT_EQ(read_bytes("0\n"), 0U);
    EXPECT_EQ(read_bytes("max\n"), std::nullopt);
    EXPECT_EQ(read_bytes(""), std::nullopt);
    EXPECT_EQ(read_bytes("9223372036854771712\n"), std::nullopt) << "what cgroup1 writes for none";
    EXPECT_EQ(read_bytes("99999999999999999999999\n"), std::nullopt);
    EXPECT_EQ(read_resident_pages("4242 1234 567 1 0 99 0\n"), 1234U);
    EXPECT_EQ(read_resident_pages("4242"), std::nullopt);
    EXPECT_EQ(read_total_bytes("MemTotal:       24689764 kB\nMemFree: 1 kB\n"), uint64_t{24689764} * 1024);
    EXPECT_EQ(read_total_bytes("MemFree: 1 kB\n"), std::nullopt);
    EXPECT_EQ(read_total_bytes("MemTotal:"), std::nullopt);
    EXPECT_EQ(read_cgroup_path("0::/kubepods/pod1/c1\n"), "/kubepods/pod1/c1");
    EXPECT_EQ(read_cgroup_path("4:memory:/x\n1:cpu:/y\n0::/\n"), "/");
    EXPECT_EQ(read_cgroup_path("4:memory:/x\n"), std::nullopt);
    EXPECT_EQ(read_cgroup_path(""), std::nullopt);
}

/// A /proc and a cgroup2 of our own.
class MemoryWatchTest : public testing::Test {
protected:
    MemoryWatchTest() {
        char name[] = "/tmp/weft-memory-XXXXXX";
        root = mkdtemp(name);
        write("proc/meminfo", "MemTotal:       4096 kB\n");
        write("proc/self/statm", "5000 100 10 1 0 9 0\n");
        write("proc/self/cgroup", "0::/pods/mine\n");
    }
    ~MemoryWatchTest() override { std::filesystem::remove_all(root); }
    MemoryWatchTest(const MemoryWatchTest&) = delete;
    MemoryWatchTest& operator=(const MemoryWatchTest&) = delete;

    void write(const std::string& path, std::string_view text) {
        const std::filesystem::path file = root / path;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file) << text; // in place: an open file sees it
    }
    void cgroup(const std::string& path, std::string_view max, std::string_view current) {
        write("cgroup" + path + "/memory.max", max);
        write("cgroup" + path + "/memory.current", current);
    }
    [[nodiscard]] MemoryWatch watch(uint64_t limit = 0) const {
        return MemoryWatch(limit, {.proc = root / "proc", .cgroup_mounts = {root / "cgroup", root / "unified"}});
    }
    std::filesystem::path root;
    const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
};

TEST_F(MemoryWatchTest, without_any_limit_takes_a_quarter_of_the_hosts_memory) {
    const MemoryWatch memory = watch();
    EXPECT_EQ(memory.limit(), 1024U * 1024);
    EXPECT_EQ(memory.read().used, 100 * page);
    EXPECT_EQ(memory.read().limit, 1024U * 1024);
}

TEST_F(MemoryWatchTest, takes_the_containers_limit_and_what_the_kernel_charges_to_it) {
    cgroup("/pods/mine", "1000000\n", "500000\n");
    cgroup("/pods", "max\n", "700000\n");
    const MemoryWatch memory = watch();
    EXPECT_EQ(memory.limit(), 1'000'000U);
    EXPECT_EQ(memory.read().used, 500'000U);
    cgroup("/pods/mine", "1000000\n", "900000\n");
    EXPECT_EQ(memory.read().used, 900'000U) << "read anew";
}

TEST_F(MemoryWatchTest, the_page_cache_of_files_is_no_use_that_the_kernel_kills_for) {
    cgroup("/pods/mine", "1000000\n", "900000\n");
    write("cgroup/pods/mine/memory.stat",
          "anon 300000\nfile 500000\ninactive_file 400000\nactive_file 50000\nshmem 1\n");
    const MemoryWatch memory = watch();
    EXPECT_EQ(memory.read().used, 450'000U);
    write("cgroup/pods/mine/memory.stat", "inactive_file 9000000\n"); // read at another moment than the other file
    EXPECT_EQ(memory.read().used, 0U);
}

TEST_F(MemoryWatchTest, of_several_limits_the_nearest_counts) {
    cgroup("/pods/mine", "1000000\n", "500000\n");
    cgroup("/pods", "4000000\n", "3900000\n");
    const MemoryWatch memory = watch(400 * page);
    EXPECT_EQ(memory.limit(), 1'000'000U);
    EXPECT_EQ(memory.read().limit, 4'000'000U);
    cgroup("/pods", "4000000\n", "1000000\n");
    EXPECT_EQ(memory.read().limit, 1'000'000U);
    cgroup("/pods/mine", "1000000\n", "100000\n");
    EXPECT_EQ(memory.read().limit, 400 * page) << "the one that was given";
}

TEST_F(MemoryWatchTest, a_container_that_sees_itself_as_the_root_has_its_limit_there) {
    write("proc/self/cgroup", "0::/\n");
    cgroup("", "1000000\n", "500000\n");
    EXPECT_EQ(watch().read().used, 500'000U);
}

TEST_F(MemoryWatchTest, a_path_that_is_not_seen_here_leaves_what_is) {
    write("proc/self/cgroup", "0::/kubepods/of/the/host\n");
    cgroup("", "1000000\n", "500000\n");
    EXPECT_EQ(watch().limit(), 1'000'000U);
}

TEST_F(MemoryWatchTest, without_files_there_is_no_limit) {
    std::filesystem::remove_all(root / "proc");
    const MemoryWatch memory = watch();
    EXPECT_EQ(memory.limit(), 0U);
    EXPECT_EQ(memory.read().limit, 0U);
}

TEST(MemoryWatch, sees_this_process_grow) {
    const MemoryWatch memory(uint64_t{1} << 40);
    const uint64_t before = memory.read().used;
    EXPECT_GT(before, 0U);
    std::vector<char> big(64 * 1024 * 1024, 'x');
    asm volatile("" : : "r"(big.data()) : "memory"); // or the compiler would not make it
    EXPECT_GT(memory.read().used, before + big.size() / 2);
}

} // namespace
} // namespace weft::l7
