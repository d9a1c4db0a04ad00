// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

struct datapath_bpf;

namespace weft::agent::bpf {

/// Loads programs onto the pinned maps of a former run if they fit, else onto new ones. On failure no pin is added.
[[nodiscard]] std::expected<datapath_bpf*, std::string> load_datapath(const std::string& pin_dir,
                                                                      uint64_t engine_timeout_ns);
/// The names of all pinned maps.
[[nodiscard]] std::vector<std::string> datapath_map_names();

} // namespace weft::agent::bpf
