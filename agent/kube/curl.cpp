// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/curl.hpp"

#include <algorithm>
#include <fstream>

namespace weft::agent::kube {
namespace {

constexpr size_t token_bytes_max = 64U << 10U;

std::string read_token(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string token(token_bytes_max, '\0');
    file.read(token.data(), static_cast<std::streamsize>(token.size()));
    token.resize(static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
    while (!token.empty() && (token.back() == '\n' || token.back() == '\r' || token.back() == ' '))
        token.pop_back();
    return token;
}

void set_text(CURL* easy, CURLoption option, const std::string& value) {
    if (!value.empty())
        curl_easy_setopt(easy, option, value.c_str());
}

void set_blob(CURL* easy, CURLoption option, const std::string& contents) {
    curl_blob blob{.data = const_cast<char*>(contents.data()), .len = contents.size(), .flags = CURL_BLOB_COPY};
    if (!contents.empty())
        curl_easy_setopt(easy, option, &blob);
}

} // namespace

void append(Lines& lines, const std::string& line) {
    if (curl_slist* longer = curl_slist_append(lines.get(), line.c_str()); longer != nullptr) {
        static_cast<void>(lines.release());
        lines.reset(longer);
    }
}

void start_curl() {
    static const CURLcode once = curl_global_init(CURL_GLOBAL_DEFAULT);
    static_cast<void>(once);
}

void set_up(CURL* easy, Lists& lists, const ApiServer& server, const std::string& path) {
    const Address address = address_of(server);
    curl_easy_setopt(easy, CURLOPT_URL, (address.url + path).c_str());
    if (!address.connect_to.empty()) {
        append(lists.connect_to, "::" + address.connect_to);
        curl_easy_setopt(easy, CURLOPT_CONNECT_TO, lists.connect_to.get());
        append(lists.headers, "Host: " + address.authority);
    }
    // The system's own authorities vouch for no cluster.
    curl_easy_setopt(easy, CURLOPT_CAPATH, nullptr);
    if (!server.ca_file.empty() || !server.ca.empty())
        curl_easy_setopt(easy, CURLOPT_CAINFO, nullptr);
    set_text(easy, CURLOPT_CAINFO, server.ca_file);
#if LIBCURL_VERSION_NUM >= 0x075700
    curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L); // or what was in the file counts for a day
#endif
    set_blob(easy, CURLOPT_CAINFO_BLOB, server.ca);
    set_text(easy, CURLOPT_SSLCERT, server.certificate_file);
    set_blob(easy, CURLOPT_SSLCERT_BLOB, server.certificate);
    set_text(easy, CURLOPT_SSLKEY, server.key_file);
    set_blob(easy, CURLOPT_SSLKEY_BLOB, server.key);
    if (server.trust_anyone) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    const std::string token = server.token_file.empty() ? server.token : read_token(server.token_file);
    if (!token.empty())
        append(lists.headers, "Authorization: Bearer " + token);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); // whatever the environment says
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
}

} // namespace weft::agent::kube
