// SPDX-License-Identifier: Apache-2.0
#include "agent/reconcile/app_protocol.hpp"

#include "agent/source/names.hpp"

namespace weft::agent {
AppProtocol app_protocol(const ServicePort& port) {
    if (port.protocol != Protocol::tcp)
        return AppProtocol::other;
    std::string name = names::lower_case(port.app_protocol.value_or(port.name));
    if (port.app_protocol) {
        if (name == "kubernetes.io/ws")
            return AppProtocol::http;
        if (names::is_one_of(name, {"kubernetes.io/h2c", "kubernetes.io/wss"}))
            return AppProtocol::other;
    }
    if (name.starts_with("grpc-web"))
        return AppProtocol::other;
    name = name.substr(0, name.find('-'));
    if (names::is_one_of(name, {"http", "http_proxy"}))
        return AppProtocol::http;
    if (names::is_one_of(name, {"http2", "grpc", "tcp", "tls", "https", "mongo", "redis", "mysql", "udp"}))
        return AppProtocol::other;
    // Server-first protocols on their usual ports: waiting for a request there would hang them.
    if (port.port == 25 || port.port == 53 || port.port == 3306 || port.port == 27017)
        return AppProtocol::other;
    return AppProtocol::undeclared;
}

} // namespace weft::agent
