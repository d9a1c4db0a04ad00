// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "agent/cni/conflist.hpp"
#include "agent/metrics/counters.hpp"
#include "config/base/json.hpp"
#include "config/base/unique_fd.hpp"

namespace weft::agent::cni {

inline constexpr int settle_ms = 100;           ///< after a change in the folders, before they are read
inline constexpr int install_retry_ms = 2000;   ///< while there is no configuration, or it cannot be changed
inline constexpr int install_again_ms = 30'000; ///< else; inotify tells earlier
/// Somebody else who puts the file back each time is not fought without end.
inline constexpr int edit_wait_min_ms = 100;
inline constexpr int edit_wait_max_ms = 5000;
inline constexpr uint64_t edit_calm_ms = 10'000; ///< without an edit for so long, the wait is the least again
/// A file that comes back without our entry once was written anew; so often within the calm, the entry does not last.
inline constexpr unsigned put_back_min = 2;
inline constexpr size_t plugin_bytes_max = 64 * 1024 * 1024;

/// The node's CNI folders as this process sees them.
struct Folders {
    std::string conf;
    std::string bin;
};

/// Puts weft-cni into the node's CNI folders and keeps it there, on a thread of its own: the program first, then its
/// entry in the configuration that the runtime uses, each whole or not at all. Of others' files nothing else changes.
///
///     waiting ──ready()──▶ no configuration ◀──▶ installed ◀──▶ failed (tried again)
///
/// While somebody keeps putting the file back, most pods start without being held although each edit succeeds: failed,
/// until our entry has stayed for the calm.
class Installer {
public:
    struct Settings {
        Folders folders;
        std::string program; ///< the file to be copied
        PluginSettings plugin;
        std::function<bool()> may_install; ///< asked until it is true once: the agent answers
        uint64_t calm_ms = edit_calm_ms;
    };
    enum class State : uint8_t {
        waiting, ///< for the agent
        none,    ///< no configuration yet, so no pod can start either
        installed,
        failed ///< pods start without being held
    };
    struct View {
        State state = State::waiting;
        std::string file;   ///< the configuration that the runtime uses; may be empty
        std::string reason; ///< of failed
        std::vector<std::string> skipped;
    };

    static std::expected<std::unique_ptr<Installer>, std::string> start(Settings settings, metrics::Counters& counters);
    ~Installer();
    Installer(const Installer&) = delete;
    Installer& operator=(const Installer&) = delete;

    /// Ends the thread. What is installed stays.
    void stop();
    /// From any thread.
    [[nodiscard]] View view() const;
    [[nodiscard]] Json status() const;

private:
    Installer(Settings settings, UniqueFd wake, UniqueFd inotify, metrics::Counters& counters);
    void run(const std::stop_token& stop);
    void wait(int ms);
    void pause(int ms);
    struct Look;
    void reconcile();
    [[nodiscard]] std::expected<Look, std::string> look() const;
    void note_edit(const std::string& file);
    [[nodiscard]] bool is_contested() const;
    void fail(View next, const char* cause, std::string why);
    [[nodiscard]] std::optional<std::string> copy_program();
    void set(View view);

    const Settings settings_;
    const Json entry_;
    const UniqueFd wake_;
    const UniqueFd inotify_;
    metrics::Counters& counters_;

    // the thread
    std::string program_seen_; ///< of the installed program, when it was last found to be ours
    int edit_wait_ms_ = edit_wait_min_ms;
    uint64_t edited_at_ms_ = 0;
    std::string edited_file_; ///< the one that was used at the last edit
    unsigned put_back_ = 0;   ///< how often it came back without our entry, without a calm in between

    mutable std::mutex mutex_;
    View view_;
    std::jthread thread_;
};

[[nodiscard]] const char* name(Installer::State state);

/// Takes the entry out of every configuration, then the program out of its folder; what was wrapped is as it was. What
/// is not there is no fault. The error is one line for the first thing that could not be done; the rest is.
[[nodiscard]] std::expected<void, std::string> uninstall(const Folders& folders);

} // namespace weft::agent::cni
