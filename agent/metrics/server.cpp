// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics/server.hpp"

#include <civetweb.h>

#include <array>
#include <ostream>
#include <semaphore>
#include <streambuf>

#include "config/base/clock.hpp"
#include "config/base/log.hpp"
#include "config/base/net.hpp"

namespace weft::agent::metrics {
namespace {

constexpr const char* request_bytes_max = "8192";

int answer(mg_connection* connection, int status, const char* type, std::string_view body) {
    const bool head = std::string_view(mg_get_request_info(connection)->request_method) == "HEAD";
    mg_printf(connection,
              "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
              "Connection: close\r\n\r\n",
              status, mg_get_response_code_text(connection, status), type, body.size());
    if (!head)
        mg_write(connection, body.data(), body.size());
    return status;
}

bool is_read(mg_connection* connection) {
    const std::string_view method = mg_get_request_info(connection)->request_method;
    return method == "GET" || method == "HEAD";
}

int refuse_method(mg_connection* connection) {
    return answer(connection, 405, "text/plain", "only GET\n");
}

/// The body of one answer, sent in chunks (as it is to HTTP/1.0, which knows none). Fails for good when the client has
/// gone or is too slow.
class BodyBuffer final : public std::streambuf {
public:
    explicit BodyBuffer(mg_connection* connection)
        : connection_(connection), chunked_(std::string_view(mg_get_request_info(connection)->http_version) != "1.0"),
          deadline_ms_(monotonic_ms() + page_ms_max) {
        setp(part_.data(), part_.data() + part_.size());
    }

    [[nodiscard]] const char* framing() const { return chunked_ ? "Transfer-Encoding: chunked\r\n" : ""; }
    /// Sends what is left. An answer that was cut off stays without its end, so that nobody takes it for whole.
    void finish() {
        if (send_part() && chunked_)
            mg_send_chunk(connection_, "", 0);
    }

private:
    int_type overflow(int_type next) override {
        if (!send_part())
            return traits_type::eof();
        if (!traits_type::eq_int_type(next, traits_type::eof()))
            sputc(traits_type::to_char_type(next));
        return traits_type::not_eof(next);
    }
    bool send_part() {
        const auto size = static_cast<unsigned>(pptr() - pbase());
        setp(part_.data(), part_.data() + part_.size());
        if (size == 0 || failed_)
            return !failed_;
        const int sent =
            chunked_ ? mg_send_chunk(connection_, part_.data(), size) : mg_write(connection_, part_.data(), size);
        failed_ = sent <= 0 || (!chunked_ && static_cast<unsigned>(sent) != size) || monotonic_ms() > deadline_ms_;
        return !failed_;
    }

    mg_connection* const connection_;
    const bool chunked_;
    const uint64_t deadline_ms_;
    bool failed_ = false;
    std::array<char, 16U << 10U> part_{};
};

void send_page(mg_connection* connection, const HttpServer::Handlers& handlers) {
    BodyBuffer body(connection);
    mg_printf(connection,
              "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n%s"
              "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
              body.framing());
    if (std::string_view(mg_get_request_info(connection)->request_method) == "HEAD")
        return;
    std::ostream out(&body);
    handlers.metrics(out);
    body.finish();
}

struct Scrapes {
    const HttpServer::Handlers& handlers;
    std::counting_semaphore<pages_max> free{pages_max};
};

int serve_metrics(mg_connection* connection, void* scrapes) {
    if (!is_read(connection))
        return refuse_method(connection);
    auto& [handlers, free] = *static_cast<Scrapes*>(scrapes);
    if (!free.try_acquire()) {
        handlers.busy();
        return answer(connection, 503, "text/plain", "other scrapes are being answered\n");
    }
    send_page(connection, handlers);
    free.release();
    return 200;
}

int serve_probe(mg_connection* connection, const std::function<HttpServer::Answer()>& probe) {
    if (!is_read(connection))
        return refuse_method(connection);
    const HttpServer::Answer said = probe();
    return answer(connection, said.good ? 200 : 503, "text/plain; charset=utf-8", said.text + "\n");
}

int serve_ready(mg_connection* connection, void* handlers) {
    return serve_probe(connection, static_cast<HttpServer::Handlers*>(handlers)->ready);
}

int serve_healthy(mg_connection* connection, void* handlers) {
    return serve_probe(connection, static_cast<HttpServer::Handlers*>(handlers)->healthy);
}

int serve_nothing(mg_connection* connection, void*) {
    return answer(connection, 404, "text/plain", "try /metrics, /readyz or /healthz\n");
}

int log_message(const mg_connection*, const char* message) {
    log::debug("metrics_server", log::kv("message", message));
    return 1;
}

} // namespace

struct HttpServer::Library {
    explicit Library(const Handlers& handlers) : scrapes{.handlers = handlers} {}
    mg_context* context = nullptr;
    Scrapes scrapes;
};

HttpServer::HttpServer(Handlers handlers)
    : handlers_(std::move(handlers)), library_(std::make_unique<Library>(handlers_)) {}

HttpServer::~HttpServer() {
    stop();
}

void HttpServer::stop() {
    if (library_->context != nullptr)
        mg_stop(library_->context);
    library_->context = nullptr;
}

std::expected<std::unique_ptr<HttpServer>, std::string> HttpServer::start(std::string_view address, Handlers handlers) {
    const auto parsed = SocketAddress::parse(address);
    if (!parsed)
        return std::unexpected("--metrics-address: not ADDRESS:PORT (IPv6 in brackets): " + std::string(address));
    std::unique_ptr<HttpServer> server(new HttpServer(std::move(handlers)));
    const std::string where = parsed->to_string();
    const std::string threads = std::to_string(http_threads);
    const std::string wait_ms = std::to_string(http_wait_ms);
    std::array<const char*, 9> options = {"listening_ports",  where.c_str(),        "num_threads",
                                          threads.c_str(),    "request_timeout_ms", wait_ms.c_str(),
                                          "max_request_size", request_bytes_max,    nullptr};
    mg_callbacks callbacks{};
    callbacks.log_message = log_message;
    std::array<char, 256> text{};
    mg_init_data init{.callbacks = &callbacks, .user_data = nullptr, .configuration_options = options.data()};
    mg_error_data error{};
    error.text = text.data();
    error.text_buffer_size = text.size();
    server->library_->context = mg_start2(&init, &error);
    if (server->library_->context == nullptr)
        return std::unexpected("--metrics-address: cannot listen on " + where + ": " + text.data());
    mg_context* context = server->library_->context;
    mg_set_request_handler(context, "/metrics$", serve_metrics, &server->library_->scrapes);
    mg_set_request_handler(context, "/readyz$", serve_ready, &server->handlers_);
    mg_set_request_handler(context, "/healthz$", serve_healthy, &server->handlers_);
    mg_set_request_handler(context, "/**", serve_nothing, nullptr);
    mg_server_port port{};
    if (mg_get_server_ports(context, 1, &port) == 1)
        server->port_ = static_cast<uint16_t>(port.port);
    return server;
}

} // namespace weft::agent::metrics
