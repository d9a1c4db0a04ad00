// SPDX-License-Identifier: Apache-2.0
#include "l7engine/io/ring.hpp"

#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cerrno>
#include <cstdlib>
#include <vector>

#include "config/base/clock.hpp"
#include "config/base/log.hpp"

namespace weft::l7 {
namespace {

constexpr uint32_t completion_factor = 8;
constexpr uint32_t buffers_max = 32768;
constexpr uint32_t entries_max = 32768;
constexpr int buffer_group = 0;
constexpr uint32_t kept_free_divisor = 4; ///< below this share of free buffers, received bytes are copied
constexpr uint32_t offered_min = 64;      ///< buffers that the kernel is offered when there is little to receive
constexpr uint32_t trimmed_max = 256;     ///< buffers whose memory one trim() gives back

/// user_data of submissions without a Completion; no object lies at these addresses.
enum Anonymous : uint64_t { anonymous_cancel = 0, anonymous_close = 1, anonymous_last = anonymous_close };

/// A ring that the kernel refuses for good would make its loop spin for ever, and serve nobody.
void check_entered(int status) {
    if (status >= 0 || enter_error_passes(-status))
        return;
    log::error("io_uring_enter_failed", log::kv("errno", -status));
    std::abort();
}

/// All that this file submits. The kernel refuses everything else on our rings, which otherwise would be a way around
/// the list of system calls (server/sandbox): opening a file or a socket is an opcode, too.
constexpr io_uring_op submitted[] = {IORING_OP_ACCEPT,  IORING_OP_RECV,     IORING_OP_SEND,         IORING_OP_SENDMSG,
                                     IORING_OP_CONNECT, IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL, IORING_OP_CLOSE};
constexpr uint8_t submitted_flags = IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS;
/// A ring that ends gives these back.
constexpr uint8_t registered[] = {IORING_UNREGISTER_RING_FDS, IORING_UNREGISTER_PBUF_RING};

/// Of a ring that is still disabled.
int restrict(io_uring& ring) {
    std::vector<io_uring_restriction> list;
    const auto add = [&list](uint16_t opcode, uint8_t value) {
        io_uring_restriction one{};
        one.opcode = opcode;
        one.sqe_op = value; // a union: register_op and sqe_flags lie in the same place
        list.push_back(one);
    };
    for (const io_uring_op op : submitted)
        add(IORING_RESTRICTION_SQE_OP, static_cast<uint8_t>(op));
    add(IORING_RESTRICTION_SQE_FLAGS_ALLOWED, submitted_flags);
    for (const uint8_t op : registered)
        add(IORING_RESTRICTION_REGISTER_OP, op);
    return io_uring_register_restrictions(&ring, list.data(), static_cast<unsigned>(list.size()));
}

} // namespace

uint64_t ring_clock_ms() {
    return monotonic_ms();
}

/// The rings shared with the kernel, the memory of the buffers and who holds how many references on each.
struct Ring::State final : BufferOwner {
    explicit State(const RingSettings& wanted) : settings(wanted) {}
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State();
    Result<void> set_up();

    io_uring_sqe* next_sqe();
    io_uring_sqe* next_sqe(Completion& completion);
    void make_room();
    void enter(uint64_t timeout_ms);
    int enter_once(uint64_t timeout_ms);
    void collect();
    void run_one(size_t index);
    Slice received(uint32_t buffer, size_t size);

    void retain(void* token) noexcept override { ++references[reinterpret_cast<uintptr_t>(token)]; }
    void release(void* token) noexcept override {
        const auto buffer = reinterpret_cast<uintptr_t>(token);
        if (--references[buffer] == 0)
            give_back(static_cast<uint32_t>(buffer));
    }
    void give_back(uint32_t buffer);
    void offer(uint32_t buffer);
    void offer_more();
    void trim();
    bool release_memory(uint32_t buffer);

    struct Collected {
        uint64_t user_data;
        int32_t result;
        uint32_t flags;
    };

    RingSettings settings;
    io_uring ring{};
    bool ring_ready = false;
    io_uring_buf_ring* buffer_ring = nullptr;
    std::byte* memory = nullptr;
    std::vector<uint32_t> references; ///< per buffer
    uint32_t free_buffers = 0;        ///< those offered and the spare ones
    uint32_t offered = 0;             ///< the kernel takes them in order
    uint32_t offered_max = offered_min;
    std::vector<uint32_t> spare;      ///< the last one used is offered first
    std::vector<bool> touched;        ///< per buffer: it may hold memory
    uint32_t least_offered = 0;       ///< since the last trim(): what the fullest batch left
    size_t least_spare = 0;           ///< since the last trim()
    std::vector<Collected> collected; ///< taken from the completion queue, not yet run
    size_t in_flight = 0;
    RingCounts counts;
};

// ---- set-up

Result<std::unique_ptr<Ring>> Ring::create(const RingSettings& settings) {
    if (settings.entries == 0 || settings.entries > entries_max)
        return fail(Code::invalid, "ring_entries");
    if (!std::has_single_bit(settings.buffers) || settings.buffers > buffers_max)
        return fail(Code::invalid, "ring_buffers");
    if (settings.buffer_bytes == 0)
        return fail(Code::invalid, "ring_buffer_bytes");
    auto state = std::make_unique<State>(settings);
    if (auto done = state->set_up(); !done)
        return std::unexpected(done.error());
    return std::unique_ptr<Ring>(new Ring(std::move(state)));
}

Ring::Ring(std::unique_ptr<State> state) : state_(std::move(state)) {}

Ring::~Ring() {
    assert(state_->in_flight == 0 && "a ring dies after its operations");
    assert(state_->free_buffers == state_->settings.buffers && "a ring dies after its slices");
    io_uring_submit(&state_->ring); // descriptors still to be closed
}

Result<void> Ring::State::set_up() {
    io_uring_params parameters{};
    parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                       IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED; // until it is restricted
    parameters.cq_entries = std::bit_ceil(settings.entries) * completion_factor;
    if (const int status = io_uring_queue_init_params(settings.entries, &ring, &parameters); status < 0)
        return std::unexpected(from_errno(-status, "io_uring_setup"));
    ring_ready = true;
    if (const int status = io_uring_register_ring_fd(&ring); status < 0)
        return std::unexpected(from_errno(-status, "io_uring_register_ring_fd"));

    const size_t bytes = size_t{settings.buffers} * settings.buffer_bytes;
    void* mapping = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED)
        return std::unexpected(from_errno(errno, "ring_buffers_mmap"));
    memory = static_cast<std::byte*>(mapping);
    int status = 0;
    buffer_ring = io_uring_setup_buf_ring(&ring, settings.buffers, buffer_group, 0, &status);
    if (buffer_ring == nullptr)
        return std::unexpected(from_errno(-status, "io_uring_setup_buf_ring"));
    if (const int restricted = restrict(ring); restricted < 0)
        return std::unexpected(from_errno(-restricted, "io_uring_register_restrictions"));
    if (const int enabled = io_uring_enable_rings(&ring); enabled < 0)
        return std::unexpected(from_errno(-enabled, "io_uring_enable_rings"));
    references.resize(settings.buffers);
    collected.reserve(parameters.cq_entries);
    spare.reserve(settings.buffers);
    touched.resize(settings.buffers);
    offered_max = std::min(offered_min, settings.buffers);
    for (uint32_t buffer = 0; buffer < settings.buffers; ++buffer)
        give_back(buffer);
    least_offered = offered;
    least_spare = spare.size();
    return {};
}

Ring::State::~State() {
    if (buffer_ring != nullptr)
        io_uring_free_buf_ring(&ring, buffer_ring, settings.buffers, buffer_group);
    if (ring_ready)
        io_uring_queue_exit(&ring);
    if (memory != nullptr)
        munmap(memory, size_t{settings.buffers} * settings.buffer_bytes);
}

// ---- operations

void Ring::accept_multishot(int listener, Completion& completion) {
    io_uring_prep_multishot_accept(state_->next_sqe(completion), listener, nullptr, nullptr, SOCK_CLOEXEC);
}

void Ring::accept_one(int listener, Completion& completion) {
    io_uring_prep_accept(state_->next_sqe(completion), listener, nullptr, nullptr, SOCK_CLOEXEC);
}

void Ring::receive_multishot(int socket, Completion& completion) {
    io_uring_sqe* sqe = state_->next_sqe(completion);
    io_uring_prep_recv_multishot(sqe, socket, nullptr, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = buffer_group;
}

void Ring::send(int socket, const msghdr& message, Completion& completion) {
    io_uring_sqe* sqe = state_->next_sqe(completion);
    constexpr int flags = MSG_NOSIGNAL | MSG_WAITALL;
    if (message.msg_iovlen == 1 && message.msg_name == nullptr && message.msg_controllen == 0)
        io_uring_prep_send(sqe, socket, message.msg_iov->iov_base, message.msg_iov->iov_len, flags);
    else
        io_uring_prep_sendmsg(sqe, socket, &message, flags);
}

void Ring::connect(int socket, const sockaddr* address, socklen_t length, Completion& completion) {
    io_uring_prep_connect(state_->next_sqe(completion), socket, address, length);
}

void Ring::poll_readable(int descriptor, Completion& completion) {
    io_uring_prep_poll_add(state_->next_sqe(completion), descriptor, POLLIN);
}

void Ring::poll_error(int socket, Completion& completion) {
    io_uring_prep_poll_add(state_->next_sqe(completion), socket, POLLERR);
}

bool Ring::is_lost(int socket) const {
    pollfd asked{.fd = socket, .events = 0, .revents = 0};
    return ::poll(&asked, 1, 0) > 0 && (asked.revents & (POLLERR | POLLHUP)) != 0;
}

void Ring::poll_receive(int socket, Completion& completion) {
    io_uring_prep_poll_add(state_->next_sqe(completion), socket, POLLIN);
}

void Ring::poll_send(int socket, Completion& completion) {
    io_uring_prep_poll_add(state_->next_sqe(completion), socket, POLLOUT);
}

void Ring::cancel(Completion& target) {
    io_uring_sqe* sqe = state_->next_sqe();
    io_uring_prep_cancel(sqe, &target, IORING_ASYNC_CANCEL_ALL);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(sqe, anonymous_cancel);
}

// The ring would hand a shutdown to a kernel worker thread; the plain call does not block.
void Ring::shutdown(int socket, int how) {
    ::shutdown(socket, how);
}

void Ring::no_delay(int socket) {
    const int on = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void Ring::reset_on_close(int socket) {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void Ring::non_blocking(int socket) {
    fcntl(socket, F_SETFL, O_NONBLOCK);
}

// The ring would hand a splice to a kernel worker thread, always.
int32_t Ring::splice(int from, int to, size_t bytes_max) {
    for (;;) {
        const ssize_t moved = ::splice(from, nullptr, to, nullptr, std::min<size_t>(bytes_max, INT32_MAX),
                                       SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (moved >= 0)
            return static_cast<int32_t>(moved);
        if (errno != EINTR)
            return -errno;
    }
}

uint64_t Ring::socket_cookie(int socket) const {
    uint64_t cookie = 0;
    socklen_t length = sizeof cookie;
    return getsockopt(socket, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0 ? cookie : 0;
}

void Ring::close(int descriptor) {
    io_uring_sqe* sqe = state_->next_sqe();
    io_uring_prep_close(sqe, descriptor);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(sqe, anonymous_close);
}

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
void Ring::trim() {
    state_->trim();
}

void Ring::collect(uint64_t timeout_ms) {
    const bool some_wait = !state_->collected.empty();
    state_->enter(some_wait ? 0 : timeout_ms);
    state_->collect();
}

size_t Ring::run_collected() {
    // By index: a completion may submit, and a full queue collects more meanwhile.
    size_t ran = 0;
    for (; ran < state_->collected.size(); ++ran)
        state_->run_one(ran);
    state_->collected.clear();
    return ran;
}

// ---- submission queue

io_uring_sqe* Ring::State::next_sqe() {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring);
    while (sqe == nullptr) {
        make_room();
        sqe = io_uring_get_sqe(&ring);
    }
    return sqe;
}

/// The preparing call that follows leaves user_data alone.
io_uring_sqe* Ring::State::next_sqe(Completion& completion) {
    io_uring_sqe* sqe = next_sqe();
    io_uring_sqe_set_data(sqe, &completion);
    ++in_flight;
    return sqe;
}

/// The submission queue is full: submits it. If the kernel takes nothing because completions wait, they are moved aside
/// (not run: nothing resumes inside a submit).
void Ring::State::make_room() {
    const int status = io_uring_submit(&ring);
    check_entered(status);
    if (status > 0 || status == -EINTR)
        return;
    io_uring_get_events(&ring);
    collect();
}

void Ring::State::enter(uint64_t timeout_ms) {
    check_entered(enter_once(timeout_ms));
}

int Ring::State::enter_once(uint64_t timeout_ms) {
    if (timeout_ms == 0)
        return io_uring_submit_and_get_events(&ring);
    if (timeout_ms == UINT64_MAX)
        return io_uring_submit_and_wait(&ring, 1);
    __kernel_timespec limit{.tv_sec = static_cast<int64_t>(std::min<uint64_t>(timeout_ms / 1000, INT32_MAX)),
                            .tv_nsec = static_cast<long long>(timeout_ms % 1000 * 1'000'000)};
    io_uring_cqe* first = nullptr;
    return io_uring_submit_and_wait_timeout(&ring, &first, 1, &limit, nullptr);
}

// ---- completion queue

void Ring::State::collect() {
    io_uring_cqe* cqe = nullptr;
    unsigned head = 0;
    unsigned count = 0;
    bool short_of_buffers = false;
    io_uring_for_each_cqe(&ring, head, cqe) {
        ++count;
        if ((cqe->flags & IORING_CQE_F_BUFFER) != 0) {
            --free_buffers;
            --offered;
            touched[cqe->flags >> IORING_CQE_BUFFER_SHIFT] = true;
        }
        short_of_buffers |= cqe->res == -ENOBUFS;
        collected.push_back({.user_data = cqe->user_data, .result = cqe->res, .flags = cqe->flags});
    }
    io_uring_cq_advance(&ring, count);
    least_offered = std::min(least_offered, offered);
    if (short_of_buffers || offered < offered_max / 4)
        offered_max = std::min(2 * offered_max, settings.buffers);
    offer_more();
}

void Ring::State::run_one(size_t index) {
    const Collected entry = collected[index];
    ++counts.completions;
    if (entry.user_data <= anonymous_last) {
        if (entry.user_data == anonymous_close && entry.result < 0)
            ++counts.close_failures;
        return;
    }
    const bool more = (entry.flags & IORING_CQE_F_MORE) != 0;
    if (!more)
        --in_flight;
    if (entry.result == -ENOBUFS)
        ++counts.buffer_shortages;
    Slice bytes;
    if ((entry.flags & IORING_CQE_F_BUFFER) != 0) {
        const uint32_t buffer = entry.flags >> IORING_CQE_BUFFER_SHIFT;
        bytes = received(buffer, entry.result > 0 ? static_cast<size_t>(entry.result) : 0);
    }
    reinterpret_cast<Completion*>(entry.user_data)->complete(entry.result, more, std::move(bytes));
}

Slice Ring::State::received(uint32_t buffer, size_t size) {
    const Bytes bytes{memory + size_t{buffer} * settings.buffer_bytes, size};
    if (size > 0 && free_buffers >= (settings.buffers + kept_free_divisor - 1) / kept_free_divisor) {
        references[buffer] = 1;
        return {this, reinterpret_cast<void*>(uintptr_t{buffer}), bytes};
    }
    Slice copy = Slice::copy_of(bytes);
    give_back(buffer);
    ++counts.buffer_copies;
    return copy;
}

void Ring::State::give_back(uint32_t buffer) {
    ++free_buffers;
    if (offered < offered_max)
        offer(buffer);
    else
        spare.push_back(buffer);
}

void Ring::State::offer(uint32_t buffer) {
    io_uring_buf_ring_add(buffer_ring, memory + size_t{buffer} * settings.buffer_bytes, settings.buffer_bytes,
                          static_cast<unsigned short>(buffer), io_uring_buf_ring_mask(settings.buffers), 0);
    io_uring_buf_ring_advance(buffer_ring, 1);
    ++offered;
}

void Ring::State::offer_more() {
    while (offered < offered_max && !spare.empty()) {
        offer(spare.back());
        spare.pop_back();
    }
    least_spare = std::min(least_spare, spare.size());
}

// ---- memory of buffers

void Ring::State::trim() {
    // Whatever the kernel has filled is known from here on: it fills a buffer only while this thread is in a call.
    collect();
    if (offered_max - std::min(offered_max, least_offered) <= offered_max / 4)
        offered_max = std::max(offered_max / 2, std::min(offered_min, settings.buffers));
    uint32_t released = 0;
    for (size_t index = 0; index < least_spare && released < trimmed_max; ++index)
        released += release_memory(spare[index]) ? 1 : 0;
    // Those that were offered when there was more to receive are still the kernel's to fill, but need no memory yet.
    const auto mask = static_cast<uint32_t>(io_uring_buf_ring_mask(settings.buffers));
    const uint32_t first = buffer_ring->tail - offered;
    for (uint32_t index = offered_max; index < offered && released < trimmed_max; ++index)
        released += release_memory(buffer_ring->bufs[(first + index) & mask].bid) ? 1 : 0;
    least_offered = offered;
    least_spare = spare.size();
}

/// Of a free buffer. False: it has none.
bool Ring::State::release_memory(uint32_t buffer) {
    if (!touched[buffer])
        return false;
    touched[buffer] = false;
    madvise(memory + size_t{buffer} * settings.buffer_bytes, settings.buffer_bytes, MADV_DONTNEED);
    return true;
}

} // namespace weft::l7
