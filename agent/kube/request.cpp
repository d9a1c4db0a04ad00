// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/request.hpp"

#include <array>
#include <string_view>
#include <utility>

#include "agent/kube/curl.hpp"

namespace weft::agent::kube {
namespace {

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
        start_curl();
        easy = curl_easy_init();
    }
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() {
        if (easy != nullptr)
            curl_easy_cleanup(easy);
    }

    const ApiServer server;
    const uint32_t timeout_ms;
    CURL* easy = nullptr; ///< owned; keeps the connection
};

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
    curl_easy_reset(easy); // keeps the connection
    Lists lists;
    append(lists.headers, "Accept: " + accept);
    set_up(easy, lists, state_->server, path);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "weftctl");
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(state_->timeout_ms));
    if (json != nullptr) {
        append(lists.headers, "Content-Type: application/json");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(json->size()));
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, json->c_str());
    }
    if (method != nullptr)
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
    std::array<char, CURL_ERROR_SIZE> reason{};
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, lists.headers.get());
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
