// SPDX-License-Identifier: Apache-2.0
#include "l7engine/io/splice.hpp"

#include <cassert>
#include <cerrno>
#include <utility>

namespace weft::l7 {
namespace {

constexpr size_t fill_bytes_max = size_t{1} << 30; ///< the pipe is full long before

} // namespace

bool Splice::possible(ByteStream& from, ByteStream& to) {
    return from.tcp_socket() != nullptr && to.tcp_socket() != nullptr;
}

Splice::Splice(ByteStream& from, ByteStream& to, PipePool& pool, Pipe pipe)
    : from_(*from.tcp_socket()), to_(*to.tcp_socket()), pool_(pool), pipe_(std::move(pipe)) {
    // SPLICE_F_NONBLOCK is about the pipe alone.
    from_.ring().non_blocking(from_.descriptor());
    to_.ring().non_blocking(to_.descriptor());
}

Splice::~Splice() {
    from_.receiver.release();
    pool_.give_back(std::move(pipe_), held_ == 0);
}

Splice::Step Splice::fill() {
    assert(from_.receiver.buffered() == 0 && "what came before goes first");
    if (from_.receiver.failure())
        return {.outcome = Outcome::lost};
    const int32_t result = from_.ring().splice(from_.descriptor(), pipe_.write_end.get(), fill_bytes_max);
    if (result > 0) {
        held_ += static_cast<size_t>(result);
        return {.outcome = Outcome::moved, .bytes = static_cast<size_t>(result)};
    }
    switch (-result) {
    case EAGAIN: return {.outcome = Outcome::not_now};
    case EINVAL:
    case EOPNOTSUPP:
    case ENOMEM: return {.outcome = Outcome::unsupported};
    default: break;
    }
    from_.receiver.end_with(result);
    return {.outcome = result == 0 ? Outcome::fin : Outcome::lost};
}

Splice::Step Splice::drain() {
    if (to_.sender.failure())
        return {.outcome = Outcome::lost};
    const int32_t result = to_.ring().splice(pipe_.read_end.get(), to_.descriptor(), held_);
    if (result > 0) {
        held_ -= static_cast<size_t>(result);
        return {.outcome = Outcome::moved, .bytes = static_cast<size_t>(result)};
    }
    if (result == -EAGAIN)
        return {.outcome = Outcome::not_now};
    to_.sender.end_with(result == 0 ? -EPIPE : result);
    return {.outcome = Outcome::lost};
}

} // namespace weft::l7
