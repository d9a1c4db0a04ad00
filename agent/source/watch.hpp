// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "config/base/error.hpp"
#include "config/base/unique_fd.hpp"

namespace weft::agent {

/// Tells when a manifest directory has changed and come to rest. inotify watches the directory, the nearest folder
/// above it that exists (so that it may be deleted and made again) and the targets of links in it; a slow scan catches
/// what inotify cannot see. Owned by the reconcile loop, used on its thread only.
///
///     quiet --event--> dirty --no event for settle_ms, no writer left (or patience_ms)--> ready() is true once -->
///     quiet
class DirectoryWatch {
public:
    static constexpr int settle_ms = 50;
    static constexpr int patience_ms = 2000; ///< a writer that keeps a file open does not delay longer than this
    static constexpr int scan_ms = 5000;

    [[nodiscard]] static Result<DirectoryWatch> open(std::string directory);

    /// One descriptor to poll for reading.
    [[nodiscard]] int fd() const { return epoll_.get(); }
    /// Call when fd() is readable (harmless otherwise). True: the directory may have changed; load it.
    [[nodiscard]] bool ready();
    /// Somebody has a file open and has written to it: what it holds now may be half of what is meant. ready() comes
    /// when it is closed, or after patience_ms.
    [[nodiscard]] bool writing();
    /// False: something cannot be watched (inotify is short of watches), so changes are seen at the next scan only.
    [[nodiscard]] bool complete() const { return complete_; }

private:
    DirectoryWatch() = default;
    void drain();
    void rearm();
    int watch(const std::string& path, uint32_t events);
    [[nodiscard]] bool matters(int descriptor, const std::string& name) const;
    void set_timer(int fd, int ms) const;
    [[nodiscard]] uint64_t signature() const;

    std::string directory_;
    UniqueFd inotify_;
    UniqueFd settle_;
    UniqueFd scan_;
    UniqueFd epoll_;
    std::set<int> watches_;
    int above_ = -1;                ///< watch of the nearest folder above that exists
    std::string above_child_;       ///< the only name in it that matters
    std::set<std::string> writing_; ///< names modified and not closed yet
    uint64_t dirty_since_ms_ = 0;   ///< 0: quiet
    uint64_t seen_ = 0;             ///< signature at the last ready()
    bool complete_ = true;
};

} // namespace weft::agent
