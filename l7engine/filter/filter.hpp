// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <variant>

#include "config/base/error.hpp"
#include "l7engine/filter/exchange.hpp"
#include "l7engine/http/reply.hpp"
#include "l7engine/io/task.hpp"

namespace weft::l7 {

struct Continue {};

/// Go on, or answer now, without a backend.
using Verdict = std::variant<Continue, LocalReply>;

/// What a filter says: a verdict at once (no frame), or a task of one. Both convert implicitly.
class [[nodiscard]] Outcome {
public:
    Outcome(Continue go_on) : verdict_(Verdict(go_on)) {}
    Outcome(LocalReply reply) : verdict_(Verdict(reply)) {}
    Outcome(Result<Verdict> verdict) : verdict_(std::move(verdict)) {}
    Outcome(Task<Result<Verdict>> task) : task_(std::move(task)) {}

    /// ready(): take() gives it; otherwise `co_await outcome.task()`.
    [[nodiscard]] bool ready() const { return !task_.valid(); }
    Result<Verdict> take() { return std::move(verdict_); }
    [[clang::coro_wrapper]] Task<Result<Verdict>> task() { return std::move(task_); }

private:
    Result<Verdict> verdict_;
    Task<Result<Verdict>> task_;
};

/// One step of every exchange. Immutable and shared by all exchanges of a worker; what belongs to one exchange is in
/// the Exchange. What it answers comes from the one table of http/reply; so does what an Error becomes.
class Filter {
public:
    virtual ~Filter() = default;
    [[nodiscard]] virtual std::string_view name() const = 0;
    /// The head is complete, the body is not: filters see it in order.
    virtual Outcome on_request(Exchange&) { return Continue{}; }
    /// The final response head, from the backend or our own; filters see it in reverse order.
    virtual Outcome on_response(Exchange&) { return Continue{}; }
};

} // namespace weft::l7
