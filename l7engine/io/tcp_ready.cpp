// SPDX-License-Identifier: Apache-2.0
#include <cassert>
#include <utility>

#include "l7engine/io/tcp_socket.hpp"
#include "l7engine/io/worker.hpp"

namespace weft::l7 {

TcpReady::~TcpReady() {
    assert(!waiter_ && "a coroutine frame was destroyed while it waited for a socket");
}

TcpReady*& TcpReady::place() {
    return what_ == For::receive ? socket_.receiver.ready : socket_.sender.ready;
}

bool TcpReady::await_ready() {
    const std::optional<Error> failure = what_ == For::receive ? socket_.receiver.failure() : socket_.sender.failure();
    if (failure)
        result_ = std::unexpected(*failure);
    return failure.has_value();
}

void TcpReady::await_suspend(std::coroutine_handle<> waiter) {
    assert(place() == nullptr && "one waits at a time");
    waiter_ = waiter;
    place() = this;
    if (what_ == For::receive)
        socket_.ring().poll_receive(socket_.descriptor(), *this);
    else
        socket_.ring().poll_send(socket_.descriptor(), *this);
    socket_.worker().timers().arm(*this, deadline_);
}

Result<void> TcpReady::await_resume() {
    waiter_ = nullptr;
    return result_;
}

void TcpReady::complete(int32_t result, [[maybe_unused]] bool more, Slice /*buffer*/) {
    assert(!more);
    socket_.worker().timers().disarm(*this);
    place() = nullptr;
    if (expired_ && result < 0 && result_)
        result_ = fail(Code::timeout, "wait");
    socket_.worker().resume_soon(waiter_);
    socket_.settle();
}

void TcpReady::expired() {
    expired_ = true;
    cancel();
}

void TcpReady::stop(Error why) {
    result_ = std::unexpected(why);
    cancel();
}

void TcpReady::cancel() {
    if (!std::exchange(canceling_, true))
        socket_.ring().cancel(*this);
}

} // namespace weft::l7
