// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/source/object_store.hpp"
#include "config/base/unique_fd.hpp"

namespace weft::agent {

/// The `*.yaml` and `*.yml` files of one directory (not of its subdirectories; names that begin with a dot are left
/// out; symbolic links to files are followed). Remembers parsed files by their content, so that a load costs the
/// parsing of what changed. Owned by the agent's reconcile loop and used on its thread only.
class DirectorySource {
public:
    explicit DirectorySource(std::string path) : path_(std::move(path)) {}

    /// Reads everything once. Never fails: what cannot be read keeps its objects from `previous` and is reported.
    [[nodiscard]] LoadResult load(const ObjectStore& previous);
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    struct Remembered {
        std::string content;
        std::shared_ptr<const ParsedFile> parsed;
    };

    [[nodiscard]] bool list(int directory, std::vector<std::string>& names, std::string& why) const;
    void read_file(int directory, const std::string& name, const ObjectStore& previous, size_t& bytes_left,
                   std::vector<SourceFile>& out, std::map<std::string, Remembered>& now);
    [[nodiscard]] LoadResult keep_all(const ObjectStore& previous, const std::string& why) const;

    std::string path_;
    std::map<std::string, Remembered> remembered_;
};

/// True for the names that a directory source reads.
[[nodiscard]] bool is_manifest_name(const std::string& name);

} // namespace weft::agent
