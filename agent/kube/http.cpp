// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/http.hpp"

#include <algorithm>
#include <array>
#include <list>
#include <utility>

#include "agent/kube/curl.hpp"

namespace weft::agent::kube {
namespace {

constexpr long connect_timeout_ms = 5'000;
/// A kind that nothing happens to gets no bookmarks either: only the end of the watch is sure to come. That the server
/// is gone, keepalives tell.
constexpr long silence_max_s = 2 * watch_min_s + 60;
constexpr long keepalive_idle_s = 15;
constexpr long keepalive_interval_s = 5;
constexpr int performs_max = 16; ///< of one turn: others wait for what it brought

/// One request. Owned by the Http until it has ended.
struct Transfer {
    CURL* easy = nullptr;
    bool* moved = nullptr; ///< set when a callback comes
    Lists lists;
    Http::Receiver* receiver = nullptr;
    std::array<char, CURL_ERROR_SIZE> error{};
    bool enough = false; ///< the receiver wants no more

    Transfer() = default;
    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;
    ~Transfer() {
        if (easy != nullptr)
            curl_easy_cleanup(easy);
    }
    [[nodiscard]] int status() const {
        long code = 0;
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
        return static_cast<int>(code);
    }
    static size_t head_line(const char* data, size_t size, size_t count, void* self) {
        auto* transfer = static_cast<Transfer*>(self);
        *transfer->moved = true;
        constexpr int final_status_least = 200;
        if (std::string_view(data, size * count) == "\r\n" && transfer->status() >= final_status_least)
            transfer->receiver->began(transfer->status());
        return size * count;
    }
    static size_t write(const char* data, size_t size, size_t count, void* self) {
        auto* transfer = static_cast<Transfer*>(self);
        *transfer->moved = true;
        if (transfer->receiver->take_piece(transfer->status(), {data, size * count}))
            return size * count;
        transfer->enough = true;
        return CURL_WRITEFUNC_ERROR;
    }
};

/// Seconds; a date, as the header may also hold, is not what API servers send.
std::optional<uint64_t> retry_after(CURL* easy) {
    curl_off_t seconds = 0;
    if (curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds) != CURLE_OK || seconds <= 0)
        return std::nullopt;
    return static_cast<uint64_t>(seconds) * 1000;
}

} // namespace

struct Http::State {
    explicit State(ApiServer of) : server(std::move(of)) {
        start_curl();
        multi = curl_multi_init();
        curl_multi_setopt(multi, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_NOTHING));
    }
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() {
        for (const auto& transfer : transfers)
            curl_multi_remove_handle(multi, transfer->easy);
        transfers.clear();
        curl_multi_cleanup(multi);
    }
    static void send(Transfer& transfer, const Request& request);
    void end(CURL* easy, CURLcode result);
    bool perform();

    const ApiServer server;
    CURLM* multi = nullptr;
    std::list<std::unique_ptr<Transfer>> transfers;
    bool moved = false; ///< a receiver got something
};

void Http::State::send(Transfer& transfer, const Request& request) {
    CURL* const easy = transfer.easy;
    if (!request.body.empty()) {
        append(transfer.lists.headers, "Content-Type: " + request.content_type);
        append(transfer.lists.headers, "Expect:"); // large bodies would wait for a 100 first
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
        curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request.body.c_str());
    }
    if (request.method != "GET")
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
}

void Http::State::end(CURL* easy, CURLcode result) {
    const auto found = std::ranges::find(transfers, easy, [](const auto& transfer) { return transfer->easy; });
    if (found == transfers.end())
        return;
    const std::unique_ptr<Transfer> transfer = std::move(*found);
    transfers.erase(found);
    curl_multi_remove_handle(multi, easy);
    Outcome outcome{.status = transfer->status(), .error = {}, .retry_after_ms = retry_after(easy)};
    if (result != CURLE_OK && !transfer->enough)
        outcome.error = transfer->error[0] != '\0' ? transfer->error.data() : curl_easy_strerror(result);
    transfer->receiver->ended(outcome);
}

/// Without waiting. True: some receiver got something.
bool Http::State::perform() {
    moved = false;
    int running = 0;
    curl_multi_perform(multi, &running);
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
        if (message->msg != CURLMSG_DONE)
            continue;
        moved = true;
        end(message->easy_handle, message->data.result);
    }
    return moved;
}

Http::Http(ApiServer server) : state_(std::make_unique<State>(std::move(server))) {}
Http::~Http() = default;

void Http::begin(const Request& request, Receiver& receiver) {
    auto transfer = std::make_unique<Transfer>();
    transfer->easy = curl_easy_init();
    if (transfer->easy == nullptr)
        return receiver.ended({.status = 0, .error = "out of memory", .retry_after_ms = {}});
    CURL* const easy = transfer->easy;
    transfer->receiver = &receiver;
    transfer->moved = &state_->moved;
    append(transfer->lists.headers, "Accept: application/json");
    set_up(easy, transfer->lists, state_->server, request.path);
    State::send(*transfer, request);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->lists.headers.get());
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "weft-agent");
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, request.endless ? nullptr : "gzip");
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error.data());
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &Transfer::head_line);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer.get());
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Transfer::write);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer.get());
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, connect_timeout_ms);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, keepalive_idle_s);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, keepalive_interval_s);
    if (request.endless) {
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, silence_max_s);
    } else {
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout_ms));
    }
    curl_multi_add_handle(state_->multi, easy);
    state_->transfers.push_back(std::move(transfer));
}

void Http::turn(int timeout_ms) {
    if (state_->perform())
        return;
    int readable = 0;
    curl_multi_poll(state_->multi, nullptr, 0, timeout_ms, &readable);
    if (readable == 0)
        return;
    // What libcurl 7.88 has read it may give out only when it is asked again: without, an event of a watch waits for
    // the next of any connection.
    state_->perform();
    for (int i = 0; i < performs_max && state_->perform(); ++i) {
    }
}

void Http::wake() {
    curl_multi_wakeup(state_->multi);
}

} // namespace weft::agent::kube
