// SPDX-License-Identifier: Apache-2.0
#include "agent/check/finding.hpp"

#include <algorithm>

namespace weft::agent::check {

const char* name(Level level) {
    switch (level) {
        using enum Level;
    case ok: return "ok";
    case warning: return "warning";
    case failed: return "failed";
    case skipped: return "skipped";
    }
    return "";
}

bool has_failed(const std::vector<Finding>& findings) {
    return std::ranges::count(findings, Level::failed, &Finding::level) != 0;
}

Json to_json(const std::vector<Finding>& findings) {
    Json list = Json::array();
    for (const Finding& finding : findings)
        list.push_back({{"check", finding.check},
                        {"status", name(finding.level)},
                        {"detail", finding.detail},
                        {"remedy", finding.remedy}});
    return {{"checks", std::move(list)},
            {"failed", std::ranges::count(findings, Level::failed, &Finding::level)},
            {"warnings", std::ranges::count(findings, Level::warning, &Finding::level)}};
}

} // namespace weft::agent::check
