// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/hold.hpp"
#include "agent/metrics/counters.hpp"
#include "agent/source/source.hpp"

namespace weft::agent {

/// The source's objects as they were last read, with what is wrong with them; what a former agent had of them, and the
/// record that says so to the next one. Of the loop's thread.
class SourceView {
public:
    /// `store`: what was read of the source already; empty: nothing.
    SourceView(std::unique_ptr<Source> source, ObjectStore store, std::string record_file, metrics::Counters& counters);

    /// What a former agent left, at a load.
    enum class Former : uint8_t {
        replaced, ///< this agent's objects are in force, or have been
        recorded, ///< nothing in the kernel, but the next pod is governed by it
        in_force, ///< the kernel has it: what is lacking now holds everything (hold.hpp)
    };
    /// Reads the source. True: it says something else than before.
    bool load(Former former);

    [[nodiscard]] Source& source() const { return *source_; }
    [[nodiscard]] const ObjectStore& store() const { return store_; }
    /// The same, to be completed for a moment by what weft-cni knows.
    [[nodiscard]] ObjectStore& store_to_complete() { return store_; }
    [[nodiscard]] const std::vector<SourceFault>& faults() const { return faults_; }
    /// Parts that say nothing: what they held stays, or is not known.
    [[nodiscard]] const std::vector<std::string>& unreadable() const { return unreadable_; }
    /// Parts that were not read whole yet; empty: nothing is to come.
    [[nodiscard]] const std::vector<std::string>& unread() const { return unread_; }
    [[nodiscard]] const std::vector<uint64_t>& versions() const { return versions_; }
    [[nodiscard]] size_t ignored() const { return ignored_; }
    [[nodiscard]] int64_t read_s() const { return read_s_; } ///< seconds of the epoch
    /// Why what a former agent put in force is left alone; empty: it is not.
    [[nodiscard]] const std::vector<std::string>& hold() const { return hold_; }
    [[nodiscard]] bool held() const { return !hold_.empty(); }

    /// To be called before any of the objects comes into force: the next agent must not take a good one that turned bad
    /// for one that never was good. Failures are counted, said once, and tried again with each call.
    void record();

private:
    const std::unique_ptr<Source> source_;
    const std::string record_file_;
    metrics::Counters& counters_;
    ObjectStore store_;
    std::vector<SourceFault> faults_;
    std::vector<std::string> unreadable_;
    std::vector<std::string> unread_;
    std::vector<uint64_t> versions_;
    size_t ignored_ = 0;
    int64_t read_s_ = 0;
    std::vector<std::string> hold_;
    const std::optional<Record> former_;
    std::optional<uint64_t> recorded_; ///< fingerprint of what the record says; nullopt: not ours yet
    bool record_failed_ = false;
};

} // namespace weft::agent
