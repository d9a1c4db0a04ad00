// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "agent/bpf/datapath.hpp"
#include "agent/pods/kubelet.hpp"

namespace weft::agent {

/// Keeps the datapath told which process is this node's kubelet, and remembers why it is not for status. Owned by the
/// loop, used on its thread only.
class KubeletWatch {
public:
    /// For status.
    struct View {
        uint16_t port = 0; ///< 0: no kubelet is looked for
        int32_t pid = 0;   ///< 0: none is known
        std::string name;
        std::string fault; ///< why its probes are judged like any connection; empty: they pass
    };

    /// `port`: where it listens; 0: there is none on this machine.
    KubeletWatch(uint16_t port, bpf::Datapath& datapath);

    /// Looks, and tells the datapath what has changed. What a former run told it is replaced at the first tick.
    void tick(uint64_t now_ms);
    [[nodiscard]] View view() const;

private:
    void tell();

    bpf::Datapath& datapath_;
    std::optional<KubeletFinder> finder_;
    uint64_t netns_cookie_ = 0; ///< of the host, which is the agent's own
    bool told_ = false;         ///< the datapath has what the finder says
    std::string tell_fault_;
    std::string said_; ///< the last fault in the log
};

} // namespace weft::agent
