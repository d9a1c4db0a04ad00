// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/plugin/plugin.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "config/cni/json.hpp"

namespace weft::cni {
namespace {

using Strings = std::vector<std::string>;

std::string conf(const std::string& rest, const std::string& version = "1.0.0") {
    return R"({"cniVersion": ")" + version + R"(", "name": "n", "type": "weft-cni")" + rest + "}";
}

TEST(CniPlugin, SettingsAndTheirDefaults) {
    const auto bare = read_settings(conf(""));
    ASSERT_TRUE(bare);
    EXPECT_EQ(bare->socket, "/run/weft/cni.sock");
    EXPECT_EQ(bare->timeout_s, 10U);
    EXPECT_FALSE(bare->fail_open);
    EXPECT_TRUE(bare->previous.is_null());
    const auto full = read_settings(conf(R"(, "socket": "/x", "timeoutSeconds": 3, "failurePolicy": "failOpen",
        "excludeNamespaces": ["a", "b"], "prevResult": {"ips": []}, "runtimeConfig": {}, "new": [1])"));
    ASSERT_TRUE(full);
    EXPECT_EQ(full->socket, "/x");
    EXPECT_EQ(full->timeout_s, 3U);
    EXPECT_TRUE(full->fail_open);
    EXPECT_EQ(full->excluded, (Strings{"a", "b"}));
    EXPECT_TRUE(full->previous.is_object());
    EXPECT_TRUE(read_settings(conf(R"(, "prevResult": null)"))->previous.is_null());
}

TEST(CniPlugin, WrongSettingsAreRefusedWithTheirCode) {
    const std::vector<std::pair<std::string, ErrorCode>> rows = {
        {"", ErrorCode::decode},
        {"[]", ErrorCode::decode},
        {"{\"cniVersion\": ", ErrorCode::decode},
        {std::string(100'000, '['), ErrorCode::decode},
        {"{}", ErrorCode::version},
        {conf("", "0.2.0"), ErrorCode::version},
        {conf("", "1.2.0"), ErrorCode::version},
        {R"({"cniVersion": 1})", ErrorCode::version},
        {conf(R"(, "socket": "x")"), ErrorCode::config},
        {conf(R"(, "socket": 7)"), ErrorCode::config},
        {conf(R"(, "timeoutSeconds": 0)"), ErrorCode::config},
        {conf(R"(, "timeoutSeconds": 61)"), ErrorCode::config},
        {conf(R"(, "timeoutSeconds": "10")"), ErrorCode::config},
        {conf(R"(, "failurePolicy": "open")"), ErrorCode::config},
        {conf(R"(, "failurePolicy": true)"), ErrorCode::config},
        {conf(R"(, "excludeNamespaces": "kube-system")"), ErrorCode::config},
        {conf(R"(, "excludeNamespaces": [7])"), ErrorCode::config},
        {conf(R"(, "prevResult": [])"), ErrorCode::decode},
    };
    for (const auto& [text, code] : rows) {
        const auto settings = read_settings(text);
        ASSERT_FALSE(settings) << text.substr(0, 100);
        EXPECT_EQ(settings.error().code, code) << text.substr(0, 100);
    }
    for (const char* version : {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"})
        EXPECT_TRUE(read_settings(conf("", version))) << version;
}

TEST(CniPlugin, Args) {
    EXPECT_EQ(
        read_args("IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=a;K8S_POD_INFRA_CONTAINER_ID=c;K8S_POD_UID=u"),
        (PodName{.ns = "ns", .name = "a", .uid = "u"}));
    EXPECT_EQ(read_args(""), PodName{});
    EXPECT_EQ(read_args(";;x;=;K8S_POD_UID=u="), (PodName{.ns = "", .name = "", .uid = "u="}));
    EXPECT_FALSE(read_args("K8S_POD_NAME=a"));
    EXPECT_FALSE(read_args("K8S_POD_NAMESPACE=a"));
    EXPECT_FALSE(read_args("K8S_POD_NAMESPACE=a;K8S_POD_NAME=" + std::string(5000, 'a')));
}

TEST(CniPlugin, TheAddressesOfThePodAreThoseOfItsPrimaryInterface) {
    const auto addresses = [](const std::string& text) { return pod_addresses(*parse(text), "eth0"); };
    const std::string interfaces =
        R"("interfaces": [{"name": "veth1"}, {"name": "eth0", "sandbox": "/run/netns/x"}, {"name": "eth0"}], )";
    EXPECT_EQ(addresses("{" + interfaces + R"("ips": [{"address": "10.0.0.1/24", "interface": 1, "version": "4"},
        {"address": "fd00::1/64", "interface": 1}, {"address": "10.0.0.9/24", "interface": 1}]})"),
              (Strings{"10.0.0.1", "fd00::1"}));
    EXPECT_EQ(addresses("{" + interfaces + R"("ips": [{"address": "10.0.0.1/24", "interface": 0},
        {"address": "10.0.0.2/24", "interface": 2}, {"address": "10.0.0.3/24", "interface": 3},
        {"address": "10.0.0.4/24", "interface": -1}, {"address": "10.0.0.5/24"}]})"),
              Strings{"10.0.0.5"});
    EXPECT_EQ(addresses(R"({"ips": [{"address": "10.0.0.1"}, {}, 7, {"address": 7}]})"), Strings{"10.0.0.1"});
    EXPECT_EQ(addresses(R"({"ips": 7})"), Strings{});
    EXPECT_EQ(addresses("[]"), Strings{});
}

TEST(CniPlugin, TheResultIsThePreviousOneInTheConfigurationsVersion) {
    auto settings = read_settings(conf(R"(, "prevResult": {"cniVersion": "0.4.0", "z": 18446744073709551615, "ips": [],
        "dns": {"nameservers": ["\u00e9"]}, "a": 1})"));
    EXPECT_EQ(result_text(*settings), "{\"cniVersion\":\"1.0.0\",\"z\":18446744073709551615,\"ips\":[],"
                                      "\"dns\":{\"nameservers\":[\"\xc3\xa9\"]},\"a\":1}\n");
    settings = read_settings(conf(R"(, "prevResult": {"ips": []})"));
    EXPECT_EQ(result_text(*settings), "{\"ips\":[],\"cniVersion\":\"1.0.0\"}\n");
}

TEST(CniPlugin, FailuresAndVersionsAreWrittenAsTheSpecificationSays) {
    EXPECT_EQ(failure_text({.code = ErrorCode::not_captured, .message = "no", .details = "more"}, "0.4.0"),
              "{\"cniVersion\":\"0.4.0\",\"code\":100,\"msg\":\"weft-cni: no\",\"details\":\"more\"}\n");
    EXPECT_EQ(failure_text({.code = ErrorCode::decode, .message = "\xff", .details = ""}, ""),
              "{\"cniVersion\":\"1.1.0\",\"code\":6,\"msg\":\"weft-cni: \xef\xbf\xbd\"}\n");
    EXPECT_EQ(version_text(R"({"cniVersion": "0.3.1"})"),
              "{\"cniVersion\":\"0.3.1\",\"supportedVersions\":[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n");
    EXPECT_TRUE(version_text("nonsense").starts_with("{\"cniVersion\":\"1.1.0\""));
}

} // namespace
} // namespace weft::cni
