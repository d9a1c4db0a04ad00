// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/unique_fd.hpp"

/// The folder of pins in bpffs. A pin keeps its link, map or program alive when the agent is gone. Names have no dots
/// (bpffs refuses them): "link_..." for links, "link_pod_<id>" for those of pods, else a map's name.
namespace weft::agent::bpf {

[[nodiscard]] bool is_bpffs(const std::string& path);
/// Makes the folder if missing and takes its lock: one owner per datapath. An error is one line.
[[nodiscard]] std::expected<UniqueFd, std::string> lock_pins(const std::string& pin_dir);
[[nodiscard]] std::vector<std::string> list_pins(const std::string& pin_dir);
/// The pinned object, or an empty descriptor (errno says why).
[[nodiscard]] UniqueFd open_pin(const std::string& path);
/// Pins under a second name and renames over `path`: at no moment is there neither the old nor the new one.
[[nodiscard]] bool replace_pin(int fd, const std::string& path);

/// Detaches the link at once (an unpinned one would go in the background) and removes its pin. False: see errno.
[[nodiscard]] bool remove_link(const std::string& path);
/// Removes second names that a run left which was killed inside replace_pin.
void remove_half_pins(const std::string& pin_dir);

[[nodiscard]] std::string pod_link_name(uint32_t pod_id);
/// 0: not the name of a pod's link.
[[nodiscard]] uint32_t pod_of_link_name(std::string_view name);

/// Unpins links first (traffic flows as without Weft from then on), then the rest, and removes the folder. Maps are
/// ours by name, or, beside a `layout`, whatever their name is: another version may have named them. What is not ours
/// is left, and is an error. A missing folder is success.
[[nodiscard]] std::expected<void, std::string> remove_pins(const std::string& pin_dir,
                                                           const std::vector<std::string>& map_names);

} // namespace weft::agent::bpf
