// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace weft::agent::kube {

inline constexpr size_t answer_bytes_max = 8U << 20U; ///< of one that is taken whole; more is an error

/// Where the API server is, and as whom it is asked. Plain data. Of each file and its contents at most one is set; a
/// file is read again for each connection (ca, client certificate) or request (token), since Kubernetes rotates them.
struct ApiServer {
    std::string url; ///< "https://10.96.0.1:443", without a slash at the end
    std::string ca_file;
    std::string ca; ///< PEM
    std::string certificate_file;
    std::string certificate; ///< PEM
    std::string key_file;
    std::string key; ///< PEM
    std::string token_file;
    std::string token;
    std::string server_name;   ///< verified instead of the URL's host; empty: that
    bool trust_anyone = false; ///< insecure-skip-tls-verify
};

/// What a request's URL begins with, and where it goes instead. With a server_name the URL has that in the place of the
/// host, so that TLS names and verifies it.
struct Address {
    std::string url;        ///< without a slash at the end
    std::string connect_to; ///< "HOST:PORT"; empty: where the URL says. Without a port: that of the URL
    std::string authority;  ///< for the header Host; empty: the URL's
};
[[nodiscard]] Address address_of(const ApiServer& server);

/// An environment variable's value, or nullopt.
using Environment = std::function<std::optional<std::string>(const char*)>;

/// From a pod's service account (`folder` holds token and ca.crt) and KUBERNETES_SERVICE_HOST and _PORT. Error: one
/// line.
[[nodiscard]] std::expected<ApiServer, std::string> in_cluster(const Environment& environment,
                                                               const std::string& folder);
/// The current context of a kubeconfig. `folder`: of that file, which its own relative paths start from. Error: one
/// line with the field; what this agent cannot do (exec and auth-provider plugins, user and password, proxies) is one.
[[nodiscard]] std::expected<ApiServer, std::string> read_kubeconfig(std::string_view text, const std::string& folder);
/// By that kubeconfig file; empty: by the service account in `folder` and this process's environment. Error: one line.
[[nodiscard]] std::expected<ApiServer, std::string> find_api_server(const std::string& kubeconfig,
                                                                    const std::string& folder);

} // namespace weft::agent::kube
