// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/json.hpp"

/// How the files of a CNI folder are changed so that the runtime calls weft-cni last, and back. Pure: files in, edits
/// out. The rules by which a runtime picks a file are those of libcni, containerd and CRI-O.
namespace weft::agent::cni {

inline constexpr size_t conf_bytes_max = 256 * 1024; ///< of one file
inline constexpr size_t conf_files_max = 256;        ///< of one folder
inline constexpr size_t conf_plugins_max = 64;       ///< of one list
/// A single configuration that was wrapped into a list is kept under its name and this, which no runtime reads.
inline constexpr std::string_view saved_suffix = ".weft-saved";

struct PluginSettings {
    std::string socket;
    bool fail_open = false;
    uint32_t timeout_s = 10;
    std::vector<std::string> excluded;
};
/// The plugin's entry in a list.
[[nodiscard]] Json plugin_entry(const PluginSettings& settings);

/// Whether a runtime reads a file of that name.
[[nodiscard]] bool is_conf_name(std::string_view name);

struct ConfFile {
    std::string name;
    std::string text;
    std::string
        fault{}; ///< why it cannot be read or must not be edited, which says nothing of the runtime; empty: it can
};

struct ConfEdit {
    enum class Kind : uint8_t {
        write,   ///< the file gets this text; it may be new
        save,    ///< the file gets the saved suffix
        restore, ///< the saved file gets its name back
        remove   ///< the file goes
    };
    Kind kind = Kind::write;
    std::string name;
    std::string text{};
    bool operator==(const ConfEdit&) const = default;
};

struct ConfPlan {
    std::vector<ConfEdit> edits;      ///< in order: at no time the runtime finds no configuration
    std::string active;               ///< the file that the runtime uses; empty: there is none
    std::string fault;                ///< why that one cannot have the entry; empty: it has it after the edits
    std::vector<std::string> skipped; ///< files before it that are no configuration, with the reason
};

/// So that the first file that is a valid configuration has the entry, as the last of its plugins and once, and no
/// other file has it. Nothing else in any file is changed. `saved`: names of saved files, without the suffix.
[[nodiscard]] ConfPlan plan_install(std::vector<ConfFile> files, const std::set<std::string>& saved, const Json& entry);
/// So that no file has the entry, and what was wrapped is as it was.
[[nodiscard]] std::vector<ConfEdit> plan_removal(std::vector<ConfFile> files, const std::set<std::string>& saved);

} // namespace weft::agent::cni
