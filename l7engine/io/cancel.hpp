// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "l7engine/io/timer.hpp"

namespace weft::l7 {

/// Lets somebody else end what a coroutine waits for: the wait returns Code::canceled. Owned by whoever may cancel, and
/// outlives the waits; one wait at a time. Once it was used, every later wait ends at once. One worker's thread.
class Cancel {
public:
    /// An operation that waits.
    class Target {
    public:
        virtual void cancel() = 0;

    protected:
        ~Target() = default;
    };

    void now() {
        canceled_ = true;
        if (target_ != nullptr)
            target_->cancel();
    }
    [[nodiscard]] bool canceled() const { return canceled_; }
    void attach(Target& target) { target_ = &target; }
    void detach() { target_ = nullptr; }

private:
    Target* target_ = nullptr;
    bool canceled_ = false;
};

/// When a wait ends, whatever happens.
struct Until {
    Until(Deadline at = never, Cancel* by = nullptr) : deadline(at), cancel(by) {}
    Deadline deadline;
    Cancel* cancel; ///< nullptr: nobody cancels
};

} // namespace weft::l7
