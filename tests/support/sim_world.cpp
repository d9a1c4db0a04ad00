// SPDX-License-Identifier: Apache-2.0
#include "tests/support/sim_world.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace weft::sim {
namespace {

thread_local World* current_world = nullptr;

/// 0: the descriptor is closed.
uint64_t file_of(int descriptor) {
    struct stat status{};
    return fstat(descriptor, &status) == 0 ? status.st_ino : 0;
}

/// Neighbouring seeds must not give the same numbers one place further on: the seed is mixed too.
uint64_t mixed(uint64_t value) {
    value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;
    value = (value ^ (value >> 27U)) * 0x94d049bb133111ebU;
    return value ^ (value >> 31U);
}

} // namespace

// ---- Peer

void Peer::send(std::string_view bytes) const {
    World::Socket& self = world_->by_id(id_);
    if (self.closed || self.fin_out)
        return world_->misuse("a scripted peer sends after its end");
    if (!self.reset_in)
        world_->deliver(self, bytes);
}
void Peer::shutdown() const {
    world_->send_fin(world_->by_id(id_));
}
void Peer::close() const {
    world_->close_socket(world_->by_id(id_), false);
}
void Peer::reset() const {
    world_->close_socket(world_->by_id(id_), true);
}
void Peer::pause() const {
    world_->by_id(id_).paused = true;
}
void Peer::resume() const {
    World::Socket& self = world_->by_id(id_);
    self.paused = false;
    self.received += std::exchange(self.inbox, {});
    world_->event(self);
}
void Peer::on_event(std::function<void(Peer)> script) const {
    world_->by_id(id_).on_event = std::move(script);
}
const std::string& Peer::received() const {
    return world_->by_id(id_).received;
}
bool Peer::saw_fin() const {
    return world_->by_id(id_).fin_in;
}
bool Peer::saw_reset() const {
    return world_->by_id(id_).reset_in;
}
bool Peer::over() const {
    const World::Socket& self = world_->by_id(id_);
    return self.fin_in || self.reset_in || self.closed;
}

// ---- World: life, chance, time

World::World(uint64_t seed, const Faults& faults) : seed_(seed), state_(mixed(seed)), faults_(faults) {
    if (current_world != nullptr) {
        std::fputs("sim: one world per thread\n", stderr);
        std::abort();
    }
    current_world = this;
}

World::~World() {
    current_world = nullptr;
}

World& World::current() {
    if (current_world == nullptr) {
        std::fputs("sim: make a World before the ring\n", stderr);
        std::abort();
    }
    return *current_world;
}

/// splitmix64: the same everywhere, unlike the distributions of the standard library.
uint64_t World::random(uint64_t below) {
    state_ += 0x9e3779b97f4a7c15U;
    const uint64_t value = mixed(state_);
    return below == 0 ? 0 : value % below;
}

void World::after(uint64_t delay_ms, std::function<void()> script) {
    scripts_.emplace(now_ms_ + delay_ms, std::move(script));
}

void World::run_scripts() {
    while (!scripts_.empty() && scripts_.begin()->first <= now_ms_) {
        const auto script = std::move(scripts_.begin()->second);
        scripts_.erase(scripts_.begin());
        script();
    }
}

uint64_t World::next_script_ms() const {
    return scripts_.empty() ? UINT64_MAX : scripts_.begin()->first;
}
void World::move_clock(uint64_t to_ms) {
    now_ms_ = std::max(now_ms_, to_ms);
}

void World::event(Socket& socket) {
    if (!socket.on_event || std::exchange(socket.event_pending, true))
        return;
    after(random(3), [this, id = socket.id] {
        Socket& self = by_id(id);
        self.event_pending = false;
        if (const auto script = self.on_event)
            script(Peer(*this, id));
    });
}

// ---- descriptors

World::Socket& World::make_socket(bool scripted) {
    auto socket = std::make_unique<Socket>();
    socket->id = ++last_id_;
    socket->scripted = scripted;
    socket->window_bytes = 1 + random(faults_.window_bytes_max);
    return *sockets_.emplace(last_id_, std::move(socket)).first->second;
}

/// A real descriptor of an empty file stands for the socket, so that closing it in any way is seen.
UniqueFd World::open_descriptor(Socket& socket) {
    UniqueFd descriptor(memfd_create("sim", MFD_CLOEXEC));
    if (!descriptor) {
        std::perror("sim: memfd_create");
        std::abort();
    }
    if (descriptors_.contains(descriptor.get()))
        sweep(); // the number was another socket's
    socket.descriptor = descriptor.get();
    socket.file = file_of(descriptor.get());
    descriptors_[descriptor.get()] = socket.id;
    return descriptor;
}

void World::sweep() {
    std::vector<uint64_t> gone;
    for (const auto& [descriptor, id] : descriptors_) {
        if (file_of(descriptor) != by_id(id).file)
            gone.push_back(id);
    }
    for (const uint64_t id : gone) {
        Socket& socket = by_id(id);
        descriptors_.erase(socket.descriptor);
        socket.descriptor = -1;
        close_socket(socket, socket.hard_close);
    }
}

World::Socket* World::by_descriptor(int descriptor) {
    const auto found = descriptors_.find(descriptor);
    if (found == descriptors_.end())
        return nullptr;
    Socket& socket = by_id(found->second);
    if (file_of(descriptor) == socket.file)
        return &socket;
    sweep();
    return nullptr;
}

World::Socket& World::by_id(uint64_t id) {
    return *sockets_.at(id);
}

bool World::close_descriptor(int descriptor) {
    Socket* socket = by_descriptor(descriptor);
    if (socket == nullptr)
        return false;
    descriptors_.erase(descriptor);
    socket->descriptor = -1;
    ::close(descriptor);
    close_socket(*socket, socket->hard_close);
    return true;
}

size_t World::open_descriptors() {
    sweep();
    return descriptors_.size();
}

// ---- connections

void World::link(Socket& one, Socket& other) {
    one.other = other.id;
    other.other = one.id;
}

UniqueFd World::listen(const SocketAddress& address) {
    Socket& listener = make_socket(false);
    listener.listening = true;
    listeners_[address] = listener.id;
    return open_descriptor(listener);
}

UniqueFd World::socket() {
    return open_descriptor(make_socket(false));
}

std::pair<UniqueFd, UniqueFd> World::pair() {
    Socket& one = make_socket(false);
    Socket& other = make_socket(false);
    link(one, other);
    UniqueFd first = open_descriptor(one);
    return {std::move(first), open_descriptor(other)};
}

std::pair<UniqueFd, Peer> World::connected() {
    Socket& engine = make_socket(false);
    Socket& scripted = make_socket(true);
    link(engine, scripted);
    return {open_descriptor(engine), Peer(*this, scripted.id)};
}

Peer World::connect(const SocketAddress& address) {
    sweep();
    Socket& scripted = make_socket(true);
    const auto found = listeners_.find(address);
    if (found == listeners_.end()) {
        reset_socket(scripted);
    } else {
        Socket& engine = make_socket(false);
        link(engine, scripted);
        by_id(found->second).backlog.push_back(engine.id);
    }
    return {*this, scripted.id};
}

void World::serve(const SocketAddress& address, OnConnect on_connect) {
    servers_[address] = Server{.on_connect = std::move(on_connect)};
}
void World::ignore(const SocketAddress& address) {
    servers_[address] = Server{.on_connect = {}, .ignores = true};
}
void World::unreachable(const SocketAddress& address) {
    servers_[address] = Server{.on_connect = {}, .unreachable = true};
}
void World::stop_serving(const SocketAddress& address) {
    servers_.erase(address);
}

World::Dial World::dial(Socket& from, const SocketAddress& address) {
    sweep();
    if (const auto found = listeners_.find(address); found != listeners_.end()) {
        Socket& engine = make_socket(false);
        link(engine, from);
        by_id(found->second).backlog.push_back(engine.id);
        return Dial::connected;
    }
    const auto found = servers_.find(address);
    if (found == servers_.end() || chance(faults_.connect_refused))
        return Dial::refused;
    if (found->second.ignores)
        return Dial::unanswered;
    if (found->second.unreachable)
        return Dial::unreachable;
    Socket& scripted = make_socket(true);
    link(scripted, from);
    after(0, [script = found->second.on_connect, peer = Peer(*this, scripted.id)] { script(peer); });
    return Dial::connected;
}

void World::disconnect(Socket& socket) {
    if (socket.other != 0 && !socket.reset_in)
        reset_socket(by_id(std::exchange(socket.other, 0)));
    socket.other = 0;
    socket.inbox.clear();
    socket.fin_in = socket.fin_out = socket.reset_in = socket.reset_told = false;
}

int World::accept(Socket& listener) {
    if (listener.backlog.empty())
        return -1;
    Socket& engine = by_id(listener.backlog.front());
    listener.backlog.pop_front();
    return open_descriptor(engine).release();
}

// ---- bytes, ends

size_t World::room(const Socket& from) {
    const Socket& to = by_id(from.other);
    if (to.closed)
        return SIZE_MAX; // taken, and answered with a reset
    if (to.scripted && !to.paused)
        return to.window_bytes;
    return to.window_bytes - std::min(to.window_bytes, to.inbox.size());
}

void World::deliver(Socket& from, std::string_view bytes) {
    if (from.other == 0 || bytes.empty())
        return;
    Socket& to = by_id(from.other);
    if (to.closed)
        return reset_socket(from);
    (to.scripted && !to.paused ? to.received : to.inbox) += bytes;
    event(to);
}

void World::send_fin(Socket& from) {
    if (from.closed || std::exchange(from.fin_out, true) || from.other == 0)
        return;
    Socket& to = by_id(from.other);
    to.fin_in = true;
    event(to);
}

void World::reset_socket(Socket& socket) {
    if (socket.closed || std::exchange(socket.reset_in, true))
        return;
    if (!socket.inbox.empty() && chance(faults_.reset_loses_tail))
        socket.inbox.resize(random(socket.inbox.size()));
    event(socket);
}

void World::close_socket(Socket& socket, bool hard) {
    if (std::exchange(socket.closed, true))
        return;
    if (socket.operations > 0)
        misuse("a socket was closed with operations in flight");
    if (socket.listening) {
        std::erase_if(listeners_, [&](const auto& entry) { return entry.second == socket.id; });
        for (const uint64_t id : std::exchange(socket.backlog, {}))
            close_socket(by_id(id), true);
        return;
    }
    if (socket.other == 0 || socket.reset_in)
        return;
    Socket& to = by_id(socket.other);
    if (hard || !socket.inbox.empty())
        return reset_socket(to);
    if (std::exchange(socket.fin_out, true))
        return;
    to.fin_in = true;
    event(to);
}

} // namespace weft::sim
