// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <future>
#include <mutex>
#include <variant>

#include "agent/cni/server.hpp"
#include "agent/engine/control.hpp"
#include "agent/metrics/report.hpp"
#include "config/base/unique_fd.hpp"

namespace weft::agent {

/// A scrape wants the kernel's counters, which only the loop's thread may read.
struct ReportWanted {
    std::promise<metrics::DatapathReport> answer;
};
struct StopWanted {};
using LoopEvent = std::variant<engine::ControlEvent, cni::Event, ReportWanted, StopWanted>;

/// The one queue of the loop. Any thread puts, the loop takes.
class Inbox {
public:
    Inbox();
    /// Engine events are as many as connections; what people and scrapes ask is limited. False: it is full, asked is
    /// dropped.
    bool put(LoopEvent event);
    [[nodiscard]] std::deque<LoopEvent> take();
    /// Readable while there is something to take.
    [[nodiscard]] int fd() const { return wake_.get(); }

private:
    static constexpr size_t questions_max = 256;
    UniqueFd wake_;
    std::mutex mutex_;
    std::deque<LoopEvent> events_;
    size_t questions_ = 0;
};

} // namespace weft::agent
