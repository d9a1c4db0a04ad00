// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/server/fake_agent.hpp"

#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "bpf/abi.h"

namespace weft::l7::test {

namespace {

constexpr uint32_t patience_ms = 5'000;
constexpr uint32_t slot_count = 64;
constexpr uint32_t slots_begin = 64;

UniqueFd memory(size_t size) {
    UniqueFd fd(memfd_create("map", MFD_CLOEXEC));
    EXPECT_EQ(ftruncate(fd.get(), static_cast<off_t>(size)), 0);
    return fd;
}

} // namespace

FakeAgent::FakeAgent()
    : engine_state(memory(4096)), dial_slots(memory(sizeof(abi::weft_dial_slot) * (slots_begin + slot_count))) {
    std::string name = std::filesystem::temp_directory_path() / "weft-control-XXXXXX";
    folder_ = mkdtemp(name.data());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = folder_ / "agent.sock";
    std::memcpy(address.sun_path, path.data(), path.size());
    listener_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener_.get(), 8), 0);
}

FakeAgent::~FakeAgent() {
    stop_engine();
    std::filesystem::remove_all(folder_);
}

void FakeAgent::start_engine(uint32_t workers) {
    EngineSettings settings;
    settings.workers = workers;
    settings.ring = {.entries = 128, .buffers = 64, .buffer_bytes = 4096};
    auto engine = Engine::start(settings, [this](uint32_t worker, SocketStock::Wish wish) {
        inbox_.post([this, worker, wish] { control_->ask_sockets(worker, wish); });
    });
    ASSERT_TRUE(engine) << to_string(engine.error());
    engine_ = std::move(*engine);
    ControlSettings control;
    control.socket_path = folder_ / "agent.sock";
    control.version = "test";
    control.drain_timeout_ms = 2'000;
    control.reconnect_ms_max = 50;
    control_ = std::make_unique<Control>(control, *engine_, inbox_);
    thread_ = std::jthread([this] { control_->run(); });
}

void FakeAgent::stop_engine() {
    if (!thread_.joinable())
        return;
    inbox_.terminate();
    thread_.join();
    engine_.reset();
    control_.reset();
}

proto::EngineHello FakeAgent::accept_engine() {
    pollfd polled{.fd = listener_.get(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(poll(&polled, 1, patience_ms), 1) << "the engine does not connect";
    channel_.emplace(UniqueFd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)));
    Result<wire::Frame> frame = channel_->receive(patience_ms);
    proto::ToAgent message;
    if (!frame || !wire::parse_message(as_bytes(frame->bytes), message)) {
        ADD_FAILURE() << "no hello";
        return {};
    }
    hello_fds = std::move(frame->fds);
    proto::EngineHello hello = message.engine_hello();
    for (size_t wanted = hello_fds.size() + hello.listeners_to_come(); hello_fds.size() < wanted;) {
        frame = channel_->receive(patience_ms);
        if (!frame || !wire::parse_message(as_bytes(frame->bytes), message) || !message.has_more_listeners()) {
            ADD_FAILURE() << "the hello is not whole";
            return {};
        }
        hello.mutable_listeners()->MergeFrom(message.more_listeners().listeners());
        std::ranges::move(frame->fds, std::back_inserter(hello_fds));
    }
    return hello;
}

void FakeAgent::welcome() {
    proto::ToEngine message;
    message.mutable_welcome()->set_contract(proto::CONTRACT_VERSION);
    message.mutable_welcome()->set_version("fake");
    message.mutable_welcome()->set_dial_slots(slot_count);
    message.mutable_welcome()->set_dial_slots_begin(slots_begin);
    send(message, {engine_state.get(), dial_slots.get()});
}

void FakeAgent::send(const proto::ToEngine& message, const std::vector<int>& fds) {
    const std::string bytes = wire::serialize_message(message);
    EXPECT_TRUE(channel_->send(as_bytes(bytes), fds, patience_ms));
}

void FakeAgent::send_bytes(std::string_view bytes) {
    EXPECT_EQ(::send(channel_->fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
}

proto::ToAgent FakeAgent::receive() {
    proto::ToAgent message;
    Result<wire::Frame> frame = channel_->receive(patience_ms);
    if (!frame || !wire::parse_message(as_bytes(frame->bytes), message))
        ADD_FAILURE() << "no message: " << (frame ? "not one of ours" : to_string(frame.error()));
    return message;
}

proto::ToAgent FakeAgent::receive(proto::ToAgent::MessageCase kind) {
    for (;;) {
        proto::ToAgent message = receive();
        if (message.message_case() == kind || message.message_case() == proto::ToAgent::MESSAGE_NOT_SET)
            return message;
        if (message.has_sockets_wanted())
            answer_wish(message.sockets_wanted());
    }
}

void FakeAgent::answer_wish(const proto::SocketsWanted& wanted) {
    proto::ToEngine message;
    proto::GiveSockets& give = *message.mutable_give_sockets();
    give.set_pod_id(wanted.pod_id());
    give.set_worker(wanted.worker());
    give.set_ipv6(wanted.ipv6());
    give.set_count(wanted.count());
    std::vector<UniqueFd> sockets;
    std::vector<int> fds;
    for (uint32_t index = 0; index < wanted.count(); ++index) {
        sockets.emplace_back(socket(wanted.ipv6() ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        fds.push_back(sockets.back().get());
    }
    send(message, fds);
}

bool FakeAgent::engine_hung_up() {
    for (;;) {
        const Result<wire::Frame> frame = channel_->receive(patience_ms);
        if (!frame)
            return frame.error().code == Code::eof || frame.error().code == Code::reset;
    }
}

void FakeAgent::apply(const config::Snapshot& snapshot) {
    proto::ToEngine message;
    wire::to_proto(snapshot, *message.mutable_snapshot());
    send(message);
    const proto::ToAgent answer = receive(proto::ToAgent::kSnapshotApplied);
    EXPECT_EQ(answer.snapshot_applied().error(), "");
    EXPECT_EQ(answer.snapshot_applied().generation(), snapshot.generation);
}

void FakeAgent::give_listener(uint32_t pod_id, abi::weft_listener_kind kind, int fd) {
    proto::ToEngine message;
    message.mutable_give_listeners()->set_pod_id(pod_id);
    message.mutable_give_listeners()->add_kinds(kind);
    send(message, {fd});
}

uint64_t FakeAgent::heartbeat() const {
    uint64_t value = 0;
    EXPECT_EQ(pread(engine_state.get(), &value, sizeof value, 0), static_cast<ssize_t>(sizeof value));
    return value;
}

config::Snapshot snapshot_with(const SocketAddress& endpoint, uint64_t generation) {
    config::Snapshot snapshot;
    snapshot.generation = generation;
    snapshot.workloads = {{.ns = "default",
                           .pod = "client-0",
                           .service_account = "client",
                           .name = "client",
                           .canonical_service = "client",
                           .canonical_revision = "v1",
                           .app = "client",
                           .version = "v1",
                           .principal = "spiffe://cluster.local/ns/default/sa/client",
                           .addresses = {*IpAddress::parse("10.0.0.1")}}};
    snapshot.clusters = {{.ns = "default",
                          .service = "plain",
                          .host = "plain.default.svc.cluster.local",
                          .port = 80,
                          .endpoints = {{.address = endpoint}}}};
    snapshot.frontends = {{.id = 0x010001,
                           .addresses = {*IpAddress::parse("10.96.0.1")},
                           .port = 80,
                           .ns = "default",
                           .service = "plain",
                           .host = "plain.default.svc.cluster.local",
                           .l7 = true,
                           .cluster = 0,
                           .consumer_routes = {}}};
    snapshot.pods = {{.id = 1, .workload = 0, .inbound = {}}};
    return snapshot;
}

void enter_own_network() {
    static const bool entered = [] {
        if (unshare(CLONE_NEWNET) != 0)
            return false;
        const UniqueFd any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        ifreq request{};
        std::memcpy(request.ifr_name, "lo", 3);
        request.ifr_flags = IFF_UP | IFF_RUNNING;
        return ioctl(any.get(), SIOCSIFFLAGS, &request) == 0;
    }();
    ASSERT_TRUE(entered) << "these tests need root: a network namespace of their own";
}

UniqueFd tcp_listener(const SocketAddress& address) {
    sockaddr_storage storage{};
    const socklen_t size = address.to_sockaddr(storage);
    UniqueFd fd(socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int on = 1;
    (void)setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), size), 0) << strerror(errno);
    EXPECT_EQ(listen(fd.get(), 128), 0);
    return fd;
}

SocketAddress bound_to(const UniqueFd& socket) {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    EXPECT_EQ(getsockname(socket.get(), reinterpret_cast<sockaddr*>(&storage), &size), 0);
    return *SocketAddress::from_sockaddr(storage);
}

std::string talk(const SocketAddress& address, std::string_view request, bool* reset) {
    sockaddr_storage storage{};
    const socklen_t size = address.to_sockaddr(storage);
    const UniqueFd fd(socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval patience{.tv_sec = patience_ms / 1000, .tv_usec = 0};
    (void)setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0)
        return "not connected";
    (void)::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL);
    std::string got;
    char buffer[16384];
    for (;;) {
        const ssize_t count = recv(fd.get(), buffer, sizeof buffer, 0);
        if (reset != nullptr && count < 0)
            *reset = errno == ECONNRESET;
        if (count <= 0)
            return got;
        got.append(buffer, static_cast<size_t>(count));
    }
}

} // namespace weft::l7::test
