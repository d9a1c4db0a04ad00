// SPDX-License-Identifier: Apache-2.0
#include "agent/check/api.hpp"

#include <algorithm>
#include <expected>
#include <fstream>
#include <iterator>
#include <map>
#include <set>

#include "agent/check/judge.hpp"
#include "agent/kube/request.hpp"
#include "agent/source/kinds.hpp"

namespace weft::agent::check {
namespace {

using kube::Requests;

constexpr const char* service_account_folder = "/var/run/secrets/kubernetes.io/serviceaccount";
constexpr const char* usual_namespace = "weft-system";
/// Only the metadata: the schema of a CRD is some hundred KiB.
constexpr const char* metadata_only = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
constexpr size_t said_bytes_max = 300;
constexpr int http_not_found = 404;
constexpr int http_unauthorized = 401;
constexpr int http_forbidden = 403;

const Json& member(const Json& object, const char* key) {
    static const Json none;
    const auto found = object.find(key);
    return object.is_object() && found != object.end() ? *found : none;
}

std::string text(const Json& object, const char* key) {
    const Json& value = member(object, key);
    return value.is_string() ? value.get<std::string>() : "";
}

/// One line of what the server said: the message of its Status object, else its first bytes.
std::string said(const Requests::Answer& answer) {
    if (!answer.error.empty())
        return answer.error;
    const Json body = Json::parse(answer.body, nullptr, false);
    std::string line = body.is_object() ? text(body, "message") : answer.body.substr(0, answer.body.find('\n'));
    line.resize(std::min(line.size(), said_bytes_max));
    return "HTTP status " + std::to_string(answer.status) + (line.empty() ? "" : ": " + line);
}

/// The object, or one line why there is none.
std::expected<Json, std::string> object_of(const Requests::Answer& answer) {
    constexpr int good = 200;
    constexpr int next = 300;
    if (!answer.error.empty() || answer.status < good || answer.status >= next)
        return std::unexpected(said(answer));
    Json body = Json::parse(answer.body, nullptr, false);
    if (!body.is_object())
        return std::unexpected("the answer is no JSON object");
    return body;
}

/// Groups that are not served stay out.
std::expected<std::map<std::string, Served>, std::string> read_groups(Requests& requests) {
    std::set<std::string> wanted;
    for (const KindInfo& kind : kinds_read())
        if (!kind.core)
            wanted.insert(kind.group);
    std::map<std::string, Served> groups;
    for (const std::string& group : wanted) {
        const Requests::Answer answer = requests.get("/apis/" + group);
        if (answer.error.empty() && answer.status == http_not_found)
            continue;
        const auto index = object_of(answer);
        if (!index)
            return std::unexpected("/apis/" + group + ": " + index.error());
        for (const Json& each : member(*index, "versions")) {
            const std::string version = text(each, "version");
            const auto list = object_of(requests.get("/apis/" + group + "/" + version));
            if (!list)
                return std::unexpected("/apis/" + group + "/" + version + ": " + list.error());
            for (const Json& resource : member(*list, "resources"))
                groups[group][version].insert(text(resource, "name"));
        }
    }
    return groups;
}

/// Not being allowed to read CRDs is no fault: the agent does not need to.
Finding bundle(Requests& requests) {
    const Requests::Answer answer = requests.get(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/httproutes.gateway.networking.k8s.io", metadata_only);
    const auto crd = object_of(answer);
    if (!crd)
        return {.check = "Gateway API release",
                .level = Level::skipped,
                .detail =
                    answer.status == http_forbidden
                        ? "only who may read CRDs sees it; the agent needs no such right (--kubeconfig: another's)"
                        : crd.error(),
                .remedy = {}};
    const Json& annotations = member(member(*crd, "metadata"), "annotations");
    return judge_bundle(text(annotations, "gateway.networking.k8s.io/bundle-version"),
                        text(annotations, "gateway.networking.k8s.io/channel"));
}

/// As whom the server sees us; empty: it does not tell (before 1.28).
std::string own_name(Requests& requests) {
    const auto review =
        object_of(requests.post("/apis/authentication.k8s.io/v1/selfsubjectreviews",
                                R"({"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"})"));
    return review ? text(member(member(*review, "status"), "userInfo"), "username") : "";
}

struct Subject {
    std::string ns; ///< of a service account; empty: whoever asks
    std::string name;
    [[nodiscard]] bool is_self() const { return ns.empty(); }
};

Allowed ask(Requests& requests, const kube::Access& access, const std::string& agent_namespace,
            const Subject& subject) {
    Json spec = {
        {"resourceAttributes", {{"verb", access.verb}, {"group", access.group}, {"resource", access.resource}}}};
    if (!access.subresource.empty())
        spec["resourceAttributes"]["subresource"] = access.subresource;
    if (!access.name.empty())
        spec["resourceAttributes"]["name"] = access.name;
    if (access.scope == kube::Access::Scope::own)
        spec["resourceAttributes"]["namespace"] = agent_namespace;
    if (!subject.is_self()) {
        spec["user"] = "system:serviceaccount:" + subject.ns + ":" + subject.name;
        spec["groups"] = {"system:serviceaccounts", "system:serviceaccounts:" + subject.ns, "system:authenticated"};
    }
    const Json review = {{"apiVersion", "authorization.k8s.io/v1"},
                         {"kind", subject.is_self() ? "SelfSubjectAccessReview" : "SubjectAccessReview"},
                         {"spec", std::move(spec)}};
    const auto answer =
        object_of(requests.post(std::string("/apis/authorization.k8s.io/v1/") +
                                    (subject.is_self() ? "selfsubjectaccessreviews" : "subjectaccessreviews"),
                                review.dump()));
    if (!answer)
        return {.access = access, .yes = false, .error = answer.error()};
    const Json& allowed = member(member(*answer, "status"), "allowed");
    return {.access = access, .yes = allowed.is_boolean() && allowed.get<bool>(), .error = {}};
}

/// Of the pod that we run in.
std::string own_namespace() {
    std::ifstream file(std::string(service_account_folder) + "/namespace");
    std::string name;
    return std::getline(file, name) && !name.empty() ? name : usual_namespace;
}

std::vector<Finding> rights(Requests& requests, const ApiOptions& options) {
    Subject subject;
    std::string ns = options.agent_namespace;
    if (const size_t slash = options.service_account.find('/'); slash != std::string::npos) {
        subject = {.ns = options.service_account.substr(0, slash), .name = options.service_account.substr(slash + 1)};
        if (ns.empty())
            ns = subject.ns;
    }
    if (ns.empty())
        ns = own_namespace();
    std::vector<Allowed> answers;
    for (const kube::Access& access : kube::access_needed(options.uses))
        answers.push_back(ask(requests, access, ns, subject));
    std::string who =
        subject.is_self() ? own_name(requests) : "system:serviceaccount:" + subject.ns + ":" + subject.name;
    return judge_access(answers, who.empty() ? "whoever asks" : who);
}

Finding server_fault(std::string detail, std::string remedy) {
    return {.check = "API server", .level = Level::failed, .detail = std::move(detail), .remedy = std::move(remedy)};
}

std::vector<Finding> without_server(Finding fault) {
    std::vector<Finding> found = skip_api("not looked at without the API server");
    found.front() = std::move(fault);
    return found;
}

} // namespace

std::vector<Finding> skip_api(const std::string& why) {
    std::vector<Finding> found;
    for (const char* check : {"API server", "CRDs", "Gateway API release", "RBAC"})
        found.push_back({.check = check, .level = Level::skipped, .detail = why, .remedy = {}});
    return found;
}

std::vector<Finding> check_api(const ApiOptions& options) {
    auto server = kube::find_api_server(options.kubeconfig, service_account_folder);
    if (!server)
        return without_server(server_fault(server.error(), "--kubeconfig PATH, or --no-api to leave the cluster out"));
    const std::string url = server->url;
    Requests requests(*std::move(server), options.timeout_ms);
    const Requests::Answer answer = requests.get("/version");
    const auto version = object_of(answer);
    if (!version)
        return without_server(server_fault(url + ": " + version.error(),
                                           answer.status == http_unauthorized
                                               ? "give credentials that the server knows: its token may have expired"
                                               : "is it up, and reachable from here? --no-api leaves the cluster out"));
    std::vector<Finding> found = {
        {.check = "API server", .detail = url + ", " + text(*version, "gitVersion"), .remedy = {}}};
    if (const auto groups = read_groups(requests); groups) {
        std::ranges::move(judge_kinds(*groups), std::back_inserter(found));
        if (groups->contains("gateway.networking.k8s.io"))
            found.push_back(bundle(requests));
    } else {
        found.push_back({.check = "CRDs",
                         .level = Level::failed,
                         .detail = groups.error(),
                         .remedy = "the ClusterRole system:discovery lets every authenticated user read these"});
    }
    std::ranges::move(rights(requests, options), std::back_inserter(found));
    return found;
}

} // namespace weft::agent::check
