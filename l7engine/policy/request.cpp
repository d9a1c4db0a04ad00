// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/request.hpp"

namespace weft::l7 {

RequestView RequestView::of(const Head& head) {
    RequestView view{.method = head.method,
                     .target = head.path,
                     .path = head.path,
                     .query = {},
                     .authority = head.authority,
                     .scheme = head.scheme,
                     .upgrade = head.upgrade,
                     .content_length = head.content_length,
                     .headers = &head.headers};
    view.path = view.path.substr(0, view.path.find('#'));
    if (const size_t mark = view.path.find('?'); mark != std::string_view::npos) {
        view.query = view.path.substr(mark + 1);
        view.path = view.path.substr(0, mark);
    }
    return view;
}

std::optional<std::string_view> RequestView::field(std::string_view name, std::string& scratch) const {
    const auto if_given = [](std::string_view text) { return text.empty() ? std::nullopt : std::optional(text); };
    if (name == "host" || name == ":authority")
        return if_given(authority);
    if (name == "upgrade")
        return if_given(upgrade);
    if (name == "content-length") {
        if (!content_length)
            return std::nullopt;
        scratch = std::to_string(*content_length);
        return scratch;
    }
    if (name.starts_with(':')) {
        if (name == ":method")
            return if_given(method);
        if (name == ":path")
            return if_given(target);
        if (name == ":scheme")
            return if_given(scheme);
        return std::nullopt;
    }
    return headers->joined(name, scratch);
}

std::optional<std::string_view> RequestView::parameter(std::string_view name) const {
    std::string_view rest = query;
    while (!rest.empty()) {
        const size_t end = rest.find('&');
        const std::string_view pair = rest.substr(0, end);
        const size_t equals = pair.find('=');
        if (pair.substr(0, equals) == name)
            return equals == std::string_view::npos ? std::string_view{} : pair.substr(equals + 1);
        if (end == std::string_view::npos)
            break;
        rest.remove_prefix(end + 1);
    }
    return std::nullopt;
}

} // namespace weft::l7
