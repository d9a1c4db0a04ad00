// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

namespace weft::agent::bpf {

inline constexpr size_t hook_programs_max = 64;    ///< of one hook of one folder: the kernel's own limit
inline constexpr size_t hook_folders_max = 16'384; ///< below --cgroup
inline constexpr size_t lookup_netns_max = 4096;   ///< under /run/netns

struct AttachedProgram {
    uint32_t id = 0;
    std::string name; ///< at most 15 characters; empty: it has none, or went
    bool operator==(const AttachedProgram&) const = default;
};

/// What is attached at one of the hooks that the datapath uses, in a cgroup folder or a network namespace.
struct Hook {
    enum class Place : uint8_t {
        here,  ///< the folder of --cgroup
        above, ///< one of its parents
        below, ///< one of its descendants: runs before what is here
        netns  ///< sk_lookup in a network namespace
    };
    enum class Sharing : uint8_t {
        multi,    ///< others may attach beside it
        override, ///< a descendant may attach instead of it
        exclusive ///< nobody may attach here or below
    };
    Place place = Place::here;
    const char* name = ""; ///< "cgroup/connect4"
    std::string where;     ///< the folder's or the namespace's path
    Sharing sharing = Sharing::multi;
    std::vector<AttachedProgram> programs; ///< in the order in which they run
};

/// Every hook of ours that has a program: at `cgroup` and its parents up to the mount, those of connect also below.
/// Needs CAP_NET_ADMIN and CAP_SYS_ADMIN. The error is one line.
[[nodiscard]] std::expected<std::vector<Hook>, std::string> cgroup_hooks(const std::string& cgroup);

/// sk_lookup programs of the network namespaces that have a name in `folder`.
[[nodiscard]] std::vector<Hook> lookup_hooks(const std::string& folder);

} // namespace weft::agent::bpf
