// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/uninstall.hpp"

#include <poll.h>

#include <algorithm>

#include "agent/kube/request.hpp"
#include "config/base/clock.hpp"

namespace weft::agent::ctl {
namespace {

constexpr const char* service_account_folder = "/var/run/secrets/kubernetes.io/serviceaccount";
constexpr uint32_t request_timeout_ms = 10'000;
constexpr int poll_ms = 500;
constexpr int ok = 200;
constexpr int accepted = 202;
constexpr int not_found = 404;

std::string said(const kube::Requests::Answer& answer) {
    return answer.error.empty() ? "HTTP status " + std::to_string(answer.status) : answer.error;
}

} // namespace

std::expected<std::string, std::string> uninstall(const std::string& daemonset, const std::string& kubeconfig,
                                                  uint32_t timeout_ms) {
    const size_t slash = daemonset.find('/');
    if (slash == std::string::npos || slash == 0 || slash + 1 == daemonset.size())
        return std::unexpected("not NAMESPACE/NAME: " + daemonset);
    auto server = kube::find_api_server(kubeconfig, service_account_folder);
    if (!server)
        return std::unexpected(server.error());
    kube::Requests requests(*std::move(server), std::min(timeout_ms, request_timeout_ms));
    const std::string path =
        "/apis/apps/v1/namespaces/" + daemonset.substr(0, slash) + "/daemonsets/" + daemonset.substr(slash + 1);
    const uint64_t deadline = monotonic_ms() + timeout_ms;
    bool asked = false;
    std::string last = "not asked";
    while (true) {
        const kube::Requests::Answer answer =
            asked ? requests.get(path) : requests.remove(path + "?propagationPolicy=Foreground");
        if (answer.status == not_found)
            return "";
        asked = asked || (answer.error.empty() && (answer.status == ok || answer.status == accepted));
        last = asked ? "" : said(answer);
        if (monotonic_ms() < deadline) {
            poll(nullptr, 0, poll_ms);
            continue;
        }
        if (asked) // a node that is away: its agent sees it when it is back, or is gone with it
            return "DaemonSet " + daemonset + " is deleted, but not all of its pods are gone: nodes that are away";
        return std::unexpected("DaemonSet " + daemonset + ": not within " + std::to_string(timeout_ms / 1000) +
                               " s: " + last);
    }
}

} // namespace weft::agent::ctl
