// SPDX-License-Identifier: Apache-2.0
#include "config/base/log.hpp"

#include <time.h>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace weft::log {
namespace {

struct State {
    std::shared_ptr<spdlog::logger> logger;
    std::string process = "weft";
    bool json = false;
};

State& state() {
    static State instance{spdlog::stderr_logger_mt("weft"), "weft", false};
    return instance;
}

spdlog::level::level_enum to_spdlog(Level level) {
    switch (level) {
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warn: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
    }
    return spdlog::level::info;
}

/// Bytes of the well-formed UTF-8 character at the front; 0 if there is none.
size_t utf8_length(std::string_view text) {
    const auto byte = [&](size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U; };
    const unsigned first = byte(0);
    const size_t length = first < 0x80   ? 1
                          : first < 0xc2 ? 0
                          : first < 0xe0 ? 2
                          : first < 0xf0 ? 3
                          : first < 0xf5 ? 4
                                         : 0;
    for (size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0) != 0x80)
            return 0;
    }
    // Overlong forms, surrogates, and what lies above U+10FFFF.
    const unsigned second = byte(1);
    const bool out_of_range = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
                              (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
    return out_of_range ? 0 : length;
}

/// Quotes for both forms: text values and JSON strings. Control bytes and what is no UTF-8 never reach the terminal,
/// break a line or spoil the JSON.
void append_quoted(std::string& out, std::string_view value) {
    static constexpr char hex[] = "0123456789abcdef";
    out += '"';
    while (!value.empty()) {
        const char c = value.front();
        const auto byte = static_cast<unsigned char>(c);
        const size_t length = utf8_length(value);
        const bool c1_control = byte == 0xc2 && length == 2 && static_cast<unsigned char>(value[1]) < 0xa0;
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte < 0x20 || byte == 0x7f || length == 0 || c1_control) {
            out += "\\u00";
            out += hex[byte >> 4];
            out += hex[byte & 15];
        } else {
            out += value.substr(0, length);
        }
        value.remove_prefix(length == 0 || c1_control ? 1 : length);
    }
    out += '"';
}

bool plain(std::string_view value) {
    return !value.empty() && value.find_first_of(" \"\\=\t\n\r") == std::string_view::npos &&
           value.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/-+,[]@*%") ==
               std::string_view::npos;
}

} // namespace

void start(std::string_view process, Level least, bool json) {
    ::tzset(); // libc reads its zone file once, at the first conversion: later a sandbox may forbid open()
    state().process = process;
    state().json = json;
    state().logger->set_level(to_spdlog(least));
    state().logger->flush_on(spdlog::level::info);
    state().logger->set_pattern(json ? "{\"time\":\"%Y-%m-%dT%H:%M:%S.%eZ\",\"level\":\"%l\",%v}"
                                     : "%Y-%m-%dT%H:%M:%S.%eZ %l %v",
                                spdlog::pattern_time_type::utc);
}

bool parse_level(std::string_view text, Level& out) {
    constexpr std::string_view names[] = {"debug", "info", "warn", "error"};
    for (uint8_t i = 0; i < 4; ++i) {
        if (text == names[i]) {
            out = static_cast<Level>(i);
            return true;
        }
    }
    return false;
}

void write(Level level, std::string_view event, std::initializer_list<Field> fields) {
    auto& logger = *state().logger;
    if (!logger.should_log(to_spdlog(level)))
        return;
    std::string line;
    if (state().json) {
        line += "\"process\":";
        append_quoted(line, state().process);
        line += ",\"event\":";
        append_quoted(line, event);
    } else {
        line += state().process;
        line += ": ";
        line += event;
    }
    for (const auto& field : fields) {
        if (state().json) {
            line += ',';
            append_quoted(line, field.key);
            line += ':';
            append_quoted(line, field.value);
        } else {
            line += ' ';
            line += field.key;
            line += '=';
            if (plain(field.value))
                line += field.value;
            else
                append_quoted(line, field.value);
        }
    }
    logger.log(to_spdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

} // namespace weft::log
