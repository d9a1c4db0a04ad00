// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "agent/reconcile/compile.hpp"

namespace weft::agent {

inline ObjectStore store_of(const std::string& text, const ObjectStore& before = {}) {
    auto parsed = std::make_shared<const ParsedFile>(parse_manifests(text));
    for (const auto& fault : parsed->faults)
        ADD_FAILURE() << fault.message;
    return merge(before, {{.name = "all.yaml", .parsed = parsed, .unreadable = {}}}).store;
}

/// Pieces of manifests. Documents are joined with +.
namespace yaml {

inline std::string space(const std::string& name, const std::string& labels = "") {
    return "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + ", labels: {" + labels + "}}\n";
}
struct PodText {
    std::string name;
    std::string ip;
    std::string labels = "app: web";
    std::string spec = "containers: [{ports: [{name: http, containerPort: 8080}]}]";
    std::string status{};
    std::string ns = "default";
    std::string created{};
    bool deleting = false;
};
inline std::string pod(const PodText& text) {
    return "---\napiVersion: v1\nkind: Pod\nmetadata: {name: " + text.name + ", namespace: " + text.ns + ", labels: {" +
           text.labels + "}, annotations: {weftmesh.io/netns: n-" + text.ns + "-" + text.name + "}" +
           (text.created.empty() ? "" : ", creationTimestamp: '" + text.created + "'") +
           (text.deleting ? ", deletionTimestamp: '2024-06-01T00:00:00Z'" : "") + "}\nspec: {" + text.spec +
           "}\nstatus: {podIP: " + text.ip + (text.status.empty() ? "" : ", " + text.status) + "}\n";
}
inline std::string service(const std::string& name, const std::string& ip, const std::string& rest = "",
                           const std::string& labels = "", const std::string& ns = "default") {
    return "---\napiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", namespace: " + ns + ", labels: {" +
           labels + "}}\nspec: {clusterIP: " + ip + ", " +
           (rest.empty() ? "selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]" : rest) + "}\n";
}
inline std::string gateway(const std::string& name, const std::string& labels = "", const std::string& listener = "",
                           const std::string& ns = "default", const std::string& of_class = "weft-waypoint") {
    return "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: " + name +
           ", namespace: " + ns + ", labels: {" + labels + "}}\nspec: {gatewayClassName: " + of_class +
           ", listeners: [{name: mesh, port: 15008, protocol: HBONE" + (listener.empty() ? "" : ", " + listener) +
           "}]}\n";
}
inline std::string route(const std::string& name, const std::string& parents, const std::string& rules,
                         const std::string& ns = "default", const std::string& created = "",
                         const std::string& hostnames = "") {
    return "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: " + name +
           ", namespace: " + ns + (created.empty() ? "" : ", creationTimestamp: '" + created + "'") +
           "}\nspec: {parentRefs: [" + parents + "], hostnames: [" + hostnames + "], rules: [" + rules + "]}\n";
}
inline std::string to_service(const std::string& name, const std::string& rest = "") {
    return "{group: '', kind: Service, name: " + name + (rest.empty() ? "" : ", " + rest) + "}";
}
inline std::string policy(const std::string& name, const std::string& targets, const std::string& spec = "rules: [{}]",
                          const std::string& ns = "default") {
    return "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: " + name +
           ", namespace: " + ns + "}\nspec: {targetRefs: [" + targets + "], " + spec + "}\n";
}
inline std::string at_gateway(const std::string& name, const std::string& kind = "Gateway") {
    return "{group: gateway.networking.k8s.io, kind: " + kind + ", name: " + name + "}";
}
inline std::string at_service(const std::string& name) {
    return "{group: '', kind: Service, name: " + name + "}";
}

} // namespace yaml

/// Captures every pod that asks for it: ids from 1 in order of uid, cookie = 100 + id.
inline CapturedPods capture_all(const ObjectStore& store) {
    std::vector<Diagnostic> ignored;
    CapturedPods out;
    for (const auto& pod : pods_to_capture(store, {}, ignored)) {
        const auto id = static_cast<uint32_t>(out.size() + 1);
        out[pod.uid] = {.id = id, .netns_cookie = 100 + id};
    }
    return out;
}

class ReconcileTest : public testing::Test {
protected:
    const Compiled& compile_text(const std::string& text) {
        store_ = store_of(text, store_);
        captured_ = capture_all(store_);
        out_ = compile(store_, options_, captured_, out_.service_ids);
        return out_;
    }
    const config::Frontend& frontend(const std::string& service, uint16_t port = 80,
                                     const std::string& ns = "default") {
        for (const auto& each : out_.snapshot.frontends) {
            if (each.service == service && each.port == port && each.ns == ns)
                return each;
        }
        ADD_FAILURE() << "no frontend " << service;
        static const config::Frontend nothing;
        return nothing;
    }
    const config::Cluster& cluster(const std::string& service, uint16_t port = 80) {
        for (const auto& each : out_.snapshot.clusters) {
            if (each.service == service && each.port == port)
                return each;
        }
        ADD_FAILURE() << "no cluster " << service;
        static const config::Cluster nothing;
        return nothing;
    }
    /// "True Accepted", "False Invalid"; "" if there is none.
    std::string condition(const std::string& kind, const std::string& name, const std::string& type,
                          const std::string& parent = "", const std::string& ns = "default") {
        for (const auto& status : out_.statuses) {
            if (status.kind != kind || status.name != name || status.parent != parent || status.ns != ns)
                continue;
            for (const auto& each : status.conditions) {
                if (each.type == type) {
                    message_ = each.message;
                    return (each.status ? "True " : "False ") + each.reason;
                }
            }
        }
        return "";
    }
    bool diagnosed(const std::string& object, const std::string& part) const {
        return std::any_of(out_.diagnostics.begin(), out_.diagnostics.end(), [&](const auto& each) {
            return each.object == object && each.message.find(part) != std::string::npos;
        });
    }
    std::vector<std::string> endpoints(const std::string& service, uint16_t port = 80) {
        std::vector<std::string> out;
        for (const auto& each : cluster(service, port).endpoints)
            out.push_back(each.address.to_string());
        return out;
    }
    /// Names of the policies of a set, "-" before those that deny.
    std::vector<std::string> policies(uint32_t set) const {
        std::vector<std::string> out;
        if (set == config::none)
            return out;
        for (const uint32_t index : out_.snapshot.policy_sets.at(set).deny)
            out.push_back("-" + out_.snapshot.policies.at(index).name);
        for (const uint32_t index : out_.snapshot.policy_sets.at(set).allow)
            out.push_back(out_.snapshot.policies.at(index).name);
        return out;
    }
    /// Routes of a table, in the order of its entries.
    std::vector<std::string> routes(uint32_t table) const {
        std::vector<std::string> out;
        if (table == config::none)
            return out;
        const auto& entries = out_.snapshot.route_tables.at(table);
        for (const auto& entry : entries.entries)
            out.push_back(entries.rules.at(entry.rule).route + " " + entry.match.path);
        return out;
    }
    std::map<uint16_t, std::vector<config::Guard>> guards(const std::string& uid) const {
        std::map<uint16_t, std::vector<config::Guard>> out;
        for (const auto& pod : out_.snapshot.pods) {
            if (pod.id != captured_.at(uid).id)
                continue;
            for (const auto& port : pod.inbound)
                out[port.port] = port.guards;
        }
        return out;
    }
    std::map<uint16_t, config::Protocol> protocols(const std::string& uid) const {
        std::map<uint16_t, config::Protocol> out;
        for (const auto& pod : out_.snapshot.pods) {
            if (pod.id != captured_.at(uid).id)
                continue;
            for (const auto& port : pod.inbound)
                out[port.port] = port.protocol;
        }
        return out;
    }
    std::map<uint16_t, KernelState::PortAction> actions(const std::string& uid) const {
        std::map<uint16_t, KernelState::PortAction> out;
        for (const auto& [key, action] : out_.kernel.inbound_ports) {
            if (key.pod_id == captured_.at(uid).id)
                out[key.port] = action;
        }
        return out;
    }
    const KernelState::Pod& kernel_pod(const std::string& uid) const {
        return out_.kernel.pods.at(captured_.at(uid).netns_cookie);
    }

    CompileOptions options_;
    ObjectStore store_;
    CapturedPods captured_;
    Compiled out_;
    std::string message_; ///< of the last condition() found
};

using Strings = std::vector<std::string>;
inline constexpr const char* ambient = "istio.io/dataplane-mode: ambient";

} // namespace weft::agent
