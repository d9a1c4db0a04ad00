// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "agent/source/directory.hpp"
#include "agent/source/source.hpp"
#include "agent/source/watch.hpp"

namespace weft::agent {

/// A directory of manifests as a source (`--source dir:PATH`).
class WatchedDirectory final : public Source {
public:
    /// Error: the directory cannot be watched.
    [[nodiscard]] static Result<std::unique_ptr<Source>> open(const std::string& path);

    [[nodiscard]] int fd() const override { return watch_.fd(); }
    [[nodiscard]] bool ready() override { return watch_.ready(); }
    [[nodiscard]] bool unsettled() override { return watch_.writing(); }
    [[nodiscard]] LoadResult load(ObjectStore previous) override;
    [[nodiscard]] const std::string& name() const override { return files_.path(); }

private:
    WatchedDirectory(const std::string& path, DirectoryWatch watch) : files_(path), watch_(std::move(watch)) {}

    DirectorySource files_;
    DirectoryWatch watch_;
};

} // namespace weft::agent
