// SPDX-License-Identifier: Apache-2.0
#include "l7engine/server/options.hpp"

#include "config/settings/version.hpp"
#include "l7engine/http/h1_rules.hpp"

namespace weft::l7 {
namespace {

constexpr std::string_view program = "weft-l7engine";
constexpr uint64_t day_s = 86'400;
constexpr uint64_t year_s = 365 * day_s;
constexpr uint64_t mebibyte = 1024 * 1024;
constexpr uint64_t mebibytes_max = uint64_t{1} << 30; ///< a PiB

constexpr config::Choice<PathNormalization> path_levels[] = {
    {"NONE", PathNormalization::none},
    {"BASE", PathNormalization::base},
    {"MERGE_SLASHES", PathNormalization::merge_slashes},
    {"DECODE_AND_MERGE_SLASHES", PathNormalization::decode_and_merge_slashes},
};
constexpr config::Choice<UnderscoreNames> underscore_names[] = {
    {"allow", UnderscoreNames::allow}, {"reject", UnderscoreNames::reject}, {"drop", UnderscoreNames::drop}};
constexpr config::Choice<bool> on_off[] = {{"on", true}, {"off", false}};

/// Flags in other units or types than the settings; the defaults are the settings' own.
struct Given {
    explicit Given(const Options& defaults) : Given(defaults, defaults.engine.proxy) {}

    uint64_t workers;
    uint64_t drain_s, head_s, idle_s, exchange_idle_s, tunnel_idle_s, request_s, connect_s;
    uint64_t trusted_hops;
    uint64_t h2_streams_max;
    uint64_t stall_s, settings_s;
    uint64_t buffers_mib, memory_mib;

private:
    Given(const Options& options, const ProxySettings& proxy)
        : workers(options.engine.workers), drain_s(options.drain_timeout_ms / 1000),
          head_s(proxy.head_timeout_ms / 1000), idle_s(proxy.idle_timeout_ms / 1000),
          exchange_idle_s(proxy.exchange_idle_timeout_ms / 1000), tunnel_idle_s(proxy.tunnel_idle_timeout_ms / 1000),
          request_s(proxy.request_timeout_ms / 1000), connect_s(proxy.connect_timeout_ms / 1000),
          trusted_hops(proxy.filters.trusted_hops), h2_streams_max(proxy.h2_downstream.streams_max),
          stall_s(proxy.stall_timeout_ms / 1000), settings_s(proxy.settings_timeout_ms / 1000),
          buffers_mib(options.buffers_per_pod_bytes / mebibyte), memory_mib(options.memory_bytes / mebibyte) {}
};

void bind_process(config::Flags& flags, Options& options, Given& given) {
    flags.text("--socket", options.socket, "PATH", "the agent's Unix socket");
    flags.text("--group", options.group, "NAME", "the agent's --group, if others may be there during an upgrade");
    flags.number("--workers", given.workers, 0, 1024, "worker threads; 0: one per CPU");
    flags.number("--user", options.user, 1, UINT32_MAX - 1, "uid and gid to run as when started by root");
    flags.number("--drain-timeout", given.drain_s, 0, day_s, "seconds that open exchanges get at the end");
    flags.level("--log-level", options.log_level, "least level that is written");
    flags.toggle("--log-json", options.log_json, "log lines as JSON");
}

void bind_limits(config::Flags& flags, ProxySettings& proxy, Given& given) {
    flags.number("--head-timeout", given.head_s, 1, day_s,
                 "seconds for a request's head, from its first byte; then 408");
    flags.number("--idle-timeout", given.idle_s, 1, year_s,
                 "seconds that a client's connection may be without a request");
    flags.number("--exchange-idle-timeout", given.exchange_idle_s, 0, year_s,
                 "seconds without a byte of a request or its reply, then 504 or a reset; 0: no limit");
    flags.number("--tunnel-idle-timeout", given.tunnel_idle_s, 0, year_s,
                 "seconds without a byte of an opaque connection, then a reset; 0: no limit");
    flags.number(
        "--request-timeout", given.request_s, 0, year_s,
        "seconds for a request and its whole reply (a WebSocket: until it is open), then 504 or a reset; 0: no limit");
    flags.number("--connect-timeout", given.connect_s, 1, day_s, "seconds for a connection to a backend");
    flags.number("--sniff-timeout", proxy.sniff_timeout_ms, 1, 3'600'000,
                 "milliseconds that a client may be silent at a port of undeclared protocol; then it is TCP");
    flags.number("--stall-timeout", given.stall_s, 1, year_s,
                 "seconds in which a client takes nothing of its reply, then a reset");
    flags.number("--h2-settings-timeout", given.settings_s, 1, day_s,
                 "seconds for an HTTP/2 client's SETTINGS and its acknowledgement of ours");
    UsageLimits& limits = proxy.limits;
    flags.number("--connections-max", limits.connections_max, 1, UINT32_MAX, "connections of clients, per worker");
    flags.number("--connections-per-pod-max", limits.connections_per_pod_max, 1, UINT32_MAX,
                 "the same of one pod and direction");
    flags.number("--requests-max", limits.requests_max, 1, UINT32_MAX, "requests in flight, per worker; then 503");
    flags.number("--requests-per-pod-max", limits.requests_per_pod_max, 1, UINT32_MAX,
                 "the same of one pod and direction");
    flags.number("--buffers-per-pod-max", given.buffers_mib, 0, mebibytes_max,
                 "MiB received and not passed on, of one pod and direction, per worker; then 503; 0: an eighth of the "
                 "memory");
    flags.number("--memory-max", given.memory_mib, 0, mebibytes_max,
                 "MiB that the process may use; near them requests, then connections are refused; 0: the container's "
                 "limit, or a quarter of the host's memory");
    flags.number(
        "--flood-pause", proxy.floods.pause_ms, 0, 1'000,
        "milliseconds between two connections of a pod's programs after one of its was ended as a flood, doubled with "
        "each more; 0: none");
    flags.number("--splice-pipes-max", proxy.pipes.pipes_max, 0, 4096,
                 "bulk directions of opaque connections that the kernel relays, per worker; 0: none");
    flags.number("--h2-streams-max", given.h2_streams_max, 1, INT32_MAX,
                 "requests at a time on an HTTP/2 connection of a client");
    flags.toggle("--allow-http10", proxy.h1.accept_http_10, "serve requests of HTTP/1.0 instead of answering 426");
}

void bind_filters(config::Flags& flags, FilterSettings& filters, Given& given) {
    flags.choice<PathNormalization>("--path-normalization", filters.path_normalization, path_levels,
                                    "what is done to paths before all else, as in Istio's meshConfig");
    flags.choice<UnderscoreNames>("--underscore-names", filters.underscore_names, underscore_names,
                                  "header fields of requests whose name holds an underscore");
    flags.number("--trusted-hops", given.trusted_hops, 0, UINT32_MAX,
                 "X-Forwarded-For elements to skip from the right for the client's address");
    flags.text("--server-header", filters.server_name, "TEXT",
               "`server` of every response; empty: the backend's stays");
    flags.choice<bool>("--debug-headers", filters.debug_headers, on_off, "x-envoy-upstream-service-time in responses");
    flags.choice<bool>("--request-id", filters.request_id, on_off, "x-request-id for requests without one");
    flags.choice<bool>("--forwarded-proto", filters.forwarded_proto, on_off,
                       "x-forwarded-proto for requests without one");
}

void take_over(const Given& given, Options& options) {
    ProxySettings& proxy = options.engine.proxy;
    options.engine.workers = static_cast<uint32_t>(given.workers);
    options.drain_timeout_ms = given.drain_s * 1000;
    proxy.head_timeout_ms = given.head_s * 1000;
    proxy.idle_timeout_ms = given.idle_s * 1000;
    proxy.exchange_idle_timeout_ms = given.exchange_idle_s == 0 ? never : given.exchange_idle_s * 1000;
    proxy.tunnel_idle_timeout_ms = given.tunnel_idle_s == 0 ? never : given.tunnel_idle_s * 1000;
    proxy.request_timeout_ms = given.request_s * 1000;
    proxy.connect_timeout_ms = given.connect_s * 1000;
    proxy.filters.trusted_hops = static_cast<uint32_t>(given.trusted_hops);
    proxy.stall_timeout_ms = given.stall_s * 1000;
    proxy.settings_timeout_ms = given.settings_s * 1000;
    options.buffers_per_pod_bytes = given.buffers_mib * mebibyte;
    options.memory_bytes = given.memory_mib * mebibyte;
    proxy.h2_downstream.streams_max = static_cast<uint32_t>(given.h2_streams_max);
}

} // namespace

std::expected<Options, config::Flags::Ended> parse_options(int argc, const char* const* argv) {
    Options options;
    Given given(options);
    FilterSettings& filters = options.engine.proxy.filters;
    config::Flags flags(program, "Weft's L7 engine: serves what the agent hands over.", config::version);
    bind_process(flags, options, given);
    bind_limits(flags, options.engine.proxy, given);
    bind_filters(flags, filters, given);
    if (auto ended = flags.read(argc, argv))
        return std::unexpected(std::move(*ended));
    if (!h1::is_field_value(filters.server_name) || h1::trim(filters.server_name) != filters.server_name)
        return std::unexpected(flags.fault("--server-header: not the value of a header field"));
    take_over(given, options);
    return options;
}

} // namespace weft::l7
