// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "agent/reconcile/compile.hpp"
#include "agent/source/json.hpp"
#include "agent/source/store_update.hpp"
#include "agent/status/json_members.hpp"
#include "agent/status/merge.hpp"
#include "agent/status/wanted.hpp"

namespace weft::agent::status::test {

/// Objects as an API server has them, and what the agent makes of them.
class Objects {
public:
    /// `meta` and `rest` are members of JSON objects: "\"spec\":{}".
    void put(const std::string& kind, const std::string& name, const std::string& rest, const std::string& meta = "") {
        const KindInfo& info = kind_info(kind);
        const std::string ns = info.namespaced ? R"("namespace":"shop",)" : "";
        put(kind,
            parse(R"({"kind":")" + kind + R"(","metadata":{)" + ns + R"("name":")" + name + R"(","uid":"uid-)" + name +
                  R"(")" + (meta.empty() ? "" : "," + meta) + "}" + (rest.empty() ? "" : "," + rest) + "}"));
    }
    void put(const std::string& kind, Json object) {
        const std::string version = std::to_string(++version_);
        show(kind, std::move(object), version);
    }
    /// The same at a version of an API server's own.
    void show(const std::string& kind, Json object, const std::string& version) {
        object["metadata"]["resourceVersion"] = version;
        const std::string name = text(object["metadata"], "name");
        ParsedFile parsed;
        const KindInfo& info = kind_info(kind);
        const auto value = parse_json(text_of(object));
        ASSERT_TRUE(value) << text_of(object);
        parse_served(*value, info, info.versions[0], parsed);
        ASSERT_EQ(parsed.objects.size(), 1U) << text_of(object);
        StoreUpdate(store, "api")
            .apply(ObjectChange{.kind = info.index, .object = std::move(parsed.objects[0]), .deleted = false});
        live[kind + " " + name] = std::move(object);
    }
    [[nodiscard]] std::vector<WantedStatus> wanted() const {
        CompileOptions options;
        options.gateway_classes = {"istio-waypoint"};
        return wanted_statuses(store, compile(store, options, {}, {}).statuses);
    }
    [[nodiscard]] std::optional<WantedStatus> wanted(const std::string& kind, const std::string& name) const {
        for (WantedStatus& each : wanted()) {
            if (each.key.kind == kind_info(kind).index && each.key.name.name == name)
                return std::move(each);
        }
        return std::nullopt;
    }
    /// Writes every status as it shall be, as often as something differs; how many were written.
    size_t write_all(int64_t now_s = 0) {
        size_t count = 0;
        for (const WantedStatus& each : wanted()) {
            const KindInfo& info = kinds_read()[each.key.kind];
            if (!each.has_status || digest(each.lines) == each.live || method_of(info.kind) == Method::apply)
                continue;
            const Json before = live[std::string(info.kind) + " " + each.key.name.name];
            if (auto body = merged(before, each, each.lines, now_s)) {
                put(info.kind, *body);
                ++count;
            }
        }
        return count;
    }

    ObjectStore store;
    std::map<std::string, Json> live; ///< "HTTPRoute name"

private:
    int version_ = 100;
};

/// One line each: "Service shop/web Accepted=True(Accepted)@3".
inline std::vector<std::string> shown(const std::vector<StatusLine>& lines) {
    std::vector<std::string> out;
    for (const StatusLine& line : lines)
        out.push_back((line.place.empty() ? "" : line.place + " ") + line.type + "=" + line.status +
                      (line.reason.empty() ? "" : "(" + line.reason + ")") +
                      (line.generation == 0 ? "" : "@" + std::to_string(line.generation)));
    return out;
}

inline const char* const our_gateway =
    R"("spec":{"gatewayClassName":"weft-waypoint","listeners":[{"name":"mesh","port":15008,"protocol":"HBONE"}]})";
inline const char* const their_gateway =
    R"("spec":{"gatewayClassName":"istio-waypoint","listeners":[{"name":"mesh","port":15008,"protocol":"HBONE"}]})";
inline const char* const web_service =
    R"("spec":{"clusterIP":"10.96.0.1","clusterIPs":["10.96.0.1"],"ports":[{"name":"http","port":80}]})";
inline const char* const to_web =
    R"("spec":{"parentRefs":[{"group":"","kind":"Service","name":"web","port":80}],
       "rules":[{"backendRefs":[{"name":"web","port":80}]}]})";
inline const char* const generation_3 = R"("generation":3)";

} // namespace weft::agent::status::test
