// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/labels.hpp"

#include <algorithm>

#include "l7engine/http/grpc.hpp"

namespace weft::l7 {
namespace {

constexpr std::string_view unknown = "unknown";

constexpr std::array<std::string_view, 28> flag_names = {
    "LH", "UH",  "UT", "LR", "UR",  "UF",    "UC",   "UO",   "NR", "DI",  "FI", "RL", "UAEX", "RLSE",
    "DC", "URX", "SI", "IH", "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF",   "DO",
};
static_assert(flag_names.size() == static_cast<size_t>(ResponseFlag::DO) + 1);

std::string_view or_unknown(std::string_view text) {
    return text.empty() ? unknown : text;
}

std::string_view name(Reporter reporter) {
    using enum Reporter;
    switch (reporter) {
    case source: return "source";
    case destination: return "destination";
    case waypoint: return "waypoint";
    }
    return unknown;
}

std::string_view name(RequestProtocol protocol) {
    using enum RequestProtocol;
    switch (protocol) {
    case http: return "http";
    case grpc: return "grpc";
    case tcp: return "tcp";
    }
    return unknown;
}

std::string_view name(SecurityPolicy policy) {
    using enum SecurityPolicy;
    switch (policy) {
    case none: return "none";
    case mutual_tls: return "mutual_tls";
    case unknown: break;
    }
    return "unknown";
}

} // namespace

size_t histogram_bucket(double value) {
    return static_cast<size_t>(std::ranges::lower_bound(histogram_bounds, value) - histogram_bounds.begin());
}

ResponseFlags ResponseFlags::named(std::string_view name) {
    ResponseFlags flags;
    const auto found = std::ranges::find(flag_names, name);
    if (found != flag_names.end())
        flags.add(static_cast<ResponseFlag>(found - flag_names.begin()));
    return flags;
}

std::string ResponseFlags::to_string() const {
    std::string text;
    for (size_t i = 0; i < flag_names.size(); ++i) {
        if (has(static_cast<ResponseFlag>(i))) {
            text += text.empty() ? "" : ",";
            text += flag_names[i];
        }
    }
    return text.empty() ? "-" : text;
}

RequestProtocol protocol_of(std::string_view content_type) {
    return is_grpc(content_type) ? RequestProtocol::grpc : RequestProtocol::http;
}

std::vector<std::string> label_values(const config::Snapshot& snapshot, const LabelFacts& facts) {
    static const config::Workload nobody;
    const auto& source = facts.source == nullptr ? nobody : *facts.source;
    const auto& destination = facts.destination == nullptr ? nobody : *facts.destination;
    const bool grpc = facts.protocol == RequestProtocol::grpc;

    std::vector<std::string> out;
    out.reserve(label_names.size());
    const auto add = [&](std::string_view text) { out.emplace_back(text); };
    add(name(facts.reporter));
    add(or_unknown(source.name));
    add(or_unknown(source.canonical_service));
    add(source.canonical_revision.empty() ? "latest" : std::string_view(source.canonical_revision));
    add(or_unknown(source.ns));
    add(or_unknown(source.principal));
    add(or_unknown(source.app));
    add(or_unknown(source.version));
    add(facts.source == nullptr ? unknown : or_unknown(snapshot.cluster_id));
    add(or_unknown(destination.name));
    add(or_unknown(destination.ns));
    add(or_unknown(destination.principal));
    add(or_unknown(destination.app));
    add(or_unknown(destination.version));
    add(or_unknown(facts.service.host));
    add(or_unknown(destination.canonical_service));
    // Unlike the source's, an unknown revision here is not called "latest" (istio.md 3.2).
    add(or_unknown(destination.canonical_revision));
    add(or_unknown(facts.service.name));
    add(or_unknown(facts.service.ns));
    add(facts.destination == nullptr ? unknown : or_unknown(snapshot.cluster_id));
    add(name(facts.protocol));
    out.push_back(std::to_string(facts.response_code));
    out.push_back(grpc && facts.grpc_status ? std::to_string(*facts.grpc_status) : "");
    out.push_back(facts.flags.to_string());
    add(name(facts.security));
    return out;
}

std::vector<std::string> tcp_label_values(const config::Snapshot& snapshot, const LabelFacts& facts) {
    std::vector<std::string> values = label_values(snapshot, facts);
    const auto own = std::ranges::find(label_names, "response_code") - label_names.begin();
    values.erase(values.begin() + own, values.begin() + own + 2);
    return values;
}

} // namespace weft::l7
