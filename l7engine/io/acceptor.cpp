// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>
#include <vector>

#include "l7engine/io/tcp.hpp"
#include "l7engine/io/worker.hpp"

namespace weft::l7 {
namespace {

constexpr uint64_t shortage_retry_ms = 50;

/// What accept(2) reports of one dead connection: the next one may be fine.
bool concerns_one_connection(int error_number) {
    switch (error_number) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH: return true;
    default: return false;
    }
}

} // namespace

/// The multishot accept and, between failures, the timer until the next try.
struct Acceptor::State final : Completion, Timer {
    State(Worker& of, UniqueFd socket, Handler with)
        : worker(of), listener(std::move(socket)), handler(std::move(with)) {}
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    /// A multishot would empty the backlog before a pause could stop it: who has paused goes on one by one.
    void arm() {
        in_flight = true;
        if (std::exchange(paused_until, 0) != 0)
            worker.ring().accept_one(listener.get(), *this);
        else
            worker.ring().accept_multishot(listener.get(), *this);
    }
    void complete(int32_t result, bool more, Slice buffer) override;
    void expired() override;
    void pause(Deadline until);
    void resume();
    void request_stop();
    void abandon();
    void hand_over(UniqueFd socket);
    void failed(int error_number);
    void settle();

    Worker& worker;
    UniqueFd listener;
    Handler handler;
    std::vector<std::move_only_function<void()>> stopped; ///< who waits for the end, in order of their stop()
    uint64_t shortages = 0;
    Deadline paused_until = 0;
    bool in_flight = false;
    bool canceling = false;  ///< what is in flight, once
    bool in_handler = false; ///< the handler and those in `stopped` may destroy the acceptor
    bool stopping = false;
    bool abandoned = false;
};

void Acceptor::State::complete(int32_t result, bool more, Slice /*buffer*/) {
    if (!more)
        in_flight = canceling = false;
    if (result >= 0)
        hand_over(UniqueFd(result));
    else if (result != -ECANCELED)
        failed(-result);
    if (!in_flight && !stopping && !armed())
        resume();
    settle();
}

void Acceptor::State::pause(Deadline until) {
    paused_until = std::max(paused_until, until);
    if (in_flight && !stopping && !std::exchange(canceling, true))
        worker.ring().cancel(*this);
}

void Acceptor::State::resume() {
    if (worker.now_ms() < paused_until)
        worker.timers().arm(*this, paused_until);
    else
        arm();
}

void Acceptor::State::hand_over(UniqueFd socket) {
    if (abandoned)
        return worker.ring().close(socket.release());
    in_handler = true;
    handler(std::move(socket));
    in_handler = false;
}

void Acceptor::State::failed(int error_number) {
    if (concerns_one_connection(error_number))
        return;
    ++shortages;
    if (!stopping)
        worker.timers().arm(*this, worker.in_ms(shortage_retry_ms));
}

void Acceptor::State::expired() {
    if (stopping)
        return settle();
    if (!in_flight)
        resume();
}

void Acceptor::State::request_stop() {
    const bool first = !std::exchange(stopping, true);
    if (!in_flight)
        worker.timers().arm(*this, 0); // `stopped` never runs on the stack of stop()
    else if (first && !std::exchange(canceling, true))
        worker.ring().cancel(*this);
}

void Acceptor::State::abandon() {
    abandoned = true;
    stopped.clear();
    request_stop();
    worker.timers().disarm(*this);
    settle();
}

void Acceptor::State::settle() {
    if (!stopping || in_flight || in_handler || armed())
        return;
    if (listener)
        worker.ring().close(listener.release());
    if (abandoned) {
        delete this; // the last completion has run and no acceptor refers to it
        return;
    }
    in_handler = true;
    for (auto& then : std::exchange(stopped, {})) {
        if (!abandoned)
            then();
    }
    in_handler = false;
    if (abandoned)
        settle();
}

Acceptor::Acceptor(Worker& worker, UniqueFd listener, Handler handler)
    : state_(new State(worker, std::move(listener), std::move(handler))) {
    state_->arm();
}

Acceptor::~Acceptor() {
    state_->abandon();
}

void Acceptor::stop(std::move_only_function<void()> stopped) {
    state_->stopped.push_back(std::move(stopped));
    state_->request_stop();
}

void Acceptor::pause(Deadline until) {
    state_->pause(until);
}

int Acceptor::listener() const {
    return state_->listener.get();
}
uint64_t Acceptor::shortages() const {
    return state_->shortages;
}

} // namespace weft::l7
