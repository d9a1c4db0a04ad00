// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "agent/source/objects.hpp"
#include "config/model/protocol.hpp"

namespace weft::agent {

/// Ports whose usual protocols let the server speak first: a wait for the client's first bytes only costs time there.
/// SMTP, DNS, MySQL and MongoDB are Istio's list; FTP, SSH, POP3, IMAP and mail submission greet the client just so.
inline constexpr std::array<uint16_t, 9> server_first_ports = {21, 22, 25, 53, 110, 143, 587, 3306, 27017};

/// Istio's order (istio.md 5.1): appProtocol, else the port's name up to its first dash, else server_first_ports, else
/// undeclared. An appProtocol that nobody knows counts as none, but hides the name all the same: it says that the port
/// speaks something else. UDP and SCTP ports are opaque too, and nobody serves them.
[[nodiscard]] config::Protocol app_protocol(const ServicePort& port);

/// Can routes apply? Not to what is declared opaque.
[[nodiscard]] inline bool may_be_http(config::Protocol protocol) {
    return protocol != config::Protocol::tls && protocol != config::Protocol::tcp;
}

} // namespace weft::agent
