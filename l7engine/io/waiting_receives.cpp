// SPDX-License-Identifier: Apache-2.0
#include "l7engine/io/waiting_receives.hpp"

namespace weft::l7 {

WaitingReceive::~WaitingReceive() {
    leave_list();
}

void WaitingReceive::leave_list() {
    if (list_ != nullptr)
        list_->remove(*this);
}

void WaitingReceives::add(WaitingReceive& receive) {
    if (receive.list_ != nullptr)
        return;
    receive.list_ = this;
    receive.previous_ = last_;
    receive.next_ = nullptr;
    (last_ != nullptr ? last_->next_ : first_) = &receive;
    last_ = &receive;
}

void WaitingReceives::remove(WaitingReceive& receive) {
    if (receive.list_ != this)
        return;
    (receive.previous_ != nullptr ? receive.previous_->next_ : first_) = receive.next_;
    (receive.next_ != nullptr ? receive.next_->previous_ : last_) = receive.previous_;
    receive.list_ = nullptr;
}

void WaitingReceives::wake(size_t at_most) {
    for (; at_most > 0 && first_ != nullptr; --at_most) {
        WaitingReceive& receive = *first_;
        remove(receive);
        receive.go_on();
    }
}

} // namespace weft::l7
