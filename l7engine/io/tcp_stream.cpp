// SPDX-License-Identifier: Apache-2.0
#include <cassert>
#include <utility>

#include "l7engine/io/tcp.hpp"
#include "l7engine/io/tcp_socket.hpp"
#include "l7engine/io/worker.hpp"

namespace weft::l7 {
namespace {

/// The owner's end of a TcpSocket.
class TcpStream final : public ByteStream, public InSlab {
public:
    explicit TcpStream(TcpSocket* socket) : socket_(*socket) {}
    TcpStream(const TcpStream&) = delete;
    TcpStream& operator=(const TcpStream&) = delete;
    ~TcpStream() override {
        assert(!socket_.receiver.waiting() && "a stream dies after its reads");
        assert(!socket_.sender.in_flight() && "a stream dies after its writes");
        socket_.leave();
    }

    void shutdown_write() override { socket_.sender.shutdown(); }
    void abort(Error why, bool hard) override { socket_.abort(why, hard); }
    [[nodiscard]] size_t buffered() const override { return socket_.receiver.buffered(); }
    [[nodiscard]] bool peer_closed() const override { return socket_.receiver.ended(); }
    void watch_peer(PeerWatcher* watcher) override { socket_.receiver.watch(watcher); }
    [[nodiscard]] TcpSocket* tcp_socket() override { return &socket_; }

protected:
    bool try_read(Result<Slice>& out) override { return socket_.receiver.take(out); }
    void wait_read(std::coroutine_handle<> reader, Deadline deadline, Result<Slice>& out) override {
        socket_.receiver.wait(reader, deadline, out);
    }
    bool try_write(std::span<const Slice> slices, Result<size_t>& out) override {
        return socket_.sender.refuse(slices, out);
    }
    void wait_write(std::coroutine_handle<> writer, std::span<const Slice> slices, Deadline deadline,
                    Result<size_t>& out) override {
        socket_.sender.wait(writer, slices, deadline, out);
    }

private:
    TcpSocket& socket_; ///< outlives this by its operations in flight
};

} // namespace

TcpSocket::TcpSocket(Worker& worker, UniqueFd socket, const TcpSettings& settings, SocketHome home)
    : receiver(*this, settings), sender(*this), worker_(worker), socket_(std::move(socket)), home_(std::move(home)) {
    ring().no_delay(descriptor());
}

Ring& TcpSocket::ring() {
    return worker_.ring();
}

void TcpSocket::abort(Error why, bool hard) {
    if (std::exchange(aborted_, true))
        return;
    if (hard)
        ring().reset_on_close(descriptor());
    receiver.stop(why);
    sender.stop(why);
    settle();
}

void TcpSocket::leave() {
    left_ = true;
    receiver.stop(Error{.code = Code::canceled, .during = "close"});
    settle();
}

void TcpSocket::settle() {
    if (!(aborted_ || left_) || receiver.in_flight() || sender.in_flight())
        return;
    if (socket_) {
        const std::shared_ptr<SocketTaker> taker = aborted_ ? nullptr : home_.taker.lock();
        if (taker != nullptr)
            taker->take_back(std::move(socket_), home_.tag);
        else
            ring().close(socket_.release());
    }
    if (left_)
        delete this; // the last completion has run and no stream refers to it: nobody else could
}

std::unique_ptr<ByteStream> make_tcp_stream(Worker& worker, UniqueFd socket, const TcpSettings& settings,
                                            SocketHome home) {
    return std::make_unique<TcpStream>(new TcpSocket(worker, std::move(socket), settings, std::move(home)));
}

} // namespace weft::l7
