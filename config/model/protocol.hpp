// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace weft::config {

/// What a service port or a pod port speaks, by declaration (istio.md 5.1: appProtocol, else the port's name).
enum class Protocol : uint8_t {
    undeclared, ///< found out from the client's first bytes; a backend is spoken to as the client speaks
    http1,
    http2, ///< prior knowledge (RFC 9113 3.3)
    grpc,  ///< http2 that carries gRPC
    tls,   ///< passed through; only the server name is read
    tcp,   ///< opaque
};

} // namespace weft::config
