// SPDX-License-Identifier: Apache-2.0
#include <cassert>
#include <cerrno>
#include <utility>

#include "l7engine/io/tcp.hpp"
#include "l7engine/io/worker.hpp"

namespace weft::l7 {
namespace {

/// One connect in flight; lives in the frame of connect_tcp(), which leaves only after the completion.
class ConnectOperation final : public Completion, public Timer, public Cancel::Target {
public:
    ConnectOperation(Worker& worker, int socket, const SocketAddress& peer, Until until)
        : worker_(worker), socket_(socket), until_(until), length_(peer.to_sockaddr(address_)) {}
    ConnectOperation(const ConnectOperation&) = delete;
    ConnectOperation& operator=(const ConnectOperation&) = delete;
    ~ConnectOperation() override { assert(!waiter_ && "a coroutine frame was destroyed while it connected"); }

    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) {
        waiter_ = waiter;
        submit();
        worker_.timers().arm(*this, until_.deadline);
        if (until_.cancel == nullptr)
            return;
        until_.cancel->attach(*this);
        if (until_.cancel->canceled())
            cancel();
    }
    Result<void> await_resume() {
        waiter_ = nullptr;
        if (result_ == 0)
            return {};
        return std::unexpected(expired_ ? timeout() : error());
    }

    void complete(int32_t result, bool /*more*/, Slice /*buffer*/) override {
        if ((result == -EINTR || result == -EAGAIN) && !expired_ && !canceled_)
            return submit();
        result_ = result;
        worker_.timers().disarm(*this);
        if (until_.cancel != nullptr)
            until_.cancel->detach();
        worker_.resume_soon(waiter_);
    }
    void expired() override {
        expired_ = true;
        worker_.ring().cancel(*this);
    }
    /// The completion still comes: a connect that was faster stands.
    void cancel() override {
        canceled_ = true;
        worker_.ring().cancel(*this);
    }

private:
    void submit() { worker_.ring().connect(socket_, reinterpret_cast<const sockaddr*>(&address_), length_, *this); }
    [[nodiscard]] static Error timeout() {
        return {.code = Code::timeout, .side = Side::upstream, .retryable = true, .during = "connect"};
    }
    /// No byte was sent: another endpoint may be tried whatever went wrong.
    [[nodiscard]] Error error() const {
        Error error = from_errno(-result_, "connect", Side::upstream);
        error.retryable = true;
        switch (-result_) {
        case EHOSTUNREACH:
        case EHOSTDOWN:
        case ENETUNREACH:
        case ENETDOWN:
        case EADDRINUSE: error.code = Code::unavailable; break;
        case ECONNRESET:
        case ECONNABORTED: error.code = Code::refused; break;
        default: break;
        }
        return error;
    }

    Worker& worker_;
    int socket_;
    bool expired_ = false;
    bool canceled_ = false;
    int32_t result_ = 0;
    Until until_;
    std::coroutine_handle<> waiter_;
    sockaddr_storage address_{};
    socklen_t length_;
};

/// Owns the socket meanwhile, and itself.
class DisconnectOperation final : public Completion {
public:
    DisconnectOperation(Worker& worker, UniqueFd socket, std::move_only_function<void(UniqueFd)> done)
        : worker_(worker), socket_(std::move(socket)), done_(std::move(done)) {
        submit();
    }
    void complete(int32_t result, bool /*more*/, Slice /*buffer*/) override {
        if (result == -EINTR || result == -EAGAIN)
            return submit();
        if (result != 0)
            worker_.ring().close(socket_.release());
        done_(std::move(socket_));
        delete this; // the only completion has run
    }

private:
    ~DisconnectOperation() = default;
    void submit() { worker_.ring().connect(socket_.get(), &nowhere_, sizeof nowhere_, *this); }

    Worker& worker_;
    UniqueFd socket_;
    const sockaddr nowhere_{.sa_family = AF_UNSPEC, .sa_data = {}};
    std::move_only_function<void(UniqueFd)> done_;
};

} // namespace

Task<Result<std::unique_ptr<ByteStream>>> connect_tcp(Worker& worker, UniqueFd socket, SocketAddress peer, Until until,
                                                      const TcpSettings& settings, SocketHome home) {
    const Result<void> connected = co_await ConnectOperation(worker, socket.get(), peer, until);
    if (connected)
        co_return make_tcp_stream(worker, std::move(socket), settings, std::move(home));
    if (const std::shared_ptr<SocketTaker> taker = home.taker.lock())
        taker->take_back(std::move(socket), home.tag);
    else
        worker.ring().close(socket.release());
    co_return std::unexpected(connected.error());
}

void disconnect_tcp(Worker& worker, UniqueFd socket, std::move_only_function<void(UniqueFd)> done) {
    new DisconnectOperation(worker, std::move(socket), std::move(done)); // goes away by itself
}

} // namespace weft::l7
