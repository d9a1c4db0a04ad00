// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "agent/source/objects.hpp"

namespace weft::agent {

/// What a service port speaks, as far as this release can tell: http and undeclared ports are served as HTTP/1.
enum class AppProtocol : uint8_t { http, undeclared, other };

/// Istio's order: appProtocol, else the port name up to its first dash; well-known ports without either are opaque.
[[nodiscard]] AppProtocol app_protocol(const ServicePort& port);

[[nodiscard]] inline bool served(AppProtocol protocol) {
    return protocol != AppProtocol::other;
}

} // namespace weft::agent
