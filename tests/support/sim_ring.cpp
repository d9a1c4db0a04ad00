// SPDX-License-Identifier: Apache-2.0
// The class Ring of l7engine/io/ring.hpp over a simulated world; linked instead of l7engine/io/ring.cpp.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <vector>

#include "l7engine/io/ring.hpp"
#include "tests/support/sim_world.hpp"

namespace weft::l7 {
namespace {

constexpr uint64_t kernel_gives_up_ms = 120'000; ///< a connect that is never answered
constexpr uint64_t idle_step_ms = 1000;          ///< how far time jumps when nothing at all can happen
constexpr uint32_t kept_free_divisor = 4;        ///< as in ring.cpp

enum class Kind : uint8_t { accept, receive, send, connect, poll, poll_error, poll_receive, poll_send };

struct Operation {
    Kind kind;
    uint64_t socket = 0; ///< 0: no such descriptor
    int descriptor = -1; ///< poll: a real one
    Completion* completion = nullptr;
    uint64_t not_before_ms = 0;
    bool canceled = false;
    uint64_t cancel_ms = 0;
    const msghdr* message = nullptr; ///< read when bytes move, as the kernel may: early release shows
    size_t done = 0;
    bool disconnect = false;
    SocketAddress address{};
    bool unanswered = false;
    bool deaf = false; ///< a receive that has missed a reset
    bool over = false;
};

struct Collected {
    Completion* completion;
    int32_t result;
    bool more;
    Slice bytes;
};

} // namespace

uint64_t ring_clock_ms() {
    return sim::World::current().now_ms();
}

struct Ring::State final : BufferOwner {
    explicit State(const RingSettings& wanted) : settings(wanted), free_buffers(wanted.buffers) {}

    void submit(Operation operation);
    void collect();
    void step(Operation& operation);
    void accept(Operation& operation);
    void receive(Operation& operation);
    void send(Operation& operation);
    void connect(Operation& operation);
    bool ready(const Operation& operation);
    [[nodiscard]] uint64_t next_ms();
    void post(Operation& operation, int32_t result, bool more, Slice bytes = {});
    bool interrupts(Operation& operation);
    int32_t splice_in(sim::World::Socket& from, int pipe, size_t bytes_max);
    int32_t splice_out(int pipe, sim::World::Socket& to, size_t bytes_max);
    void close_now();
    uint64_t later();
    Slice buffer_with(std::string_view bytes);

    // One malloc per buffer of exactly the received size: any use beyond it or after it shows.
    struct Block {
        size_t references;
        std::byte* data() { return reinterpret_cast<std::byte*>(this + 1); }
    };
    void retain(void* token) noexcept override { ++static_cast<Block*>(token)->references; }
    void release(void* token) noexcept override {
        if (--static_cast<Block*>(token)->references == 0) {
            std::free(token);
            ++free_buffers;
        }
    }

    sim::World& world = sim::World::current();
    RingSettings settings;
    std::vector<std::unique_ptr<Operation>> operations;
    std::vector<Collected> collected;
    std::vector<int> closing;
    uint32_t free_buffers;
    size_t in_flight = 0;
    RingCounts counts;
};

Result<std::unique_ptr<Ring>> Ring::create(const RingSettings& settings) {
    if (settings.entries == 0)
        return fail(Code::invalid, "ring_entries");
    if (!std::has_single_bit(settings.buffers))
        return fail(Code::invalid, "ring_buffers");
    if (settings.buffer_bytes == 0)
        return fail(Code::invalid, "ring_buffer_bytes");
    return std::unique_ptr<Ring>(new Ring(std::make_unique<State>(settings)));
}

Ring::Ring(std::unique_ptr<State> state) : state_(std::move(state)) {}
Ring::~Ring() {
    state_->close_now();
    assert(state_->in_flight == 0 && "a ring dies after its operations");
    assert(state_->free_buffers == state_->settings.buffers && "a ring dies after its slices");
}

// ---- operations

void Ring::accept_multishot(int listener, Completion& completion) {
    state_->submit({.kind = Kind::accept, .descriptor = listener, .completion = &completion});
}
void Ring::accept_one(int listener, Completion& completion) {
    accept_multishot(listener, completion); // the world has no backlog that one of them could empty
}
void Ring::receive_multishot(int socket, Completion& completion) {
    state_->submit({.kind = Kind::receive, .descriptor = socket, .completion = &completion});
}
void Ring::send(int socket, const msghdr& message, Completion& completion) {
    state_->submit({.kind = Kind::send, .descriptor = socket, .completion = &completion, .message = &message});
}
void Ring::connect(int socket, const sockaddr* address, socklen_t length, Completion& completion) {
    sockaddr_storage storage{};
    std::memcpy(&storage, address, std::min<size_t>(length, sizeof storage));
    state_->submit({.kind = Kind::connect,
                    .descriptor = socket,
                    .completion = &completion,
                    .disconnect = address->sa_family == AF_UNSPEC,
                    .address = SocketAddress::from_sockaddr(storage).value_or(SocketAddress{})});
}
void Ring::poll_readable(int descriptor, Completion& completion) {
    state_->submit({.kind = Kind::poll, .descriptor = descriptor, .completion = &completion});
}
void Ring::poll_error(int socket, Completion& completion) {
    state_->submit({.kind = Kind::poll_error, .descriptor = socket, .completion = &completion});
}

bool Ring::is_lost(int socket) const {
    const auto* const found = state_->world.by_descriptor(socket);
    return found != nullptr && (found->reset_in || (found->fin_in && found->fin_out));
}

void Ring::poll_receive(int socket, Completion& completion) {
    state_->submit({.kind = Kind::poll_receive, .descriptor = socket, .completion = &completion});
}
void Ring::poll_send(int socket, Completion& completion) {
    state_->submit({.kind = Kind::poll_send, .descriptor = socket, .completion = &completion});
}

void Ring::cancel(Completion& target) {
    for (const auto& operation : state_->operations) {
        if (operation->completion == &target && !std::exchange(operation->canceled, true))
            operation->cancel_ms = state_->later();
    }
}

void Ring::shutdown(int socket, int how) {
    auto* const found = state_->world.by_descriptor(socket);
    if (found == nullptr)
        return state_->world.misuse("shutdown of a closed socket");
    if (how != SHUT_RD)
        state_->world.send_fin(*found);
}
void Ring::no_delay(int /*socket*/) {}
void Ring::non_blocking(int socket) {
    auto* const found = state_->world.by_descriptor(socket);
    if (found == nullptr)
        return state_->world.misuse("O_NONBLOCK of a closed socket");
    found->non_blocking = true;
}
int32_t Ring::splice(int from, int to, size_t bytes_max) {
    if (auto* const socket = state_->world.by_descriptor(from); socket != nullptr)
        return state_->splice_in(*socket, to, bytes_max);
    if (auto* const socket = state_->world.by_descriptor(to); socket != nullptr)
        return state_->splice_out(from, *socket, bytes_max);
    state_->world.misuse("a splice without a socket");
    return -EBADF;
}
uint64_t Ring::socket_cookie(int socket) const {
    return static_cast<uint64_t>(socket) + 1;
}
void Ring::reset_on_close(int socket) {
    auto* const found = state_->world.by_descriptor(socket);
    if (found == nullptr)
        return state_->world.misuse("linger on a closed socket");
    found->hard_close = true;
}
void Ring::close(int descriptor) {
    state_->closing.push_back(descriptor);
}

void Ring::trim() {} // its buffers have no memory of their own
uint32_t Ring::free_buffers() const {
    return state_->free_buffers;
}
uint32_t Ring::free_buffers_percent() const {
    return state_->free_buffers * 100 / state_->settings.buffers;
}
size_t Ring::in_flight() const {
    return state_->in_flight;
}
const RingCounts& Ring::counts() const {
    return state_->counts;
}

void Ring::collect(uint64_t timeout_ms) {
    State& state = *state_;
    sim::World& world = state.world;
    state.close_now();
    const uint64_t limit = timeout_ms < UINT64_MAX - world.now_ms() ? world.now_ms() + timeout_ms : UINT64_MAX;
    for (;;) {
        world.sweep();
        world.run_scripts();
        state.collect();
        if (!state.collected.empty() || world.now_ms() >= limit)
            break;
        const uint64_t next = std::min({limit, world.next_script_ms(), state.next_ms()});
        if (next == UINT64_MAX) { // asleep for ever: the caller's own limit on virtual time ends the test
            world.move_clock(world.now_ms() + idle_step_ms);
            break;
        }
        world.move_clock(next);
    }
}

size_t Ring::run_collected() {
    State& state = *state_;
    size_t ran = 0;
    for (; ran < state.collected.size(); ++ran) {
        Collected entry = std::move(state.collected[ran]);
        ++state.counts.completions;
        if (!entry.more)
            --state.in_flight;
        if (entry.result == -ENOBUFS)
            ++state.counts.buffer_shortages;
        if (entry.result > 0 && !entry.bytes.empty() &&
            state.free_buffers < (state.settings.buffers + kept_free_divisor - 1) / kept_free_divisor) {
            entry.bytes = Slice::copy_of(entry.bytes.bytes());
            ++state.counts.buffer_copies;
        }
        entry.completion->complete(entry.result, entry.more, std::move(entry.bytes));
    }
    state.collected.clear();
    return ran;
}

// ---- what the kernel does

void Ring::State::submit(Operation operation) {
    ++in_flight;
    operation.not_before_ms = later();
    if (operation.kind != Kind::poll) {
        if (auto* const socket = world.by_descriptor(operation.descriptor); socket != nullptr) {
            operation.socket = socket->id;
            ++socket->operations;
        } else {
            world.misuse("an operation on a closed socket");
        }
    }
    operations.push_back(std::make_unique<Operation>(std::move(operation)));
}

void Ring::State::close_now() {
    for (const int descriptor : std::exchange(closing, {})) {
        if (!world.close_descriptor(descriptor)) {
            ++counts.close_failures;
            world.misuse("a descriptor was closed twice");
        }
    }
}

uint64_t Ring::State::later() {
    const bool delayed = world.chance(world.faults().delay);
    return world.now_ms() + (delayed ? 1 + world.random(world.faults().delay_ms_max) : 0);
}

/// Lets what can go on do so, in any order.
void Ring::State::collect() {
    std::vector<Operation*> order;
    for (const auto& operation : operations)
        order.push_back(operation.get());
    for (size_t left = order.size(); left > 1; --left)
        std::swap(order[left - 1], order[world.random(left)]);
    for (Operation* operation : order)
        step(*operation);
    std::erase_if(operations, [](const auto& operation) { return operation->over; });
}

void Ring::State::step(Operation& operation) {
    const uint64_t now = world.now_ms();
    const bool can_go_on = operation.not_before_ms <= now && ready(operation);
    if (operation.canceled && operation.cancel_ms <= now && !(can_go_on && world.chance(world.faults().canceled_late)))
        return post(operation, operation.done > 0 ? static_cast<int32_t>(operation.done) : -ECANCELED, false);
    if (!can_go_on)
        return;
    if (operation.socket == 0 && operation.kind != Kind::poll)
        return post(operation, -EBADF, false);
    switch (operation.kind) {
    case Kind::accept: return accept(operation);
    case Kind::receive: return receive(operation);
    case Kind::send: return send(operation);
    case Kind::connect: return connect(operation);
    case Kind::poll: return post(operation, POLLIN, false);
    case Kind::poll_error:
        return post(operation, world.by_id(operation.socket).reset_in ? POLLERR | POLLHUP : POLLHUP, false);
    case Kind::poll_receive: return post(operation, POLLIN, false);
    case Kind::poll_send: return post(operation, POLLOUT, false);
    }
}

bool Ring::State::ready(const Operation& operation) {
    if (operation.kind == Kind::poll) {
        pollfd watched{.fd = operation.descriptor, .events = POLLIN, .revents = 0};
        return ::poll(&watched, 1, 0) > 0;
    }
    if (operation.socket == 0)
        return true;
    const auto& socket = world.by_id(operation.socket);
    switch (operation.kind) {
    case Kind::accept: return !socket.backlog.empty();
    case Kind::receive:
        if (operation.deaf)
            return false;
        [[fallthrough]];
    case Kind::poll_receive: return !socket.inbox.empty() || socket.fin_in || socket.reset_in || socket.other == 0;
    case Kind::poll_error: return socket.reset_in || (socket.fin_in && socket.fin_out);
    case Kind::poll_send:
    case Kind::send: return socket.reset_in || socket.fin_out || socket.other == 0 || world.room(socket) > 0;
    default: return true;
    }
}

/// When the next operation can do something; UINT64_MAX if all of them wait for others.
uint64_t Ring::State::next_ms() {
    uint64_t next = UINT64_MAX;
    for (const auto& operation : operations) {
        if (operation->canceled)
            next = std::min(next, operation->cancel_ms);
        if (ready(*operation))
            next = std::min(next, operation->not_before_ms);
    }
    return next == UINT64_MAX ? next : std::max(next, world.now_ms());
}

void Ring::State::post(Operation& operation, int32_t result, bool more, Slice bytes) {
    collected.push_back({operation.completion, result, more, std::move(bytes)});
    operation.not_before_ms = later();
    if (more)
        return;
    operation.over = true;
    if (operation.socket != 0)
        --world.by_id(operation.socket).operations;
}

bool Ring::State::interrupts(Operation& operation) {
    if (!world.chance(world.faults().interrupted))
        return false;
    post(operation, world.chance(500) ? -EINTR : -EAGAIN, false);
    return true;
}

void Ring::State::accept(Operation& operation) {
    if (interrupts(operation))
        return;
    if (world.chance(world.faults().accept_aborted))
        return post(operation, -ECONNABORTED, false);
    if (world.chance(world.faults().accept_shortage))
        return post(operation, -EMFILE, false);
    const bool more = !world.chance(world.faults().multishot_end);
    post(operation, world.accept(world.by_id(operation.socket)), more);
}

void Ring::State::receive(Operation& operation) {
    if (interrupts(operation))
        return;
    auto& socket = world.by_id(operation.socket);
    const bool read = !socket.inbox.empty();
    for (uint64_t rounds = 1 + world.random(4); rounds > 0 && !socket.inbox.empty() && !operation.over; --rounds) {
        if (free_buffers == 0 || world.chance(world.faults().no_buffers))
            return post(operation, -ENOBUFS, false);
        size_t size = std::min<size_t>(socket.inbox.size(), settings.buffer_bytes);
        if (world.chance(world.faults().short_read))
            size = 1 + world.random(size);
        Slice bytes = buffer_with(std::string_view(socket.inbox).substr(0, size));
        socket.inbox.erase(0, size);
        post(operation, static_cast<int32_t>(size), !world.chance(world.faults().multishot_end), std::move(bytes));
    }
    if (operation.over || !socket.inbox.empty())
        return;
    if (socket.reset_in) {
        operation.deaf = read && world.chance(world.faults().reset_missed);
        if (operation.deaf)
            return;
        socket.reset_told = true;
        return post(operation, -ECONNRESET, false);
    }
    if (socket.fin_in)
        return post(operation, 0, false);
    if (socket.other == 0)
        return post(operation, -ENOTCONN, false);
}

Slice Ring::State::buffer_with(std::string_view bytes) {
    auto* block = static_cast<Block*>(std::malloc(sizeof(Block) + bytes.size()));
    if (block == nullptr)
        std::abort();
    block->references = 1;
    std::memcpy(block->data(), bytes.data(), bytes.size());
    --free_buffers;
    return {this, block, {block->data(), bytes.size()}};
}

/// Moves some of the bytes that are left; MSG_WAITALL means that it usually ends with all of them.
void Ring::State::send(Operation& operation) {
    auto& socket = world.by_id(operation.socket);
    const bool broken = socket.reset_in || socket.fin_out || socket.other == 0;
    if (broken && operation.done > 0)
        return post(operation, static_cast<int32_t>(operation.done), false);
    if (broken)
        return post(operation, socket.reset_in && !std::exchange(socket.reset_told, true) ? -ECONNRESET : -EPIPE,
                    false);
    if (operation.done == 0 && interrupts(operation))
        return;
    size_t room = std::min<size_t>(world.room(socket), 1 + world.random(world.faults().window_bytes_max));
    size_t skip = operation.done;
    size_t total = 0;
    for (size_t part = 0; part < operation.message->msg_iovlen; ++part) {
        const iovec& vector = operation.message->msg_iov[part];
        total += vector.iov_len;
        if (skip >= vector.iov_len) {
            skip -= vector.iov_len;
            continue;
        }
        const size_t size = std::min(vector.iov_len - skip, room);
        world.deliver(socket, {static_cast<const char*>(vector.iov_base) + skip, size});
        skip = 0;
        room -= size;
        operation.done += size;
        if (room == 0)
            skip = SIZE_MAX; // only adds up the rest
    }
    if (operation.done == total || world.chance(world.faults().short_send))
        return post(operation, static_cast<int32_t>(operation.done), false);
    operation.not_before_ms = later();
}

/// The pipe is a real one, so it has the kernel's own idea of being full.
int32_t Ring::State::splice_in(sim::World::Socket& from, int pipe, size_t bytes_max) {
    const auto receives = [&](const auto& operation) {
        return operation->kind == Kind::receive && operation->socket == from.id && !operation->over;
    };
    if (!from.non_blocking)
        world.misuse("a splice that may wait");
    if (std::ranges::any_of(operations, receives))
        world.misuse("a splice beside a receive");
    if (from.inbox.empty()) {
        if (from.reset_in) {
            from.reset_told = true;
            return -ECONNRESET;
        }
        return from.fin_in ? 0 : from.other == 0 ? -ENOTCONN : -EAGAIN;
    }
    if (world.chance(world.faults().unspliceable))
        return -EAGAIN;
    size_t size = std::min(from.inbox.size(), bytes_max);
    if (world.chance(world.faults().short_read))
        size = 1 + world.random(size);
    const ssize_t moved = ::write(pipe, from.inbox.data(), size);
    if (moved < 0)
        return -errno;
    from.inbox.erase(0, static_cast<size_t>(moved));
    return static_cast<int32_t>(moved);
}

int32_t Ring::State::splice_out(int pipe, sim::World::Socket& to, size_t bytes_max) {
    if (!to.non_blocking)
        world.misuse("a splice that may wait");
    if (to.reset_in || to.fin_out || to.other == 0)
        return to.reset_in && !std::exchange(to.reset_told, true) ? -ECONNRESET : -EPIPE;
    const size_t room = std::min({world.room(to), bytes_max, 1 + world.random(world.faults().window_bytes_max)});
    if (room == 0)
        return -EAGAIN;
    std::string bytes(room, '\0');
    const ssize_t moved = ::read(pipe, bytes.data(), bytes.size());
    if (moved < 0)
        return -errno;
    world.deliver(to, std::string_view(bytes).substr(0, static_cast<size_t>(moved)));
    return static_cast<int32_t>(moved);
}

void Ring::State::connect(Operation& operation) {
    if (operation.unanswered)
        return post(operation, -ETIMEDOUT, false);
    if (operation.disconnect) {
        world.disconnect(world.by_id(operation.socket));
        return post(operation, 0, false);
    }
    switch (world.dial(world.by_id(operation.socket), operation.address)) {
    case sim::World::Dial::connected: return post(operation, 0, false);
    case sim::World::Dial::refused: return post(operation, -ECONNREFUSED, false);
    case sim::World::Dial::unreachable: return post(operation, -EHOSTUNREACH, false);
    case sim::World::Dial::unanswered:
        operation.unanswered = true;
        operation.not_before_ms = world.now_ms() + kernel_gives_up_ms;
    }
}

} // namespace weft::l7
