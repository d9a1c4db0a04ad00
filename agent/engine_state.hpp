// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace weft::agent {

/// How far the engine at work is with the newest snapshot. A refusal belongs to the snapshot, not to the connection: it
/// stays, whichever engine comes and goes, until that snapshot is in force or another takes its place. Else the kernel
/// would be loosened for a snapshot that nobody takes, as soon as the engine is lost. Owned by the loop.
class EngineState {
public:
    void arrived() {
        connected_ = true;
        applied_ = 0;
    }
    void gone() {
        connected_ = false;
        applied_ = 0;
    }
    /// Another snapshot: what was said of the former one is past.
    void published(uint64_t generation) {
        wanted_ = generation;
        error_.clear();
    }
    /// The same snapshot under another number.
    void renumbered(uint64_t generation) { wanted_ = generation; }
    void refused(std::string error) { error_ = std::move(error); }
    void applied(uint64_t generation) {
        applied_ = generation;
        if (applied_ == wanted_)
            error_.clear();
    }

    [[nodiscard]] bool connected() const { return connected_; }
    /// Why the newest snapshot was refused, by an engine or by the agent itself; empty: it was not.
    [[nodiscard]] const std::string& error() const { return error_; }
    /// The newest snapshot is in force.
    [[nodiscard]] bool acknowledged() const {
        return connected_ && error_.empty() && wanted_ != 0 && applied_ == wanted_;
    }
    /// The kernel may take what only loosens: the engine is there with the newest snapshot, or there is none to wait
    /// for.
    [[nodiscard]] bool may_loosen() const { return acknowledged() || (!connected_ && error_.empty()); }

private:
    bool connected_ = false;
    uint64_t wanted_ = 0;  ///< the newest generation; 0: none yet
    uint64_t applied_ = 0; ///< the last that the engine at work has in force; 0: none yet
    std::string error_;
};

} // namespace weft::agent
