// SPDX-License-Identifier: Apache-2.0
#include "agent/engine/control.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "agent/engine/peer.hpp"
#include "config/base/clock.hpp"
#include "config/base/log.hpp"

namespace weft::agent::engine {

using metrics::Event;

std::expected<std::unique_ptr<Control>, std::string> Control::start(Settings settings, metrics::Counters& counters,
                                                                    metrics::Collector& collector) {
    auto listener = listen_at(settings.socket_path, settings.engine_user, SOCK_STREAM);
    if (!listener)
        return std::unexpected("--socket " + listener.error());
    UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake)
        return std::unexpected("eventfd: " + to_string(from_errno(errno, "eventfd")));
    std::unique_ptr<Control> control(
        new Control(std::move(settings), *std::move(listener), std::move(wake), counters, collector));
    control->thread_ = std::jthread([raw = control.get()] { raw->run(); });
    return control;
}

Control::Control(Settings settings, UniqueFd listener, UniqueFd wake, metrics::Counters& counters,
                 metrics::Collector& collector)
    : settings_(std::move(settings)), listener_(std::move(listener)), wake_(std::move(wake)), counters_(counters),
      collector_(collector), supply_(std::move(settings_.supply)),
      listeners_by_ms_(monotonic_ms() + settings_.listeners_wait_ms) {}

Control::~Control() {
    stop(Ending::keep_engine);
}

// ---------------------------------------------------------------- from other threads

void Control::command(Command command) {
    {
        const std::lock_guard lock(mutex_);
        commands_.push_back(std::move(command));
    }
    const uint64_t one = 1;
    static_cast<void>(!::write(wake_.get(), &one, sizeof(one)));
}

void Control::publish(uint64_t generation, std::shared_ptr<const std::string> snapshot_message) {
    command([this, generation, message = std::move(snapshot_message)]() mutable {
        supply_.generation = generation;
        supply_.snapshot = std::move(message);
        each_engine([](EngineLink& link) { return link.send_snapshot(); });
    });
}

void Control::add_pod(CapturePtr capture) {
    command([this, capture = std::move(capture)] {
        supply_.pods[capture->id] = capture;
        each_engine([&](EngineLink& link) { return link.give_listeners(*capture); });
    });
}

void Control::remove_pod(uint32_t pod_id) {
    command([this, pod_id] {
        supply_.pods.erase(pod_id);
        each_engine([&](EngineLink& link) { return link.release_pod(pod_id); });
    });
}

void Control::run_engine(std::optional<ProcessId> adopted) {
    command([this, adopted] {
        if (!settings_.engine || process_)
            return;
        process_.emplace(*settings_.engine);
        if (adopted && process_->adopt(*adopted))
            log::info("engine_adopted", log::kv("pid", adopted->pid));
    });
}

void Control::reply(uint64_t token, CtlReply reply) {
    command([this, token, said = std::move(reply)] {
        const auto peer = std::ranges::find_if(peers_, [&](const auto& item) { return item->id == token; });
        if (peer == peers_.end())
            return; // it did not wait
        if (const Result<void> sent = (*peer)->channel.queue(as_bytes(ctl_reply_message(said)), {}); !sent)
            close_failed(**peer, sent.error());
    });
}

bool Control::collect(uint32_t timeout_ms) {
    std::unique_lock lock(mutex_);
    const uint64_t id = ++stats_asked_;
    lock.unlock();
    command([this, id] { each_engine([&](EngineLink& link) { return link.ask_stats(id); }); });
    lock.lock();
    return stats_done_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return stats_answered_ >= id; });
}

EngineView Control::engine() const {
    const std::lock_guard lock(mutex_);
    return view_;
}

void Control::stop(Ending ending) {
    if (!thread_.joinable())
        return;
    {
        const std::lock_guard lock(mutex_);
        ending_ = ending;
    }
    command([] {});
    thread_.join();
}

// ---------------------------------------------------------------- the thread

void Control::run() {
    while (true) {
        {
            const std::lock_guard lock(mutex_);
            if (ending_)
                break;
        }
        turn();
    }
    if (ending_ == Ending::stop_engine)
        finish_engines();
    peers_.clear();
    supply_.pods.clear();
}

/// One poll and all that it brings.
void Control::turn() {
    std::vector<pollfd> items;
    items.push_back({.fd = wake_.get(), .events = POLLIN, .revents = 0});
    items.push_back({.fd = accepting_ ? listener_.get() : -1, .events = POLLIN, .revents = 0});
    items.push_back({.fd = process_ ? process_->watch_fd() : -1, .events = POLLIN, .revents = 0});
    const size_t first_peer = items.size();
    std::vector<Peer*> polled;
    for (const auto& peer : peers_) {
        const auto events = static_cast<short>(POLLIN | (peer->channel.wants_write() ? POLLOUT : 0));
        items.push_back({.fd = peer->channel.fd(), .events = events, .revents = 0});
        polled.push_back(peer.get());
    }
    if (poll(items.data(), items.size(), wait_ms()) < 0 && errno != EINTR)
        log::error("control_poll_failed", log::kv("errno", errno));
    run_commands();
    for (size_t i = 0; i < polled.size(); ++i)
        if (!polled[i]->closed)
            serve(*polled[i], items[first_peer + i].revents);
    if (items[1].revents != 0)
        accept_peers();
    sweep_peers();
    tend_engine();
    kill_stuck_engine(monotonic_ms());
    stats_progress();
    update_view();
}

int Control::wait_ms() const {
    const uint64_t now = monotonic_ms();
    uint64_t due = process_ ? std::min(process_->due_ms(), connect_by_ms_) : UINT64_MAX;
    for (const auto& peer : peers_)
        due = std::min(due, peer->deadline_ms);
    if (due == UINT64_MAX)
        return -1;
    return due <= now ? 0 : static_cast<int>(std::min<uint64_t>(due - now, 60'000));
}

void Control::run_commands() {
    uint64_t count = 0;
    static_cast<void>(!::read(wake_.get(), &count, sizeof(count)));
    std::vector<Command> commands;
    {
        const std::lock_guard lock(mutex_);
        commands.swap(commands_);
    }
    for (Command& next : commands)
        next();
}

void Control::accept_peers() {
    while (true) {
        UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!fd) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
                counters_.add(Event::connection_refused, "accept");
                log::warn("control_accept_failed", log::kv("errno", errno));
            }
            return;
        }
        ucred credentials{};
        socklen_t length = sizeof(credentials);
        const bool known = getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0;
        if (!known || (credentials.uid != 0 && credentials.uid != settings_.engine_user)) {
            counters_.add(Event::connection_refused, "user");
            log::warn("control_connection_refused", log::kv("reason", "user"), log::kv("uid", credentials.uid));
            continue;
        }
        if (peers_.size() >= peers_max) {
            counters_.add(Event::connection_refused, "too_many");
            continue;
        }
        peers_.push_back(std::make_unique<Peer>(++last_peer_id_, std::move(fd), credentials,
                                                monotonic_ms() + first_message_wait_ms));
    }
}

void Control::sweep_peers() {
    const uint64_t now = monotonic_ms();
    for (const auto& peer : peers_)
        if (!peer->closed && peer->deadline_ms <= now)
            close_failed(*peer, Error{.code = Code::timeout, .during = "first message"});
    std::erase_if(peers_, [](const auto& peer) { return peer->closed; });
}

void Control::tend_engine() {
    if (!process_)
        return;
    switch (process_->tend(monotonic_ms())) {
        using enum EngineProcess::Change;
    case none: return;
    case started:
        counters_.add(Event::engine_start, "");
        log::info("engine_started", log::kv("pid", process_->running()->pid));
        return;
    case start_failed:
        counters_.add(Event::engine_start, "failed");
        if (last_start_fault_ != process_->last_end())
            log::error("engine_start_failed", log::kv("program", settings_.engine->program),
                       log::kv("reason", process_->last_end()));
        last_start_fault_ = process_->last_end();
        return;
    case ended: log::error("engine_ended", log::kv("how", process_->last_end())); return;
    }
}

void Control::kill_stuck_engine(uint64_t now_ms) {
    if (current_ != nullptr || !process_ || !process_->running()) {
        connect_by_ms_ = UINT64_MAX;
    } else if (connect_by_ms_ == UINT64_MAX) {
        connect_by_ms_ = now_ms + connect_wait_ms;
    } else if (connect_by_ms_ <= now_ms) {
        log::error("engine_stuck", log::kv("pid", process_->running()->pid),
                   log::kv("connect_wait_ms", connect_wait_ms));
        counters_.add(Event::engine_loss, "stuck");
        process_->kill_running();
        connect_by_ms_ = UINT64_MAX;
    }
}

/// Engines finish what they have; what does not end in time is ended.
void Control::finish_engines() {
    accepting_ = false;
    if (process_)
        process_->retire();
    each_engine([this](EngineLink& link) { return link.drain(settings_.drain_timeout_ms); });
    const uint64_t deadline = monotonic_ms() + settings_.drain_timeout_ms + drain_grace_ms;
    const auto busy = [&] {
        return std::ranges::any_of(peers_, [](const auto& peer) { return peer->link.has_value(); }) ||
               (process_ && !process_->all().empty());
    };
    while (busy() && monotonic_ms() < deadline) {
        // An engine may exit a moment after its connection: look again soon, poll would not tell for a former agent's.
        for (const auto& peer : peers_)
            if (!peer->link)
                peer->closed = true;
        command([] {});
        turn();
        poll(nullptr, 0, 5);
    }
    if (process_)
        for (const ProcessId& left : process_->all())
            terminate(left, terminate_wait_ms);
    if (settings_.engine)
        ::unlink(settings_.engine->state_file.c_str());
    ::unlink(settings_.socket_path.c_str());
}

void Control::stats_progress() {
    const std::lock_guard lock(mutex_);
    uint64_t oldest = stats_asked_ + 1;
    for (const auto& peer : peers_)
        if (peer->link && peer->link->stats_awaited() != 0)
            oldest = std::min(oldest, peer->link->stats_awaited());
    // A question whose command is still waiting in the queue has not been put yet.
    if (commands_.empty() && oldest - 1 > stats_answered_) {
        stats_answered_ = oldest - 1;
        stats_done_.notify_all();
    }
}

void Control::update_view() {
    EngineView view;
    if (current_ != nullptr) {
        view.connected = true;
        view.pid = current_->credentials.pid;
        view.version = current_->link->hello().version;
        view.group = current_->link->hello().group;
        view.workers = current_->link->hello().workers;
    }
    if (process_) {
        view.starts = process_->starts();
        view.last_end = process_->last_end();
        if (!view.connected && process_->running())
            view.pid = process_->running()->pid;
    }
    const std::lock_guard lock(mutex_);
    view_ = std::move(view);
}

} // namespace weft::agent::engine
