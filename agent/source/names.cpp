// SPDX-License-Identifier: Apache-2.0
#include "agent/source/names.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "config/base/net.hpp"

namespace weft::agent::names {
namespace {

bool lower(char c) {
    return c >= 'a' && c <= 'z';
}
bool upper(char c) {
    return c >= 'A' && c <= 'Z';
}
bool digit(char c) {
    return c >= '0' && c <= '9';
}
bool hex(char c) {
    return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool lower_or_digit(char c) {
    return lower(c) || digit(c);
}
bool alphanumeric(char c) {
    return lower_or_digit(c) || upper(c);
}

template <class P>
bool every(std::string_view text, P predicate) {
    return std::all_of(text.begin(), text.end(), predicate);
}

bool is_label_of(std::string_view text, size_t size_max) {
    return !text.empty() && text.size() <= size_max && lower_or_digit(text.front()) && lower_or_digit(text.back()) &&
           every(text, [](char c) { return lower_or_digit(c) || c == '-'; });
}

bool is_name_part(std::string_view text) {
    return !text.empty() && text.size() <= 63 && alphanumeric(text.front()) && alphanumeric(text.back()) &&
           every(text, [](char c) { return alphanumeric(c) || c == '-' || c == '_' || c == '.'; });
}

std::optional<int> number(std::string_view& text, size_t digits, char after) {
    if (text.size() < digits || !every(text.substr(0, digits), digit))
        return std::nullopt;
    int value = 0;
    std::from_chars(text.data(), text.data() + digits, value);
    text.remove_prefix(digits);
    if (after != 0) {
        if (!text.starts_with(after))
            return std::nullopt;
        text.remove_prefix(1);
    }
    return value;
}

} // namespace

bool is_group(std::string_view text) {
    return text.empty() || is_dns_subdomain(text);
}

std::string lower_case(std::string text) {
    std::ranges::transform(text, text.begin(), [](char c) { return upper(c) ? static_cast<char>(c - 'A' + 'a') : c; });
    return text;
}

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
    return std::ranges::find(words, text) != words.end();
}

bool is_dns_label(std::string_view text) {
    return is_label_of(text, 63);
}

bool is_dns_subdomain(std::string_view text) {
    if (text.empty() || text.size() > 253)
        return false;
    while (true) {
        const auto dot = text.find('.');
        if (!is_label_of(text.substr(0, dot), 253))
            return false;
        if (dot == std::string_view::npos)
            return true;
        text.remove_prefix(dot + 1);
    }
}

bool is_path_segment(std::string_view text) {
    return !text.empty() && text.size() <= 253 && text != "." && text != ".." &&
           every(text, [](char c) { return c > ' ' && c < 127 && c != '/' && c != '%'; });
}

bool is_hostname(std::string_view text) {
    if (text.size() > 253 || IpAddress::parse(text))
        return false;
    if (text.starts_with("*."))
        text.remove_prefix(2);
    return is_dns_subdomain(text);
}

bool is_port_name(std::string_view text) {
    return is_label_of(text, 15) && text.find("--") == std::string_view::npos &&
           std::any_of(text.begin(), text.end(), lower);
}

bool is_qualified_name(std::string_view text) {
    if (const auto slash = text.find('/'); slash != std::string_view::npos) {
        if (!is_dns_subdomain(text.substr(0, slash)))
            return false;
        text.remove_prefix(slash + 1);
    }
    return is_name_part(text);
}

bool is_label_value(std::string_view text) {
    return text.empty() || is_name_part(text);
}

bool is_uid(std::string_view text) {
    return !text.empty() && text.size() <= 128 && alphanumeric(text.front()) &&
           every(text, [](char c) { return alphanumeric(c) || c == '-' || c == '_' || c == '.'; });
}

bool is_kind(std::string_view text) {
    return !text.empty() && text.size() <= 63 && (lower(text.front()) || upper(text.front())) &&
           alphanumeric(text.back()) && every(text, [](char c) { return alphanumeric(c) || c == '-'; });
}

bool is_header_name(std::string_view text) {
    constexpr std::string_view marks = "!#$%&'*+-.^_`|~";
    return !text.empty() && text.size() <= 256 &&
           every(text, [&](char c) { return alphanumeric(c) || marks.find(c) != std::string_view::npos; });
}

bool is_app_protocol(std::string_view text) {
    return text.empty() || is_qualified_name(text);
}

bool is_route_path(std::string_view text) {
    constexpr std::string_view marks = "-._~!$&'()*+,;=:@/";
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%') {
            if (i + 2 >= text.size() || !hex(text[i + 1]) || !hex(text[i + 2]))
                return false;
            i += 2;
        } else if (!alphanumeric(text[i]) && marks.find(text[i]) == std::string_view::npos) {
            return false;
        }
    }
    return true;
}

std::optional<int64_t> parse_time(std::string_view text) {
    const auto year = number(text, 4, '-');
    const auto month = number(text, 2, '-');
    const auto day = number(text, 2, 'T');
    const auto hour = number(text, 2, ':');
    const auto minute = number(text, 2, ':');
    const auto second = number(text, 2, 0);
    if (!year || !month || !day || !hour || !minute || !second || *hour > 23 || *minute > 59 || *second > 60)
        return std::nullopt;
    const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                           std::chrono::day(static_cast<unsigned>(*day))};
    if (!date.ok())
        return std::nullopt;
    if (text.starts_with('.')) {
        text.remove_prefix(1);
        if (text.empty() || !digit(text.front()))
            return std::nullopt;
        text.remove_prefix(std::min(text.find_first_not_of("0123456789"), text.size()));
    }
    int64_t offset = 0;
    if (text.starts_with('+') || text.starts_with('-')) {
        const int sign = text.front() == '+' ? 1 : -1;
        text.remove_prefix(1);
        const auto hours = number(text, 2, ':');
        const auto minutes = number(text, 2, 0);
        if (!hours || !minutes || *hours > 23 || *minutes > 59)
            return std::nullopt;
        offset = sign * (*hours * 3600 + *minutes * 60);
        if (!text.empty())
            return std::nullopt;
    } else if (text != "Z") {
        return std::nullopt;
    }
    const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
    return days * 86400 + *hour * 3600 + *minute * 60 + *second - offset;
}

} // namespace weft::agent::names
