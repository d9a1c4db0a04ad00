// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agent/kube/client.hpp"
#include "agent/metrics/counters.hpp"

namespace weft::agent::status {

/// What a request needs by RBAC, as a Role is written.
struct Permission {
    std::string verb;
    std::string resource; ///< "httproutes/status"
    std::string group{};  ///< empty: core
};

/// What an answer means for whoever asked.
enum class Verdict : uint8_t {
    done,
    conflict,  ///< 409: it is not what we read any more
    exists,    ///< 409 to a POST
    not_found, ///< 404
    forbidden, ///< 403
    failed,    ///< anything else: later
};
/// No answer, or that of a server that is too busy: the same request may succeed later.
[[nodiscard]] bool is_passing(const kube::Answer& answer);
[[nodiscard]] Verdict verdict_of(std::string_view method, const kube::Answer& answer);

/// All requests of the writer: counted by resource and by cause, and what stands in their way is kept to be told. Of
/// the writer's thread.
class Api {
public:
    using Done = std::move_only_function<void(Verdict, const kube::Answer&)>;

    Api(kube::ApiServer server, metrics::Counters& counters) : counters_(counters), client_(std::move(server)) {}

    void call(const kube::Request& request, Permission permission, Done done);
    void turn(int timeout_ms) { client_.turn(timeout_ms); }
    void wake() { client_.wake(); } ///< from any thread
    [[nodiscard]] size_t under_way() const { return client_.under_way(); }

    [[nodiscard]] uint64_t writes() const { return writes_; }
    [[nodiscard]] uint64_t failures() const { return failures_; }
    /// One line each, for what did not work the last time it was tried; without times, so that it changes with the
    /// cause.
    [[nodiscard]] std::vector<std::string> faults() const;

private:
    void note(bool write, const Permission& permission, Verdict verdict, const kube::Answer& answer);

    metrics::Counters& counters_;
    std::map<std::string, std::string> faults_; ///< by verb, resource and group: what that alone lacks
    std::string unreachable_;                   ///< why nothing was answered the last time; empty: it was
    uint64_t writes_ = 0;
    uint64_t failures_ = 0;
    kube::Client client_; ///< the last: it ends first, and with it all calls
};

inline constexpr const char* json_type = "application/json";
inline constexpr const char* merge_patch_type = "application/merge-patch+json";
inline constexpr const char* apply_type = "application/apply-patch+yaml"; ///< JSON is YAML
inline constexpr uint32_t write_timeout_ms = 10'000;

} // namespace weft::agent::status
