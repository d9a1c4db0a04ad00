// SPDX-License-Identifier: Apache-2.0
#include "config/cni/messages.hpp"

#include <array>
#include <utility>

#include "config/cni/json.hpp"

namespace weft::cni {
namespace {

constexpr std::array<const char*, 3> verbs = {"add", "check", "del"};
constexpr std::array<const char*, 4> outcomes = {"captured", "notEnrolled", "released", "refused"};

template <class T, size_t N>
std::optional<T> one_of(const std::array<const char*, N>& words, const std::optional<std::string>& text) {
    for (size_t i = 0; i < N; ++i)
        if (text == words[i])
            return static_cast<T>(i);
    return std::nullopt;
}

std::string text(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::unexpected<std::string> fault(const char* what) {
    return std::unexpected(std::string(what));
}

std::expected<Json, std::string> open(std::string_view bytes) {
    if (bytes.size() > message_bytes_max)
        return fault("the message is too long");
    std::optional<Json> json = parse(bytes);
    if (!json || !json->is_object())
        return fault("the message is no JSON object");
    if (number_of(*json, "contract") != contract_version)
        return fault("the message is of another version of the contract: plugin and agent do not belong together");
    return *std::move(json);
}

bool take_text(const Json& json, const char* name, std::string& out) {
    out = text_of(json, name).value_or("");
    return out.size() <= text_bytes_max && out.find('\0') == std::string::npos;
}

} // namespace

std::string encode(const Request& request) {
    return text({{"contract", contract_version},
                 {"verb", verbs.at(std::to_underlying(request.verb))},
                 {"namespace", request.ns},
                 {"pod", request.pod},
                 {"uid", request.uid},
                 {"container", request.container},
                 {"addresses", request.addresses},
                 {"waitMs", request.wait_ms}});
}

std::string encode(const Answer& answer) {
    return text({{"contract", contract_version},
                 {"outcome", outcomes.at(std::to_underlying(answer.outcome))},
                 {"reason", answer.reason.substr(0, reason_bytes_max)}});
}

std::expected<Request, std::string> decode_request(std::string_view bytes) {
    const auto json = open(bytes);
    if (!json)
        return std::unexpected(json.error());
    Request out;
    const auto verb = one_of<Verb>(verbs, text_of(*json, "verb"));
    if (!verb)
        return fault("verb: is none of add, check, del");
    out.verb = *verb;
    if (!take_text(*json, "namespace", out.ns) || !take_text(*json, "pod", out.pod) ||
        !take_text(*json, "uid", out.uid) || !take_text(*json, "container", out.container))
        return fault("a name is too long, or holds a zero byte");
    if (out.ns.empty() || out.pod.empty() || out.container.empty())
        return fault("namespace, pod or container is missing");
    if (const Json* const list = member(*json, "addresses")) {
        if (!list->is_array() || list->size() > addresses_max)
            return fault("addresses: is no list, or too long a one");
        for (const Json& address : *list) {
            if (!address.is_string() || address.get_ref<const std::string&>().size() > text_bytes_max)
                return fault("addresses: one is no text, or too long");
            out.addresses.push_back(address.get<std::string>());
        }
    }
    out.wait_ms = number_of(*json, "waitMs").value_or(0);
    if (out.wait_ms > wait_ms_max)
        return fault("waitMs: is too long");
    return out;
}

std::expected<Answer, std::string> decode_answer(std::string_view bytes) {
    const auto json = open(bytes);
    if (!json)
        return std::unexpected(json.error());
    const auto outcome = one_of<Outcome>(outcomes, text_of(*json, "outcome"));
    if (!outcome)
        return fault("the answer has no outcome that is known");
    return Answer{.outcome = *outcome, .reason = text_of(*json, "reason").value_or("").substr(0, reason_bytes_max)};
}

} // namespace weft::cni
