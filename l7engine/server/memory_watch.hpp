// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/unique_fd.hpp"

namespace weft::l7 {

/// Where the kernel tells about memory; tests have folders of their own.
struct MemoryFiles {
    std::string proc = "/proc";
    /// Where cgroup2 may be mounted; the second in a hybrid hierarchy.
    std::vector<std::string> cgroup_mounts = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
};

/// How much memory the engine uses, and of how much: its own resident memory against a limit that was given, and what
/// the kernel charges to each cgroup that it is in and that has a limit, sockets' buffers among it, since that is what
/// the kernel kills by; without the page cache of files, which it takes back before it kills. Without any limit the
/// resident memory counts against a quarter of the host's.
///
/// All files are opened by the constructor, so before the sandbox is; read() only reads them again. One thread.
class MemoryWatch {
public:
    /// `limit_bytes` 0: none was given. What cannot be opened or read is left out.
    explicit MemoryWatch(uint64_t limit_bytes, const MemoryFiles& files = {});

    struct Reading {
        uint64_t used = 0;
        uint64_t limit = 0; ///< 0: nothing can be read
    };
    /// Of all sources the one that is nearest to its limit.
    [[nodiscard]] Reading read() const;
    /// The lowest limit of all.
    [[nodiscard]] uint64_t limit() const;

private:
    struct Source {
        UniqueFd file;
        UniqueFd stat; ///< of a cgroup; not there: nothing is taken off
        bool is_statm;
        uint64_t limit;
    };
    void add_resident(uint64_t limit, const MemoryFiles& files);
    void add_cgroups(const MemoryFiles& files);

    std::vector<Source> sources_;
};

/// Gives free memory of malloc back to the kernel. Stops every other allocation meanwhile: for emergencies.
void give_memory_back();

// What the files say; nullopt: not what they should say, or no limit.
/// memory.max, memory.current: a number of bytes, or "max".
[[nodiscard]] std::optional<uint64_t> read_bytes(std::string_view text);
/// memory.stat: bytes of files' pages; 0: it does not say.
[[nodiscard]] uint64_t read_file_cache_bytes(std::string_view text);
/// /proc/self/statm: the resident pages.
[[nodiscard]] std::optional<uint64_t> read_resident_pages(std::string_view text);
/// /proc/meminfo: MemTotal in bytes.
[[nodiscard]] std::optional<uint64_t> read_total_bytes(std::string_view text);
/// /proc/self/cgroup: the path in cgroup2, "/" at its root.
[[nodiscard]] std::optional<std::string_view> read_cgroup_path(std::string_view text);

} // namespace weft::l7
