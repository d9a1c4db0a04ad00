// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

/// Structured logging: a constant event name, then fields. error = the operator must act, warn = degraded,
/// info = life-cycle, debug = off by default. The request path counts, it does not log.
namespace weft::log {

enum class Level : uint8_t { debug, info, warn, error };

struct Field {
    std::string_view key;
    std::string value;
};

[[nodiscard]] inline Field kv(std::string_view key, std::string_view value) {
    return {key, std::string(value)};
}
[[nodiscard]] Field kv(std::string_view key, std::same_as<bool> auto value) {
    return {key, value ? "true" : "false"};
}
template <std::integral T>
    requires(!std::same_as<T, bool>)
[[nodiscard]] Field kv(std::string_view key, T value) {
    return {key, std::to_string(value)};
}

/// Sets the process name shown in each line, the least level and the form. Call once, before threads start.
void start(std::string_view process, Level least, bool json);
/// Parses "debug|info|warn|error"; anything else is false and leaves `out`.
[[nodiscard]] bool parse_level(std::string_view text, Level& out);

void write(Level level, std::string_view event, std::initializer_list<Field> fields);

template <std::same_as<Field>... F>
void debug(std::string_view event, F... fields) {
    write(Level::debug, event, {std::move(fields)...});
}
template <std::same_as<Field>... F>
void info(std::string_view event, F... fields) {
    write(Level::info, event, {std::move(fields)...});
}
template <std::same_as<Field>... F>
void warn(std::string_view event, F... fields) {
    write(Level::warn, event, {std::move(fields)...});
}
template <std::same_as<Field>... F>
void error(std::string_view event, F... fields) {
    write(Level::error, event, {std::move(fields)...});
}

} // namespace weft::log
