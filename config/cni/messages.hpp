// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

/// What weft-cni and the agent say to each other: one packet of JSON each way over a SOCK_SEQPACKET Unix socket. A
/// request may carry one descriptor, of the pod's network namespace. No protobuf: the plugin is a small static program.
namespace weft::cni {

inline constexpr uint32_t contract_version = 1;
inline constexpr size_t message_bytes_max = 16 * 1024; ///< of one packet, either way
inline constexpr size_t text_bytes_max = 512;          ///< of one text of a request
inline constexpr size_t reason_bytes_max = 2048;       ///< of an answer's reason; a longer one is cut
inline constexpr size_t addresses_max = 16;            ///< of one request
inline constexpr uint32_t wait_ms_max = 120'000;
/// Of the file beside the socket in which the plugin writes a line for each pod that it let start uncaptured.
inline constexpr std::string_view fail_open_suffix = ".failed-open";

enum class Verb : uint8_t {
    add,   ///< the pod is starting: answer when it is captured
    check, ///< is it captured now?
    del    ///< its network goes: let go of it
};

struct Request {
    Verb verb = Verb::add;
    std::string ns;
    std::string pod;
    std::string uid;                    ///< as the kubelet names it; empty: the runtime did not say
    std::string container;              ///< of the sandbox
    std::vector<std::string> addresses; ///< without prefix lengths; add and check only
    uint32_t wait_ms = 0;               ///< the plugin goes away a little later; add only
    bool operator==(const Request&) const = default;
};

enum class Outcome : uint8_t {
    captured,     ///< its policies hold from its first packet
    not_enrolled, ///< Weft has nothing to do with it
    released,     ///< del was taken note of
    refused       ///< it is not captured; the reason says why
};

struct Answer {
    Outcome outcome = Outcome::refused;
    std::string reason; ///< one line; refused only
    bool operator==(const Answer&) const = default;
};

/// Text that is no UTF-8 is replaced. The result is at most message_bytes_max long.
[[nodiscard]] std::string encode(const Request& request);
[[nodiscard]] std::string encode(const Answer& answer);
/// Bytes of a peer. The error is one sentence. Members that are not known are left out: a newer peer may add some.
[[nodiscard]] std::expected<Request, std::string> decode_request(std::string_view bytes);
[[nodiscard]] std::expected<Answer, std::string> decode_answer(std::string_view bytes);

} // namespace weft::cni
