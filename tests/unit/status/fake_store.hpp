// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "agent/status/json_members.hpp"
#include "tests/unit/kube/fake_server.hpp"

namespace weft::agent::status::test {

/// As much of an API server as a writer sees: objects by path with optimistic locking, merge patches, and apply as one.
class FakeStore {
public:
    using Reply = kube::test::Reply;
    using Received = kube::test::Received;

    FakeStore() : server_([this](const Received& got) { return answer(got); }) {}

    [[nodiscard]] kube::ApiServer server() const { return server_.server(); }
    void put(const std::string& path, Json object) {
        const std::lock_guard lock(mutex_);
        store(path, std::move(object));
    }
    [[nodiscard]] Json get(const std::string& path) {
        const std::lock_guard lock(mutex_);
        const auto found = objects_.find(path);
        return found == objects_.end() ? Json() : found->second;
    }
    /// How often somebody sent that to a path that ends so.
    [[nodiscard]] size_t count(const std::string& method, const std::string& end) {
        size_t count = 0;
        for (const Received& got : server_.received())
            count += got.method == method && got.target.substr(0, got.target.find('?')).ends_with(end) ? 1 : 0;
        return count;
    }
    /// Asked before each request; an answer is given instead of the store's.
    void intercept(std::function<std::optional<Reply>(const Received&)> hook) {
        const std::lock_guard lock(mutex_);
        hook_ = std::move(hook);
    }
    /// From inside of a hook: somebody else writes.
    void touch(const std::string& path, const std::function<void(Json&)>& change) {
        Json object = objects_.at(path);
        change(object);
        store(path, std::move(object));
    }

private:
    void store(const std::string& path, Json object) {
        object["metadata"]["resourceVersion"] = std::to_string(++version_);
        objects_[path] = std::move(object);
    }
    static Reply status(int code, const std::string& name) {
        return {.status = code, .body = R"({"kind":"Status","message":"no","details":{"name":")" + name + "\"}}"};
    }

    Reply answer(const Received& got) {
        const std::lock_guard lock(mutex_);
        if (hook_) {
            if (auto instead = hook_(got))
                return *instead;
        }
        std::string path = got.target.substr(0, got.target.find('?'));
        const std::string last = path.substr(path.rfind('/') + 1);
        const Json body = parse(got.body);
        if (got.method == "GET" && last == "leases")
            return list_of(path);
        if (got.method == "POST") {
            path += "/" + text(member(body, "metadata"), "name");
            if (objects_.contains(path))
                return status(409, "x");
            store(path, body);
            return {.status = 201, .body = text_of(objects_[path])};
        }
        if (last == "status")
            path.erase(path.rfind('/'));
        if (!objects_.contains(path))
            return status(404, last);
        if (got.method == "DELETE") {
            objects_.erase(path);
            return {.status = 200, .body = "{}"};
        }
        if (got.method == "GET")
            return {.status = 200, .body = text_of(objects_[path])};
        const std::string version = text(member(body, "metadata"), "resourceVersion");
        if (!version.empty() && version != text(objects_[path]["metadata"], "resourceVersion"))
            return status(409, last);
        Json object = objects_[path];
        if (got.method == "PUT")
            object["status"] = body["status"];
        else
            object.merge_patch(body);
        store(path, std::move(object));
        return {.status = 200, .body = text_of(objects_[path])};
    }
    Reply list_of(const std::string& path) {
        Json items = Json::array();
        for (const auto& [each, object] : objects_) {
            if (each.starts_with(path + "/") &&
                member(member(object, "metadata"), "labels").contains("weftmesh.io/lease"))
                items.push_back(object);
        }
        return {.status = 200, .body = text_of({{"items", std::move(items)}})};
    }

    std::mutex mutex_;
    std::map<std::string, Json> objects_;
    std::function<std::optional<Reply>(const Received&)> hook_;
    int version_ = 1'000;
    kube::test::FakeServer server_; ///< the last: it ends first
};

} // namespace weft::agent::status::test
