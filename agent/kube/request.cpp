// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/request.hpp"

#include <curl/curl.h>

#include <array>
#include <fstream>
#include <iterator>
#include <string_view>
#include <utility>

namespace weft::agent::kube {
namespace {

struct FreeHeaders {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Headers = std::unique_ptr<curl_slist, FreeHeaders>;

void append(Headers& headers, const std::string& line) {
    if (curl_slist* longer = curl_slist_append(headers.get(), line.c_str()); longer != nullptr) {
        static_cast<void>(headers.release());
        headers.reset(longer);
    }
}

std::string token_of(const ApiServer& server) {
    if (server.token_file.empty())
        return server.token;
    std::ifstream file(server.token_file, std::ios::binary);
    std::string token{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    while (!token.empty() && (token.back() == '\n' || token.back() == '\r' || token.back() == ' '))
        token.pop_back();
    return token;
}

size_t take(const char* data, size_t size, size_t count, void* target) {
    auto& body = *static_cast<std::string*>(target);
    if (body.size() + size * count > answer_bytes_max)
        return CURL_WRITEFUNC_ERROR;
    body.append(data, size * count);
    return size * count;
}

} // namespace

struct Requests::State {
    State(ApiServer of, uint32_t timeout) : server(std::move(of)), timeout_ms(timeout) {
        static const CURLcode once = curl_global_init(CURL_GLOBAL_DEFAULT);
        static_cast<void>(once);
        easy = curl_easy_init();
    }
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() {
        if (easy != nullptr)
            curl_easy_cleanup(easy);
    }
    void set_up() const;

    const ApiServer server;
    const uint32_t timeout_ms;
    CURL* easy = nullptr; ///< owned; keeps the connection
};

void Requests::State::set_up() const {
    const auto text = [&](CURLoption option, const std::string& value) {
        if (!value.empty())
            curl_easy_setopt(easy, option, value.c_str());
    };
    const auto blob = [&](CURLoption option, const std::string& value) {
        curl_blob contents{.data = const_cast<char*>(value.data()), .len = value.size(), .flags = CURL_BLOB_COPY};
        if (!value.empty())
            curl_easy_setopt(easy, option, &contents);
    };
    curl_easy_reset(easy); // keeps connections
    // The system's own authorities vouch for no cluster.
    curl_easy_setopt(easy, CURLOPT_CAPATH, nullptr);
    if (!server.ca_file.empty() || !server.ca.empty())
        curl_easy_setopt(easy, CURLOPT_CAINFO, nullptr);
    text(CURLOPT_CAINFO, server.ca_file);
    blob(CURLOPT_CAINFO_BLOB, server.ca);
    text(CURLOPT_SSLCERT, server.certificate_file);
    blob(CURLOPT_SSLCERT_BLOB, server.certificate);
    text(CURLOPT_SSLKEY, server.key_file);
    blob(CURLOPT_SSLKEY_BLOB, server.key);
    if (server.trust_anyone) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "weftctl");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); // whatever the environment says
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout_ms));
}

Requests::Requests(ApiServer server, uint32_t timeout_ms)
    : state_(std::make_unique<State>(std::move(server), timeout_ms)) {}
Requests::~Requests() = default;

Requests::Answer Requests::get(const std::string& path, const std::string& accept) {
    return send(path, accept, nullptr);
}

Requests::Answer Requests::post(const std::string& path, const std::string& json) {
    return send(path, "application/json", &json);
}

Requests::Answer Requests::remove(const std::string& path) {
    return send(path, "application/json", nullptr, "DELETE");
}

/// `method`: nullptr for GET, and POST with a body.
Requests::Answer Requests::send(const std::string& path, const std::string& accept, const std::string* json,
                                const char* method) {
    CURL* const easy = state_->easy;
    Answer answer;
    if (easy == nullptr) {
        answer.error = "out of memory";
        return answer;
    }
    state_->set_up();
    Headers headers;
    append(headers, "Accept: " + accept);
    if (const std::string token = token_of(state_->server); !token.empty())
        append(headers, "Authorization: Bearer " + token);
    if (json != nullptr) {
        append(headers, "Content-Type: application/json");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(json->size()));
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, json->c_str());
    }
    if (method != nullptr)
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
    std::array<char, CURL_ERROR_SIZE> reason{};
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(easy, CURLOPT_URL, (state_->server.url + path).c_str());
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, reason.data());
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &take);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &answer.body);
    const CURLcode result = curl_easy_perform(easy);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, nullptr); // it ends before the handle
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    answer.status = static_cast<int>(status);
    if (answer.body.size() + CURL_MAX_WRITE_SIZE > answer_bytes_max && result == CURLE_WRITE_ERROR)
        answer.error = "the answer is longer than " + std::to_string(answer_bytes_max) + " bytes";
    else if (result != CURLE_OK)
        answer.error = reason[0] != '\0' ? reason.data() : curl_easy_strerror(result);
    return answer;
}

} // namespace weft::agent::kube
