// SPDX-License-Identifier: Apache-2.0
#include "agent/inbox.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

namespace weft::agent {
namespace {

bool is_question(const LoopEvent& event) {
    if (const auto* control = std::get_if<engine::ControlEvent>(&event))
        return std::holds_alternative<engine::CtlAsked>(*control);
    if (const auto* plugin = std::get_if<cni::Event>(&event))
        return std::holds_alternative<cni::Asked>(*plugin);
    return std::holds_alternative<ReportWanted>(event);
}

} // namespace

Inbox::Inbox() : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

bool Inbox::put(LoopEvent event) {
    {
        const std::lock_guard lock(mutex_);
        const bool question = is_question(event);
        if (question && questions_ >= questions_max)
            return false;
        questions_ += question ? 1 : 0;
        events_.push_back(std::move(event));
    }
    const uint64_t one = 1;
    static_cast<void>(!::write(wake_.get(), &one, sizeof(one)));
    return true;
}

std::deque<LoopEvent> Inbox::take() {
    uint64_t count = 0;
    static_cast<void>(!::read(wake_.get(), &count, sizeof(count)));
    const std::lock_guard lock(mutex_);
    questions_ = 0;
    return std::exchange(events_, {});
}

} // namespace weft::agent
