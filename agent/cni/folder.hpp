// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <expected>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/cni/conflist.hpp"

/// Acts on one folder of the node. Links are not followed; every file is written beside its place, synced and renamed.
namespace weft::agent::cni {

struct FolderContents {
    std::vector<ConfFile> files;
    std::set<std::string> saved; ///< without the suffix
};
/// The configurations in it.
[[nodiscard]] std::expected<FolderContents, std::string> read_conf_folder(const std::string& folder);

/// Does one edit. A file that is not any more what was read (`before`: its text; empty: whatever it is) is left alone.
[[nodiscard]] std::expected<void, std::string> apply(const std::string& folder, const ConfEdit& edit,
                                                     std::string_view before);

/// The whole file, up to `most` bytes; a reason if it is longer, a link or no regular file.
[[nodiscard]] std::expected<std::string, std::string> read_file(const std::string& path, size_t most);
/// Puts a file there, or takes the place of the one that is. `like`: mode and owner of a file that is there stay.
[[nodiscard]] std::expected<void, std::string> write_file(const std::string& folder, const std::string& name,
                                                          std::string_view text, unsigned mode, bool like);
/// Inode, size and times, to tell whether a file is the one that was seen; empty: it is not there.
[[nodiscard]] std::string file_stamp(const std::string& path);

} // namespace weft::agent::cni
