// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <expected>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/base/error.hpp"
#include "config/base/unique_fd.hpp"

/// Which process of this node is the kubelet (decision 0016): its connections to pods are probes.
namespace weft::agent {

inline constexpr uint16_t kubelet_port_default = 10250; ///< kubelet, k3s, kubelite: KubeletConfiguration's `port`
inline constexpr uint64_t kubelet_retry_ms = 500;       ///< while nobody listens there
inline constexpr uint64_t kubelet_again_ms = 1000;      ///< after nobody who does was the kubelet: a walk through /proc
inline constexpr uint64_t kubelet_check_ms = 10'000;    ///< whether the one that was found still listens there
inline constexpr size_t processes_max = 65'536;         ///< of one walk
inline constexpr size_t descriptors_max = 65'536;       ///< of one process

/// A process that holds a socket which listens at the kubelet's port.
struct KubeletCandidate {
    pid_t pid = 0;
    uint64_t started_ticks = 0;
    std::string name{};                 ///< what it calls itself: for people, it decides nothing
    std::optional<uid_t> user{};        ///< effective; nullopt: gone
    std::vector<std::string> cgroups{}; ///< its paths, one of each hierarchy; none: gone
    bool operator==(const KubeletCandidate&) const = default;
};
/// Pure. Why it cannot be the kubelet; empty: it can.
[[nodiscard]] std::string why_no_kubelet(const KubeletCandidate& candidate);
/// Pure. The oldest that can be: what it has started may hold its sockets too. Error: one line.
[[nodiscard]] std::expected<KubeletCandidate, std::string>
choose_kubelet(const std::vector<KubeletCandidate>& candidates);

/// Finds the process and notices its end. Keeps one descriptor, of the process. The calling thread must be in the
/// host's network namespace, which is the agent's own. Used on the loop's thread only.
class KubeletFinder {
public:
    struct Settings {
        uint16_t port = kubelet_port_default;
        std::string proc = "/proc"; ///< of the pid namespace that we are in, which must be the host's
    };

    KubeletFinder() = default;
    explicit KubeletFinder(Settings settings) : settings_(std::move(settings)) {}

    /// One poll(2) while it lives and, now and then, whether it still listens: the kubelet may be another by now. The
    /// search, bounded in how often, while there is none. True: found() has changed.
    bool look(uint64_t now_ms);
    [[nodiscard]] const std::optional<KubeletCandidate>& found() const { return found_; }
    /// Why there is none; empty while there is one.
    [[nodiscard]] const std::string& fault() const { return fault_; }
    [[nodiscard]] uint16_t port() const { return settings_.port; }

private:
    [[nodiscard]] bool still_listens(uint64_t now_ms);
    [[nodiscard]] std::expected<void, std::string> search();
    [[nodiscard]] std::vector<KubeletCandidate> holders(const std::set<uint32_t>& inodes) const;
    [[nodiscard]] bool holds(pid_t pid, const std::set<uint32_t>& inodes) const;
    void describe(KubeletCandidate& candidate) const;

    Settings settings_;
    std::optional<KubeletCandidate> found_;
    UniqueFd process_; ///< pidfd of found_
    std::string fault_ = "not looked for yet";
    bool listening_ = false; ///< somebody did, at the last search
    uint64_t next_ms_ = 0;   ///< the next search
    uint64_t check_ms_ = 0;  ///< of found_
};

} // namespace weft::agent
