// SPDX-License-Identifier: Apache-2.0
#include "l7engine/server/options.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <vector>

namespace weft::l7 {
namespace {

using Arguments = std::vector<const char*>;

std::expected<Options, config::Flags::Ended> parse(Arguments arguments) {
    arguments.insert(arguments.begin(), "weft-l7engine");
    return parse_options(static_cast<int>(arguments.size()), arguments.data());
}

TEST(Options, defaults_are_those_of_the_settings) {
    const auto options = parse({});
    ASSERT_TRUE(options.has_value()) << options.error().text;
    const ProxySettings& proxy = options->engine.proxy;
    const ProxySettings defaults;
    EXPECT_EQ(options->socket, "/run/weft/agent.sock");
    EXPECT_EQ(options->engine.workers, 0U);
    EXPECT_EQ(options->user, 65532U);
    EXPECT_EQ(options->drain_timeout_ms, 30'000U);
    EXPECT_EQ(proxy.head_timeout_ms, defaults.head_timeout_ms);
    EXPECT_EQ(proxy.idle_timeout_ms, defaults.idle_timeout_ms);
    EXPECT_EQ(proxy.exchange_idle_timeout_ms, 3'600'000U);
    EXPECT_EQ(proxy.request_timeout_ms, 0U);
    EXPECT_EQ(proxy.connect_timeout_ms, defaults.connect_timeout_ms);
    EXPECT_EQ(proxy.sniff_timeout_ms, 100U);
    EXPECT_EQ(proxy.h2_downstream.streams_max, defaults.h2_downstream.streams_max);
    EXPECT_EQ(proxy.filters.server_name, "istio-envoy");
    EXPECT_EQ(proxy.filters.path_normalization, PathNormalization::base);
    EXPECT_TRUE(proxy.filters.debug_headers && proxy.filters.request_id && proxy.filters.forwarded_proto);
    EXPECT_FALSE(proxy.h1.accept_http_10);
    EXPECT_EQ(proxy.limits.requests_max, defaults.limits.requests_max);
    EXPECT_EQ(proxy.stall_timeout_ms, 300'000U);
    EXPECT_EQ(proxy.settings_timeout_ms, 10'000U);
    EXPECT_EQ(options->memory_bytes, 0U);
    EXPECT_EQ(options->buffers_per_pod_bytes, 0U);
}

TEST(Options, every_flag_sets_its_own_setting) {
    using Check = std::function<bool(const Options&, const ProxySettings&)>;
    const struct {
        Arguments arguments;
        Check holds;
    } cases[] = {
        {{"--socket", "/x"}, [](auto& o, auto&) { return o.socket == "/x"; }},
        {{"--workers", "3"}, [](auto& o, auto&) { return o.engine.workers == 3; }},
        {{"--user", "7"}, [](auto& o, auto&) { return o.user == 7; }},
        {{"--drain-timeout", "0"}, [](auto& o, auto&) { return o.drain_timeout_ms == 0; }},
        {{"--log-level", "debug"}, [](auto& o, auto&) { return o.log_level == log::Level::debug; }},
        {{"--log-json"}, [](auto& o, auto&) { return o.log_json; }},
        {{"--head-timeout", "2"}, [](auto&, auto& p) { return p.head_timeout_ms == 2000; }},
        {{"--idle-timeout", "5"}, [](auto&, auto& p) { return p.idle_timeout_ms == 5000; }},
        {{"--exchange-idle-timeout", "6"}, [](auto&, auto& p) { return p.exchange_idle_timeout_ms == 6000; }},
        {{"--exchange-idle-timeout", "0"}, [](auto&, auto& p) { return p.exchange_idle_timeout_ms == never; }},
        {{"--request-timeout", "15"}, [](auto&, auto& p) { return p.request_timeout_ms == 15'000; }},
        {{"--connect-timeout", "1"}, [](auto&, auto& p) { return p.connect_timeout_ms == 1000; }},
        {{"--sniff-timeout", "250"}, [](auto&, auto& p) { return p.sniff_timeout_ms == 250; }},
        {{"--connections-max", "9"}, [](auto&, auto& p) { return p.limits.connections_max == 9; }},
        {{"--connections-per-pod-max", "8"}, [](auto&, auto& p) { return p.limits.connections_per_pod_max == 8; }},
        {{"--requests-max", "6"}, [](auto&, auto& p) { return p.limits.requests_max == 6; }},
        {{"--requests-per-pod-max", "5"}, [](auto&, auto& p) { return p.limits.requests_per_pod_max == 5; }},
        {{"--buffers-per-pod-max", "3"}, [](auto& o, auto&) { return o.buffers_per_pod_bytes == 3 * 1024 * 1024; }},
        {{"--memory-max", "64"}, [](auto& o, auto&) { return o.memory_bytes == 64 * 1024 * 1024; }},
        {{"--stall-timeout", "4"}, [](auto&, auto& p) { return p.stall_timeout_ms == 4000; }},
        {{"--h2-settings-timeout", "3"}, [](auto&, auto& p) { return p.settings_timeout_ms == 3000; }},
        {{"--flood-pause", "20"}, [](auto&, auto& p) { return p.floods.pause_ms == 20; }},
        {{"--splice-pipes-max", "5"}, [](auto&, auto& p) { return p.pipes.pipes_max == 5; }},
        {{"--splice-pipes-max", "0"}, [](auto&, auto& p) { return p.pipes.pipes_max == 0; }},
        {{"--h2-streams-max", "7"}, [](auto&, auto& p) { return p.h2_downstream.streams_max == 7; }},
        {{"--allow-http10"}, [](auto&, auto& p) { return p.h1.accept_http_10; }},
        {{"--path-normalization", "NONE"},
         [](auto&, auto& p) { return p.filters.path_normalization == PathNormalization::none; }},
        {{"--path-normalization=BASE"},
         [](auto&, auto& p) { return p.filters.path_normalization == PathNormalization::base; }},
        {{"--path-normalization", "MERGE_SLASHES"},
         [](auto&, auto& p) { return p.filters.path_normalization == PathNormalization::merge_slashes; }},
        {{"--path-normalization", "DECODE_AND_MERGE_SLASHES"},
         [](auto&, auto& p) { return p.filters.path_normalization == PathNormalization::decode_and_merge_slashes; }},
        {{"--underscore-names", "reject"},
         [](auto&, auto& p) { return p.filters.underscore_names == UnderscoreNames::reject; }},
        {{"--underscore-names", "drop"},
         [](auto&, auto& p) { return p.filters.underscore_names == UnderscoreNames::drop; }},
        {{"--trusted-hops", "2"}, [](auto&, auto& p) { return p.filters.trusted_hops == 2; }},
        {{"--server-header", "weft/1 (x)"}, [](auto&, auto& p) { return p.filters.server_name == "weft/1 (x)"; }},
        {{"--server-header", ""}, [](auto&, auto& p) { return p.filters.server_name.empty(); }},
        {{"--debug-headers", "off"}, [](auto&, auto& p) { return !p.filters.debug_headers; }},
        {{"--debug-headers", "on"}, [](auto&, auto& p) { return p.filters.debug_headers; }},
        {{"--request-id", "off"}, [](auto&, auto& p) { return !p.filters.request_id; }},
        {{"--forwarded-proto", "off"}, [](auto&, auto& p) { return !p.filters.forwarded_proto; }},
    };
    for (const auto& each : cases) {
        const auto options = parse(each.arguments);
        ASSERT_TRUE(options.has_value()) << options.error().text;
        EXPECT_TRUE(each.holds(*options, options->engine.proxy))
            << each.arguments.front() << " " << each.arguments.back();
    }
}

TEST(Options, a_wrong_value_is_refused_in_one_line_that_names_the_flag) {
    const Arguments cases[] = {
        {"--path-normalization", "base"},
        {"--path-normalization", ""},
        {"--underscore-names", "keep"},
        {"--debug-headers", "yes"},
        {"--request-id", "1"},
        {"--server-header", "a\nb"},
        {"--server-header", "a "},
        {"--trusted-hops", "-1"},
        {"--trusted-hops", "4294967296"},
        {"--head-timeout", "0"},
        {"--idle-timeout", "0"},
        {"--idle-timeout", "1.5"},
        {"--connect-timeout", "10s"},
        {"--connect-timeout", "99999999999999999999"},
        {"--sniff-timeout", "0"},
        {"--connections-max", "0"},
        {"--connections-per-pod-max", "0"},
        {"--splice-pipes-max", "4097"},
        {"--requests-max", "0"},
        {"--requests-per-pod-max", "0"},
        {"--memory-max", "64M"},
        {"--stall-timeout", "0"},
        {"--h2-settings-timeout", "0"},
        {"--h2-streams-max", "0"},
        {"--h2-streams-max", "2147483648"},
        {"--request-timeout", "x"},
        {"--workers", "1025"},
        {"--log-level", "loud"},
        {"--no-such-flag"},
        {"--socket"},
    };
    for (const auto& arguments : cases) {
        const auto options = parse(arguments);
        ASSERT_FALSE(options.has_value()) << arguments.front() << " " << arguments.back();
        EXPECT_EQ(options.error().code, 1);
        EXPECT_NE(options.error().text.find(arguments.front()), std::string::npos) << options.error().text;
        EXPECT_EQ(options.error().text.find('\n'), options.error().text.size() - 1) << options.error().text;
    }
}

TEST(Options, help_names_the_words_that_a_flag_takes) {
    const auto options = parse({"--help"});
    ASSERT_FALSE(options.has_value());
    EXPECT_EQ(options.error().code, 0);
    for (const char* part : {"NONE|BASE|MERGE_SLASHES|DECODE_AND_MERGE_SLASHES=BASE", "allow|reject|drop=allow",
                             "on|off=on", "--sniff-timeout NUMBER"})
        EXPECT_NE(options.error().text.find(part), std::string::npos) << part << "\n" << options.error().text;
}

TEST(Options, version_is_no_fault) {
    const auto options = parse({"--version"});
    ASSERT_FALSE(options.has_value());
    EXPECT_EQ(options.error().code, 0);
    EXPECT_TRUE(options.error().text.starts_with("weft-l7engine ")) << options.error().text;
}

} // namespace
} // namespace weft::l7
