// SPDX-License-Identifier: Apache-2.0
#include "agent/status/api.hpp"

#include "agent/status/json_members.hpp"

namespace weft::agent::status {
namespace {

using metrics::Event;

/// Literals of ours, for a counter.
const char* cause_of(Verdict verdict, const kube::Answer& answer) {
    switch (verdict) {
    case Verdict::conflict: return "conflict";
    case Verdict::not_found: return "not_found";
    case Verdict::forbidden: return "forbidden";
    default: break;
    }
    if (answer.outcome.status == 0 || !answer.outcome.error.empty())
        return "unreachable";
    return is_passing(answer) ? "busy" : "rejected";
}

std::string message_of(const kube::Answer& answer) {
    if (answer.outcome.status == 0 || !answer.outcome.error.empty())
        return answer.outcome.error.empty() ? "the answer broke off" : answer.outcome.error;
    const std::string said = text(parse(answer.body), "message");
    return "HTTP status " + std::to_string(answer.outcome.status) + (said.empty() ? "" : ": " + said);
}

std::string name_of(const Permission& permission) {
    return permission.verb + " " + permission.resource + (permission.group.empty() ? "" : " of " + permission.group);
}

} // namespace

bool is_passing(const kube::Answer& answer) {
    constexpr int too_many = 429;
    const int status = answer.outcome.status;
    return status == 0 || !answer.outcome.error.empty() || status == too_many || status >= 500;
}

Verdict verdict_of(std::string_view method, const kube::Answer& answer) {
    constexpr int forbidden = 403;
    constexpr int not_found = 404;
    constexpr int conflict = 409;
    if (answer.ok())
        return Verdict::done;
    if (!answer.outcome.error.empty())
        return Verdict::failed;
    switch (answer.outcome.status) {
    case forbidden: return Verdict::forbidden;
    case not_found: return Verdict::not_found;
    case conflict: return method == "POST" ? Verdict::exists : Verdict::conflict;
    default: return Verdict::failed;
    }
}

void Api::call(const kube::Request& request, Permission permission, Done done) {
    client_.call(request, [this, method = request.method, permission = std::move(permission),
                           done = std::move(done)](const kube::Answer& answer) mutable {
        const Verdict verdict = verdict_of(method, answer);
        note(method != "GET", permission, verdict, answer);
        done(verdict, answer);
    });
}

void Api::note(bool write, const Permission& permission, Verdict verdict, const kube::Answer& answer) {
    const std::string name = name_of(permission);
    const bool answered = !is_passing(answer);
    if (answered)
        unreachable_.clear();
    else
        unreachable_ = message_of(answer);
    if (verdict == Verdict::done) {
        faults_.erase(name);
        if (!write)
            return;
        ++writes_;
        counters_.add(Event::api_write, permission.resource);
        return;
    }
    if (verdict == Verdict::exists || (verdict == Verdict::not_found && !write)) {
        faults_.erase(name); // an answer that was asked for
        return;
    }
    ++failures_;
    counters_.add(Event::api_write_failure, cause_of(verdict, answer));
    if (verdict == Verdict::forbidden)
        faults_[name] = "permission missing: " + name + ": add it to the agent's Role or ClusterRole";
    else if (verdict == Verdict::failed && answered)
        faults_[name] = name + ": " + message_of(answer);
}

std::vector<std::string> Api::faults() const {
    std::vector<std::string> out;
    if (!unreachable_.empty())
        out.push_back("the API server cannot be written to: " + unreachable_);
    for (const auto& [name, fault] : faults_)
        out.push_back(fault);
    return out;
}

} // namespace weft::agent::status
