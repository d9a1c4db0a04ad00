// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "agent/source/source.hpp"

namespace weft::agent {

/// What another agent has in force is left alone by one that would not put the same in force: its source is not whole,
/// or lacks what was there (hold.hpp). Reads on meanwhile, so that changes do not pile up.
class Newcomer {
public:
    /// `objects_file`: the record of what the other has in force.
    explicit Newcomer(std::string objects_file) : objects_file_(std::move(objects_file)) {}

    /// Folds what the source has into `store`, which the agent then begins with.
    [[nodiscard]] bool may_take_over(Source& source, ObjectStore& store);

private:
    const std::string objects_file_;
    bool read_ = false; ///< all of it, once
    std::vector<std::string> reasons_;
};

} // namespace weft::agent
