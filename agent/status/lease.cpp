// SPDX-License-Identifier: Apache-2.0
#include "agent/status/lease.hpp"

#include <array>
#include <cstdio>
#include <ctime>

#include "agent/status/json_members.hpp"

namespace weft::agent::status {

std::optional<Lease> read_lease(const Json& object) {
    const Json& meta = member(object, "metadata");
    const Json& spec = member(object, "spec");
    if (text(meta, "name").empty())
        return std::nullopt;
    return Lease{.name = text(meta, "name"),
                 .resource_version = text(meta, "resourceVersion"),
                 .record = {.holder = text(spec, "holderIdentity"),
                            .duration_s = static_cast<int32_t>(number(spec, "leaseDurationSeconds")),
                            .acquired = text(spec, "acquireTime"),
                            .renewed = text(spec, "renewTime"),
                            .transitions = static_cast<int32_t>(number(spec, "leaseTransitions"))},
                 .in_force = text(member(meta, "annotations"), in_force_annotation)};
}

Json lease_body(const std::string& name, const std::string& ns, const LeaseRecord& record,
                const std::string& resource_version) {
    Json meta = {{"name", name}, {"namespace", ns}};
    if (!resource_version.empty())
        meta["resourceVersion"] = resource_version;
    Json spec = {{"holderIdentity", record.holder},
                 {"leaseDurationSeconds", record.duration_s},
                 {"renewTime", record.renewed},
                 {"leaseTransitions", record.transitions}};
    if (!record.acquired.empty())
        spec["acquireTime"] = record.acquired;
    return {{"apiVersion", "coordination.k8s.io/v1"},
            {"kind", "Lease"},
            {"metadata", std::move(meta)},
            {"spec", std::move(spec)}};
}

std::string time_text(int64_t unix_s) {
    const std::time_t seconds = unix_s;
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    std::array<char, 32> text{};
    std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text.data();
}

std::string micro_time(int64_t unix_us) {
    constexpr int64_t micros = 1'000'000;
    std::string text = time_text(unix_us / micros);
    std::array<char, 16> fraction{};
    std::snprintf(fraction.data(), fraction.size(), ".%06dZ", static_cast<int>(unix_us % micros));
    text.pop_back();
    return text + fraction.data();
}

} // namespace weft::agent::status
