// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/api_server.hpp"

#include <gtest/gtest.h>

#include <map>

namespace weft::agent::kube {
namespace {

std::string kubeconfig(const std::string& cluster, const std::string& user, const std::string& current = "here") {
    return "apiVersion: v1\nkind: Config\ncurrent-context: " + current +
           "\ncontexts:\n- name: here\n  context: {cluster: one, user: me}\n- name: lost\n  context: {cluster: two, "
           "user: me}\n"
           "clusters:\n- name: one\n  cluster: {" +
           cluster + "}\nusers:\n- name: me\n  user: {" + user + "}\n";
}

TEST(Kubeconfig, reads_the_current_context) {
    const auto server =
        read_kubeconfig(kubeconfig("server: \"https://10.0.0.1:6443/\", certificate-authority: pki/ca.crt",
                                   "client-certificate: /abs/me.crt, client-key-data: a2V5"),
                        "/etc/kube");
    ASSERT_TRUE(server) << server.error();
    EXPECT_EQ(server->url, "https://10.0.0.1:6443");
    EXPECT_EQ(server->ca_file, "/etc/kube/pki/ca.crt");
    EXPECT_EQ(server->certificate_file, "/abs/me.crt");
    EXPECT_EQ(server->key, "key");
    EXPECT_EQ(server->key_file, "");
    EXPECT_FALSE(server->trust_anyone);
}

TEST(Kubeconfig, contents_win_over_files) {
    const auto server =
        read_kubeconfig(kubeconfig("server: \"https://h\", certificate-authority: no, certificate-authority-data: Y2E=",
                                   "token: secret, tokenFile: no"),
                        "/f");
    ASSERT_TRUE(server) << server.error();
    EXPECT_EQ(server->ca, "ca");
    EXPECT_EQ(server->ca_file, "");
    EXPECT_EQ(server->token, "secret");
    EXPECT_EQ(server->token_file, "");
}

TEST(Kubeconfig, says_what_is_wrong_with_it) {
    const std::string good = "server: \"https://h\"";
    const struct {
        std::string text;
        const char* why;
    } cases[] = {
        {"[", ""},
        {"- a list", "not one YAML map"},
        {kubeconfig(good, "token: a", "none"), "current-context: there is no context \"none\""},
        {kubeconfig(good, "token: a", "lost"), "contexts: there is no cluster \"two\""},
        {kubeconfig("server: h", "token: a"), "clusters: server: not an http or https URL: \"h\""},
        {kubeconfig(good + ", proxy-url: \"http://p\"", "token: a"), "clusters: proxy-url: proxies are not supported"},
        {kubeconfig(good + ", certificate-authority-data: \"=x\"", "token: a"),
         "clusters: certificate-authority-data is not base64"},
        {kubeconfig(good, "exec: {command: x}"), "users: exec: not supported; use a client certificate or a token"},
        {kubeconfig(good, "username: x"), "users: username: not supported; use a client certificate or a token"},
    };
    for (const auto& each : cases) {
        const auto server = read_kubeconfig(each.text, "/f");
        ASSERT_FALSE(server) << each.text;
        EXPECT_TRUE(server.error().starts_with(each.why)) << server.error();
    }
}

TEST(Address, has_the_server_name_in_the_place_of_the_host) {
    const struct {
        const char* url;
        const char* name;
        const char* want;
        const char* connect_to;
        const char* authority;
    } cases[] = {
        {"https://10.0.0.1:6443", "", "https://10.0.0.1:6443", "", ""},
        {"http://10.0.0.1:8080", "api", "http://10.0.0.1:8080", "", ""},
        {"https://10.0.0.1:6443", "api", "https://api:6443", "10.0.0.1:6443", "10.0.0.1:6443"},
        {"https://lb.example", "api", "https://api", "lb.example:", "lb.example"},
        {"https://lb.example/k8s/c", "api", "https://api/k8s/c", "lb.example:", "lb.example"},
        {"https://[fd00::1]:6443/x", "api", "https://api:6443/x", "[fd00::1]:6443", "[fd00::1]:6443"},
        {"https://[fd00::1]", "api", "https://api", "[fd00::1]:", "[fd00::1]"},
        {"https://lb:1", "fd00::2", "https://[fd00::2]:1", "lb:1", "lb:1"},
    };
    for (const auto& each : cases) {
        ApiServer server;
        server.url = each.url;
        server.server_name = each.name;
        const Address address = address_of(server);
        EXPECT_EQ(address.url, each.want) << each.url;
        EXPECT_EQ(address.connect_to, each.connect_to) << each.url;
        EXPECT_EQ(address.authority, each.authority) << each.url;
    }
}

TEST(InCluster, wants_the_environment_and_a_token) {
    std::map<std::string, std::string> variables;
    const Environment environment = [&](const char* name) {
        const auto found = variables.find(name);
        return found == variables.end() ? std::nullopt : std::optional(found->second);
    };
    EXPECT_TRUE(in_cluster(environment, "/nowhere").error().starts_with("not in a cluster: "));
    variables = {{"KUBERNETES_SERVICE_HOST", "fd00::1"}, {"KUBERNETES_SERVICE_PORT", "443"}};
    EXPECT_TRUE(in_cluster(environment, "/nowhere").error().starts_with("cannot read /nowhere/token"));
}

} // namespace
} // namespace weft::agent::kube
