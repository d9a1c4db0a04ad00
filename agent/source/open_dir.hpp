// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <dirent.h>

#include <memory>

namespace weft::agent {

struct CloseDir {
    void operator()(DIR* dir) const { closedir(dir); }
};
/// A directory stream that closes itself.
using OpenDir = std::unique_ptr<DIR, CloseDir>;

} // namespace weft::agent
