// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/relay.hpp"

#include <algorithm>
#include <utility>

namespace weft::l7 {

Relay::Relay(Worker& worker, RelaySide client, RelaySide server, const RelaySettings& settings,
             std::optional<RelaySplicing> splicing)
    : worker_(worker), settings_(settings), splicing_(splicing), up_(client.stream, server, settings_.bulk),
      down_(server.stream, client, settings_.bulk), limit_ms_(settings.idle_timeout_ms) {}

Task<RelayEnd> Relay::run(Slice early_client, Slice early_server) {
    if (!early_client.empty())
        up_.held.push_back(std::move(early_client));
    if (!early_server.empty())
        down_.held.push_back(std::move(early_server));
    // While a direction writes it does not read, and would not see that its source is lost.
    up_.from.watch_peer(this);
    down_.from.watch_peer(this);
    touch();
    arm();
    ways_.spawn(copy(up_, down_));
    ways_.spawn(copy(down_, up_));
    co_await ways_.join();
    worker_.timers().disarm(*this);
    up_.from.watch_peer(nullptr);
    down_.from.watch_peer(nullptr);
    // The last bytes may still be on their way to both: the sockets are closed, which sends them, not used again.
    const Error over{.code = Code::canceled, .side = Side::self, .during = "relay"};
    up_.from.abort(over, false);
    down_.from.abort(over, false);
    co_return end_.value_or(RelayEnd::finished);
}

Task<void> Relay::copy(Way& way, Way& opposite) {
    while (!end_) {
        if (!way.held.empty()) {
            const Result<size_t> bytes = co_await way.to.write(way.held);
            if (!bytes) {
                sink_lost(opposite);
                break;
            }
            wrote(way, *bytes);
            continue;
        }
        if (way.source_lost || (way.source_fin && way.source_broken)) {
            end(RelayEnd::reset);
            break;
        }
        if (way.source_fin) {
            way.to.shutdown_write();
            break;
        }
        if (way.splice || begin_splice(way)) {
            co_await way.splice->quiet();
            if (way.from.buffered() == 0 && !way.from.peer_closed()) {
                if (!co_await splice(way, opposite))
                    break;
                continue;
            }
        }
        size_t gathered = 0;
        do {
            Result<Slice> bytes = co_await way.from.read();
            gathered += bytes ? bytes->size() : 0;
            take(way, std::move(bytes));
        } while (!way.source_fin && !way.source_lost && gathered < settings_.gather_bytes_max &&
                 way.from.buffered() > 0);
        way.meter.add(gathered, worker_.now_ms());
    }
    way.splice.reset();
    way.over = true;
    drop(way);
}

void Relay::take(Way& way, Result<Slice> bytes) {
    touch();
    if (!bytes) {
        way.source_lost = true;
        side_lost();
    } else if (bytes->empty()) {
        way.source_fin = true;
    } else {
        way.held_bytes += bytes->size();
        charge(bytes->size());
        way.held.push_back(std::move(*bytes));
    }
}

void Relay::charge(size_t bytes) {
    if (settings_.account != nullptr)
        settings_.account->bytes += bytes; // modulo: it may be less
}

void Relay::drop(Way& way) {
    charge(0 - std::exchange(way.held_bytes, 0));
    way.held.clear();
}

void Relay::wrote(Way& way, size_t bytes) {
    touch();
    way.delivered += bytes;
    const size_t charged = std::min(bytes, way.held_bytes); // early bytes were charged by whoever read them
    way.held_bytes -= charged;
    charge(0 - charged);
    auto whole = way.held.begin();
    for (; whole != way.held.end() && whole->size() <= bytes; ++whole)
        bytes -= whole->size();
    way.held.erase(way.held.begin(), whole);
    if (bytes > 0)
        way.held.front().remove_prefix(bytes);
}

/// Whoever cannot be written to is lost, but may have said something before. The opposite direction reads that; what
/// it finds behind is no clean end, even if the error was used up by the write and a FIN is all that is left.
void Relay::sink_lost(Way& opposite) {
    if (opposite.over)
        return end(RelayEnd::reset);
    opposite.source_broken = true;
    side_lost();
}

/// From now on bytes have to move.
void Relay::side_lost() {
    limit_ms_ = std::min(limit_ms_, settings_.lost_timeout_ms);
    touch();
    arm();
}

void Relay::end(RelayEnd why) {
    if (end_)
        return;
    end_ = why;
    const Error error{.code = Code::canceled, .side = Side::self, .during = "relay"};
    up_.from.abort(error, true);
    down_.from.abort(error, true);
}

// ------------------------------------------------------------------ bulk

bool Relay::begin_splice(Way& way) {
    if (!way.meter.is_bulk() || way.unspliceable || way.from.peer_closed() || !splicing_ ||
        !Splice::possible(way.from, way.to))
        return false;
    Result<Pipe> pipe = splicing_->pipes.take();
    if (!pipe) {
        const bool limit = pipe.error().code == Code::too_large;
        splicing_->counters.add(limit ? Counter::splice_refused_limit : Counter::splice_refused_kernel);
        way.meter.restart();
        return false;
    }
    way.splice.emplace(way.from, way.to, splicing_->pipes, std::move(*pipe));
    splicing_->counters.add(Counter::splices_begun);
    return true;
}

/// Lets the kernel move bytes, a pipe of them per turn of the loop, until there is a reason not to. False: the sink is
/// lost. Otherwise the pipe is empty then.
Task<bool> Relay::splice(Way& way, Way& opposite) {
    while (way.splice && !end_) {
        if (way.splice->held() > 0) {
            const Splice::Outcome outcome = drain(way);
            if (outcome == Splice::Outcome::lost) {
                sink_lost(opposite);
                co_return false;
            }
            if (outcome == Splice::Outcome::not_now)
                (void)co_await way.splice->writable(); // an abort: end_ says so
        } else if (!way.meter.is_bulk()) {
            end_splice(way, Counter::splices_ended_small);
        } else if (co_await way.splice->readable(worker_.in_ms(settings_.bulk.idle_ms))) {
            fill(way);
        } else if (!end_) {
            end_splice(way, Counter::splices_ended_idle);
        }
    }
    co_return true;
}

void Relay::fill(Way& way) {
    const Splice::Step step = way.splice->fill();
    touch();
    switch (step.outcome) {
    case Splice::Outcome::moved: way.meter.add(step.bytes, worker_.now_ms()); break;
    case Splice::Outcome::fin:
    case Splice::Outcome::lost: way.splice.reset(); break; // the stream says it once more
    case Splice::Outcome::not_now:                         // although it is readable
    case Splice::Outcome::unsupported:
        way.unspliceable = true;
        end_splice(way, Counter::splices_ended_unsupported);
        break;
    }
}

Splice::Outcome Relay::drain(Way& way) {
    while (way.splice->held() > 0) {
        const Splice::Step step = way.splice->drain();
        if (step.outcome != Splice::Outcome::moved)
            return step.outcome;
        touch();
        way.delivered += step.bytes;
        splicing_->counters.add(Counter::spliced_bytes, step.bytes);
    }
    return Splice::Outcome::moved;
}

void Relay::end_splice(Way& way, Counter why) {
    splicing_->counters.add(why);
    way.splice.reset();
    way.meter.restart();
}

// ------------------------------------------------------------------ clock

void Relay::arm() {
    const Deadline deadline = limit_ms_ < never - progress_ms_ ? progress_ms_ + limit_ms_ : never;
    worker_.timers().arm(*this, deadline);
}

/// Progress does not arm the timer anew: it looks when it runs out.
void Relay::expired() {
    if (worker_.now_ms() - progress_ms_ < limit_ms_)
        return arm();
    end(limit_ms_ < settings_.idle_timeout_ms ? RelayEnd::reset : RelayEnd::idle);
}

} // namespace weft::l7
