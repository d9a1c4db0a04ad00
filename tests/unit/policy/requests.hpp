// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "l7engine/policy/request.hpp"

namespace weft::l7::test {

using Fields = std::initializer_list<std::pair<std::string_view, std::string_view>>;

/// A request head and its view, which borrows it.
struct Request {
    Head head;
    explicit Request(std::string_view target, std::string_view method = "GET", std::string_view authority = "svc",
                     Fields fields = {}) {
        head.path = target;
        head.method = method;
        head.authority = authority;
        for (const auto& [name, value] : fields)
            head.headers.add(name, value);
    }
    [[nodiscard]] RequestView view() const { return RequestView::of(head); }
};

} // namespace weft::l7::test
