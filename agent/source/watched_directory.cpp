// SPDX-License-Identifier: Apache-2.0
#include "agent/source/watched_directory.hpp"

namespace weft::agent {

Result<std::unique_ptr<Source>> WatchedDirectory::open(const std::string& path) {
    Result<DirectoryWatch> watch = DirectoryWatch::open(path);
    if (!watch)
        return std::unexpected(watch.error());
    return std::unique_ptr<Source>(new WatchedDirectory(path, *std::move(watch)));
}

LoadResult WatchedDirectory::load(ObjectStore previous) {
    LoadResult loaded = files_.load(previous);
    if (!watch_.complete())
        loaded.faults.push_back({.origin = files_.path(),
                                 .object = {},
                                 .field = {},
                                 .message = "not all of it can be watched (fs.inotify.max_user_watches): changes are "
                                            "seen by a scan every few seconds only"});
    return loaded;
}

} // namespace weft::agent
