// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/reply.hpp"

#include <optional>
#include <string>

#include "l7engine/http/grpc.hpp"

namespace weft::l7 {
namespace {

constexpr uint16_t status_is_detail = 1;
constexpr int32_t any_detail = 0;

struct Row {
    std::optional<Code> code; ///< none: any
    std::optional<Side> side;
    int32_t detail = any_detail;
    std::string_view during; ///< empty: any
    LocalReply reply;
};

// What Error::during says of a shortage of ours.
constexpr const char* memory = "memory";
constexpr const char* pod_requests = "pod requests";
constexpr const char* pod_buffers = "pod buffers";
constexpr const char* worker_requests = "worker requests";

#define WEFT_RESET "upstream connect error or disconnect/reset before headers. reset reason: "
constexpr LocalReply connect_failure{503, "UF", WEFT_RESET "connection failure"};
constexpr LocalReply connect_timeout{503, "UF", WEFT_RESET "connection timeout"};
constexpr LocalReply terminated{503, "UC", WEFT_RESET "connection termination"};
constexpr LocalReply protocol_error{502, "UPE", WEFT_RESET "protocol error"};
constexpr LocalReply remote_reset{503, "UR", WEFT_RESET "remote reset"};
constexpr LocalReply remote_refused{503, "UR", WEFT_RESET "remote refused stream reset"};
constexpr LocalReply overflow{503, "UO", WEFT_RESET "overflow"};
constexpr LocalReply local_reset{503, "LR", WEFT_RESET "local reset"};
#undef WEFT_RESET
constexpr LocalReply client_gone{0, "DC", ""};
constexpr LocalReply client_fault{status_is_detail, "DPE", ""};

/// The first row that fits decides.
constexpr Row table[] = {
    {Code::denied, {}, any_detail, {}, {403, "-", "RBAC: access denied"}},

    {Code::timeout, Side::downstream, any_detail, {}, {408, "SI", "stream timeout"}},
    {Code::reset, Side::downstream, any_detail, {}, client_gone},
    {Code::eof, Side::downstream, any_detail, {}, client_gone},
    {Code::canceled, Side::downstream, any_detail, {}, client_gone},
    {Code::tls, Side::downstream, any_detail, {}, client_gone},
    {Code::kernel, Side::downstream, any_detail, {}, client_gone},
    {{}, Side::downstream, any_detail, {}, client_fault},

    {Code::unavailable, Side::upstream, any_detail, "connect", connect_failure},
    {Code::unavailable, Side::upstream, any_detail, {}, {503, "UH", "no healthy upstream"}},
    {Code::refused, Side::upstream, any_detail, "stream", remote_refused},
    {Code::refused, Side::upstream, any_detail, {}, connect_failure},
    {Code::tls, Side::upstream, any_detail, {}, connect_failure},
    {Code::timeout, Side::upstream, any_detail, "connect", connect_timeout},
    {Code::timeout, Side::upstream, any_detail, "silence", {504, "SI", "stream timeout"}},
    {Code::timeout, Side::upstream, any_detail, {}, {504, "UT", "upstream request timeout"}},
    {Code::reset, Side::upstream, any_detail, "connect", connect_failure},
    {Code::reset, Side::upstream, any_detail, "stream", remote_reset},
    {Code::reset, Side::upstream, any_detail, {}, terminated},
    {Code::eof, Side::upstream, any_detail, {}, terminated},
    {Code::kernel, Side::upstream, any_detail, {}, connect_failure},
    {Code::canceled, Side::upstream, any_detail, {}, local_reset},
    {{}, Side::upstream, any_detail, {}, protocol_error},

    {Code::unavailable, Side::self, 404, {}, {404, "NR", ""}},
    {Code::unavailable, Side::self, 500, {}, {500, "-", ""}},
    {Code::unavailable, Side::self, 503, {}, {503, "NC", "no configuration"}},
    {Code::unavailable, Side::self, any_detail, memory, {503, "OM", "overloaded: memory"}},
    {Code::unavailable, Side::self, any_detail, pod_requests, {503, "UO", "overflow: requests of the pod"}},
    {Code::unavailable, Side::self, any_detail, pod_buffers, {503, "UO", "overflow: buffered bytes of the pod"}},
    {Code::unavailable, Side::self, any_detail, worker_requests, {503, "UO", "overflow: requests of the worker"}},
    {Code::unavailable, Side::self, any_detail, {}, overflow},
    {Code::timeout, Side::self, any_detail, {}, {504, "UT", "upstream request timeout"}},
    {Code::canceled, Side::self, any_detail, {}, local_reset},
    {Code::kernel, Side::self, any_detail, {}, local_reset},
};

bool fits(const Row& row, const Error& error) {
    return (!row.code || *row.code == error.code) && (!row.side || *row.side == error.side) &&
           (row.detail == any_detail || row.detail == error.detail) &&
           (row.during.empty() || row.during == error.during);
}

} // namespace

LocalReply local_reply(const Error& error) {
    for (const Row& row : table) {
        if (!fits(row, error))
            continue;
        LocalReply reply = row.reply;
        if (reply.status == status_is_detail)
            reply.status = error.detail >= 400 && error.detail <= 599 ? static_cast<uint16_t>(error.detail) : 400;
        return reply;
    }
    return {}; // a fault of ours
}

Error no_configuration() {
    return {.code = Code::unavailable, .detail = 503, .during = "configuration"};
}
Error no_route() {
    return {.code = Code::unavailable, .detail = 404, .during = "route"};
}
Error invalid_backend() {
    return {.code = Code::unavailable, .detail = 500, .during = "backend"};
}
Error no_healthy_upstream() {
    return {.code = Code::unavailable, .side = Side::upstream, .during = "balance"};
}
Error denied_by_policy() {
    return {.code = Code::denied, .during = "authorization"};
}

Error memory_short() {
    return {.code = Code::unavailable, .during = memory};
}
Error too_many_requests_of_pod() {
    return {.code = Code::unavailable, .during = pod_requests};
}
Error too_much_buffered_of_pod() {
    return {.code = Code::unavailable, .during = pod_buffers};
}
Error too_many_requests() {
    return {.code = Code::unavailable, .during = worker_requests};
}

Head make_local_reply(uint16_t status, uint64_t content_length, std::string_view http_date) {
    Head head;
    head.status = status;
    head.content_length = content_length;
    head.headers.reserve(2, 64);
    if (content_length > 0)
        head.headers.add("content-type", "text/plain");
    head.headers.add("date", http_date);
    return head;
}

Head make_local_reply(const LocalReply& reply, bool grpc, std::string_view http_date) {
    if (!grpc)
        return make_local_reply(reply.status, reply.body.size(), http_date);
    Head head;
    head.status = 200;
    head.headers.reserve(4, 256);
    head.headers.add("content-type", "application/grpc");
    head.headers.add("grpc-status", std::to_string(grpc_status_of_http(reply.status)));
    if (!reply.body.empty())
        head.headers.add("grpc-message", encode_grpc_message(reply.body));
    head.headers.add("date", http_date);
    return head;
}

} // namespace weft::l7
