// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bpf/bpf.h>

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "config/base/unique_fd.hpp"

namespace weft::agent::bpf {

/// What a pinned link is attached to.
struct LinkInfo {
    uint32_t type = 0;    ///< enum bpf_link_type
    uint32_t program = 0; ///< id
    uint64_t target = 0;  ///< cgroup id or netns inode; 0: it is gone and the link is dead
    uint32_t attach_type = 0;
};
/// False: not a link, or of a kind we do not make.
[[nodiscard]] bool read_link(int link_fd, LinkInfo& out);

/// One program that shall hang at one target under one pin.
struct LinkWanted {
    std::string path = {};
    int program_fd = -1;
    int target_fd = -1; ///< cgroup folder or netns; -1: only swap the program of what is pinned, drop a dead link
    uint64_t target = 0;
    bpf_attach_type attach_type = BPF_SK_LOOKUP;
};

/// Brings several links to what is wanted, all or nothing: swaps the program under a pinned link atomically, attaches
/// only what is missing, and never detaches before the new link hangs. After a failure everything is as before.
class LinkChange {
public:
    LinkChange() = default;
    ~LinkChange();
    LinkChange(const LinkChange&) = delete;
    LinkChange& operator=(const LinkChange&) = delete;
    LinkChange(LinkChange&&) = delete;
    LinkChange& operator=(LinkChange&&) = delete;

    /// One line on failure.
    [[nodiscard]] std::expected<void, std::string> apply(const std::vector<LinkWanted>& wanted);

private:
    struct Swapped {
        UniqueFd link;
        UniqueFd old_program;
    };
    struct Added {
        UniqueFd link;
        std::string path;
        UniqueFd replaced; ///< the pinned link to another target, kept alive until all is done
        bool pinned = false;
    };

    std::expected<void, std::string> swap_or_attach(const LinkWanted& wanted);
    std::expected<void, std::string> pin_added();
    void roll_back();

    std::vector<Swapped> swapped_;
    std::vector<Added> added_;
    std::vector<std::string> dead_;
    bool done_ = false;
};

} // namespace weft::agent::bpf
