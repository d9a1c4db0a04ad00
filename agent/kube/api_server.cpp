// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/api_server.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "agent/source/yaml.hpp"

namespace weft::agent::kube {
namespace {

std::optional<std::string> decode_base64(std::string_view text) {
    static constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    uint32_t bits = 0;
    unsigned count = 0;
    size_t padding = 0;
    for (const char c : text) {
        if (c == '\n' || c == '\r')
            continue;
        if (c == '=') {
            ++padding;
            continue;
        }
        const size_t digit = alphabet.find(c);
        if (digit == std::string_view::npos || padding != 0)
            return std::nullopt;
        bits = bits << 6U | static_cast<uint32_t>(digit);
        count += 6;
        if (count >= 8) {
            count -= 8;
            out += static_cast<char>(bits >> count & 0xffU);
        }
    }
    const bool whole = padding <= 2 && count < 6 && (bits & ((1U << count) - 1U)) == 0;
    return whole ? std::optional(std::move(out)) : std::nullopt;
}

std::string text_of(const Value* map, std::string_view name) {
    const Value* value = map == nullptr ? nullptr : map->find(name);
    return value != nullptr && value->type == Value::Type::text ? value->text : "";
}

bool is_set(const Value* map, std::string_view name) {
    const Value* value = map == nullptr ? nullptr : map->find(name);
    return value != nullptr && value->type != Value::Type::null &&
           !(value->type == Value::Type::text && value->text.empty());
}

/// The entry of that name in a list of {name: ..., <what>: {...}}; nullptr: there is none.
const Value* named(const Value& config, std::string_view list, const std::string& name, std::string_view what) {
    const Value* entries = config.find(list);
    if (entries == nullptr)
        return nullptr;
    for (const Value& entry : entries->items) {
        if (text_of(&entry, "name") == name)
            return entry.find(what);
    }
    return nullptr;
}

std::string absolute(const std::string& path, const std::string& folder) {
    return path.empty() || path.front() == '/' ? path : folder + "/" + path;
}

std::string without_slash(std::string url) {
    while (url.ends_with('/'))
        url.pop_back();
    return url;
}

/// Contents win over a file, as in kubectl. False: they are no base64.
bool take(const Value* map, std::string_view file_field, const std::string& data_field, const std::string& folder,
          std::string& file, std::string& contents, std::string& why) {
    if (const std::string data = text_of(map, data_field); !data.empty()) {
        std::optional<std::string> decoded = decode_base64(data);
        if (!decoded) {
            why = data_field + " is not base64";
            return false;
        }
        contents = std::move(*decoded);
    } else {
        file = absolute(text_of(map, file_field), folder);
    }
    return true;
}

std::optional<std::string> take_cluster(const Value* cluster, const std::string& folder, ApiServer& out) {
    out.url = without_slash(text_of(cluster, "server"));
    if (!out.url.starts_with("https://") && !out.url.starts_with("http://"))
        return "clusters: server: not an http or https URL: \"" + out.url + "\"";
    if (is_set(cluster, "proxy-url"))
        return "clusters: proxy-url: proxies are not supported";
    std::string why;
    if (!take(cluster, "certificate-authority", "certificate-authority-data", folder, out.ca_file, out.ca, why))
        return "clusters: " + why;
    out.server_name = text_of(cluster, "tls-server-name");
    const Value* insecure = cluster->find("insecure-skip-tls-verify");
    out.trust_anyone = insecure != nullptr && insecure->type == Value::Type::boolean && insecure->boolean;
    return std::nullopt;
}

std::optional<std::string> take_user(const Value* user, const std::string& folder, ApiServer& out) {
    for (const char* field : {"exec", "auth-provider", "username", "password", "as"}) {
        if (is_set(user, field))
            return std::string("users: ") + field + ": not supported; use a client certificate or a token";
    }
    std::string why;
    if (!take(user, "client-certificate", "client-certificate-data", folder, out.certificate_file, out.certificate,
              why) ||
        !take(user, "client-key", "client-key-data", folder, out.key_file, out.key, why))
        return "users: " + why;
    out.token = text_of(user, "token");
    if (out.token.empty())
        out.token_file = absolute(text_of(user, "tokenFile"), folder);
    return std::nullopt;
}

std::string in_brackets(const std::string& host) {
    return host.find(':') == std::string::npos ? host : "[" + host + "]";
}

} // namespace

Address address_of(const ApiServer& server) {
    constexpr std::string_view scheme = "https://";
    if (server.server_name.empty() || !server.url.starts_with(scheme))
        return {.url = server.url, .connect_to = {}, .authority = {}};
    const size_t end = std::min(server.url.find('/', scheme.size()), server.url.size());
    const std::string authority = server.url.substr(scheme.size(), end - scheme.size());
    const size_t in_host = authority.starts_with('[') ? authority.find(']') : 0; // an IPv6 address has colons
    const size_t colon = std::min(authority.find(':', in_host), authority.size());
    const std::string port = authority.substr(colon); // with its colon
    return {.url = std::string(scheme) + in_brackets(server.server_name) + port + server.url.substr(end),
            .connect_to = authority.substr(0, colon) + (port.empty() ? ":" : port),
            .authority = authority};
}

std::expected<ApiServer, std::string> in_cluster(const Environment& environment, const std::string& folder) {
    const std::string host = environment("KUBERNETES_SERVICE_HOST").value_or("");
    const std::string port = environment("KUBERNETES_SERVICE_PORT").value_or("");
    if (host.empty() || port.empty())
        return std::unexpected("not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; "
                               "outside of one, give --kubeconfig");
    ApiServer out;
    out.url = "https://" + in_brackets(host) + ":" + port;
    out.token_file = folder + "/token";
    out.ca_file = folder + "/ca.crt";
    for (const std::string& file : {out.token_file, out.ca_file}) {
        if (::access(file.c_str(), R_OK) != 0)
            return std::unexpected("cannot read " + file + ": is the pod's service account token mounted?");
    }
    return out;
}

std::expected<ApiServer, std::string> read_kubeconfig(std::string_view text, const std::string& folder) {
    const auto documents = parse_yaml(text);
    if (!documents)
        return std::unexpected(documents.error().message);
    if (documents->size() != 1 || documents->front().root.type != Value::Type::map)
        return std::unexpected(std::string("not one YAML map"));
    if (!documents->front().faults.empty())
        return std::unexpected(documents->front().faults.front().message);
    const Value& config = documents->front().root;
    const std::string current = text_of(&config, "current-context");
    const Value* context = named(config, "contexts", current, "context");
    if (context == nullptr)
        return std::unexpected("current-context: there is no context \"" + current + "\"");
    const std::string cluster_name = text_of(context, "cluster");
    const Value* cluster = named(config, "clusters", cluster_name, "cluster");
    if (cluster == nullptr)
        return std::unexpected("contexts: there is no cluster \"" + cluster_name + "\"");
    ApiServer out;
    if (const auto why = take_cluster(cluster, folder, out))
        return std::unexpected(*why);
    const std::string user_name = text_of(context, "user");
    const Value* user = named(config, "users", user_name, "user");
    if (user == nullptr)
        return std::unexpected("contexts: there is no user \"" + user_name + "\"");
    if (const auto why = take_user(user, folder, out))
        return std::unexpected(*why);
    return out;
}

std::expected<ApiServer, std::string> find_api_server(const std::string& kubeconfig, const std::string& folder) {
    if (kubeconfig.empty()) {
        const auto environment = [](const char* name) {
            const char* value = std::getenv(name);
            return value == nullptr ? std::nullopt : std::optional<std::string>(value);
        };
        return in_cluster(environment, folder);
    }
    std::ifstream file(kubeconfig);
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (!file)
        return std::unexpected("--kubeconfig: cannot read " + kubeconfig);
    auto server = read_kubeconfig(text, std::filesystem::absolute(kubeconfig).parent_path());
    if (!server)
        return std::unexpected("--kubeconfig: " + kubeconfig + ": " + server.error());
    return server;
}

} // namespace weft::agent::kube
