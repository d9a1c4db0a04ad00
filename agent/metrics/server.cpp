// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics/server.hpp"

#include <civetweb.h>

#include <array>

#include "config/base/log.hpp"
#include "config/base/net.hpp"

namespace weft::agent::metrics {
namespace {

constexpr const char* http_threads = "3"; ///< a slow scrape must not hold up the probes
constexpr const char* request_timeout_ms = "5000";
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

int serve_metrics(mg_connection* connection, void* handlers) {
    if (!is_read(connection))
        return refuse_method(connection);
    const std::string page = static_cast<HttpServer::Handlers*>(handlers)->metrics();
    return answer(connection, 200, "text/plain; version=0.0.4; charset=utf-8", page);
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
    mg_context* context = nullptr;
};

HttpServer::HttpServer(Handlers handlers) : handlers_(std::move(handlers)), library_(std::make_unique<Library>()) {}

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
    std::array<const char*, 9> options = {"listening_ports",  where.c_str(),        "num_threads",
                                          http_threads,       "request_timeout_ms", request_timeout_ms,
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
    mg_set_request_handler(context, "/metrics$", serve_metrics, &server->handlers_);
    mg_set_request_handler(context, "/readyz$", serve_ready, &server->handlers_);
    mg_set_request_handler(context, "/healthz$", serve_healthy, &server->handlers_);
    mg_set_request_handler(context, "/**", serve_nothing, nullptr);
    mg_server_port port{};
    if (mg_get_server_ports(context, 1, &port) == 1)
        server->port_ = static_cast<uint16_t>(port.port);
    return server;
}

} // namespace weft::agent::metrics
