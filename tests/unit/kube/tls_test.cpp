// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "agent/kube/client.hpp"
#include "agent/kube/request.hpp"
#include "config/base/clock.hpp"
#include "tests/unit/kube/fake_tls.hpp"

namespace weft::agent::kube::test {
namespace {

constexpr uint64_t deadline_ms = 20'000;

/// Empty: it was answered. Else why not.
std::string ask(Client& client) {
    std::optional<std::string> out;
    client.call({.path = "/x"}, [&](const Answer& answer) { out = answer.ok() ? "" : answer.outcome.error + " "; });
    for (const uint64_t end = monotonic_ms() + deadline_ms; !out && monotonic_ms() < end;)
        client.turn(50);
    return out.value_or("no end");
}

class CaFile {
public:
    CaFile() : path_(std::filesystem::temp_directory_path() / ("weft-ca-" + std::to_string(::getpid()))) {}
    CaFile(const CaFile&) = delete;
    CaFile& operator=(const CaFile&) = delete;
    ~CaFile() { std::filesystem::remove(path_); }
    void write(const std::string& pem) const { std::ofstream(path_) << pem; }
    [[nodiscard]] std::string path() const { return path_; }

private:
    std::filesystem::path path_;
};

TEST(Tls, a_new_authority_in_the_file_counts_for_the_next_connection) {
    const Certificate first("IP:127.0.0.1");
    const Certificate second("IP:127.0.0.1");
    const CaFile file;
    file.write(first.pem());
    FakeTls server(first);
    ApiServer where;
    where.url = server.url();
    where.ca_file = file.path();
    Client client(where);
    Requests requests(where, 10'000);
    EXPECT_EQ(ask(client), "");
    EXPECT_EQ(requests.get("/x").error, "");
    server.use(second);
    EXPECT_NE(ask(client), "") << "not trusted yet";
    EXPECT_NE(requests.get("/x").error, "");
    file.write(second.pem());
    EXPECT_EQ(ask(client), "");
    EXPECT_EQ(requests.get("/x").error, "");
}

TEST(Tls, the_server_name_is_asked_for_and_verified_in_the_place_of_the_urls_host) {
    const Certificate certificate("DNS:api.internal");
    FakeTls server(certificate);
    ApiServer where;
    where.url = server.url();
    where.ca = certificate.pem();
    {
        Client client(where);
        EXPECT_NE(ask(client), "") << "another name";
    }
    where.server_name = "api.internal";
    Client client(where);
    EXPECT_EQ(ask(client), "");
    EXPECT_EQ(server.server_name(), "api.internal");
    EXPECT_NE(server.head().find("\r\nHost: " + server.url().substr(8) + "\r\n"), std::string::npos) << server.head();
    EXPECT_EQ(Requests(where, 10'000).get("/x").error, "");
    where.server_name = "other.internal";
    Client other(where);
    EXPECT_NE(ask(other), "");
}

} // namespace
} // namespace weft::agent::kube::test
