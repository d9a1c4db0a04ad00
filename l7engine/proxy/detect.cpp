// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/detect.hpp"

#include "l7engine/proxy/connection.hpp"
#include "l7engine/tls/client_hello.hpp"

namespace weft::l7 {

namespace {

config::Protocol declared_protocol(const SnapshotView& view, const Accepted& accepted) {
    if (accepted.direction == Direction::outbound) {
        const config::Frontend* frontend = view.frontend(accepted.frontend_id);
        return frontend == nullptr ? config::Protocol::undeclared : frontend->protocol;
    }
    const config::LocalPod* pod = view.pod(accepted.pod_id);
    return pod == nullptr ? config::Protocol::undeclared : view.protocol(*pod, accepted.destination.port);
}

/// Some servers skip alerts, or are lenient in a record's head: a hello may be in what sniff() takes for none.
bool is_like_tls(Bytes bytes) {
    constexpr std::byte record_types_first{20}; // RFC 8446 5.1: ContentType
    constexpr std::byte record_types_last{24};
    return !bytes.empty() && bytes.front() >= record_types_first && bytes.front() <= record_types_last;
}

} // namespace

void serve_by_protocol(Proxy& proxy, std::unique_ptr<ByteStream> stream, const Accepted& accepted) {
    const config::Protocol declared = declared_protocol(*proxy.view(), accepted);
    TaskGroup& tasks = proxy.worker().tasks();
    switch (declared) {
        using enum config::Protocol;
    case http1:
    case http2:
    case grpc: return Connection::start(std::make_unique<Connection>(proxy, std::move(stream), accepted));
    case tcp:
        return tasks.spawn(Tunnel::run(std::make_unique<Tunnel>(proxy, std::move(stream), accepted, ServerName()), {}));
    case tls:
    case undeclared:
        return tasks.spawn(Detector::run(std::make_unique<Detector>(proxy, std::move(stream), accepted, declared)));
    }
}

Detector::Detector(Proxy& proxy, std::unique_ptr<ByteStream> stream, const Accepted& accepted,
                   config::Protocol declared)
    : Downstream(proxy, accepted), stream_(std::move(stream)),
      kind_(declared == config::Protocol::tls ? Sniffed::tls : Sniffed::more) {
    const ProxySettings& settings = proxy.settings();
    deadline_ = proxy.worker().in_ms(kind_ == Sniffed::tls ? settings.head_timeout_ms : settings.sniff_timeout_ms);
}

Task<void> Detector::run(std::unique_ptr<Detector> self) {
    if (co_await self->find_out())
        hand_over(std::move(self));
}

/// False: the client is gone, or was sent away.
Task<bool> Detector::find_out() {
    for (;;) {
        Result<Slice> bytes = co_await stream_->read(deadline_);
        if (gone_)
            co_return false;
        if (!bytes && bytes.error().code != Code::timeout) {
            proxy_.counters().add(Counter::sniffed_gone);
            co_return false;
        }
        if (!bytes || bytes->empty()) {
            ended_before_known();
            co_return true;
        }
        const bool alone = gathered_.empty();
        if (!alone)
            gathered_ += bytes->text();
        if (knows(alone ? bytes->bytes() : as_bytes(gathered_))) {
            first_ = alone ? std::move(*bytes) : Slice::copy_of(gathered_);
            co_return true;
        }
        if (alone) {
            // Whoever has begun to say something that we know may take its time, as for any head.
            deadline_ = proxy_.worker().in_ms(proxy_.settings().head_timeout_ms);
            gathered_ = bytes->text();
        }
    }
}

/// Is it known by these bytes, all that have come? Then the kind is set, and the server name.
bool Detector::knows(Bytes bytes) {
    Counters& counters = proxy_.counters();
    if (kind_ == Sniffed::more) {
        kind_ = sniff(bytes);
        switch (kind_) {
        case Sniffed::more: return false;
        case Sniffed::http1:
        case Sniffed::http2: counters.add(Counter::sniffed_http); return true;
        case Sniffed::tcp:
            counters.add(Counter::sniffed_tcp);
            name_.unknown = is_like_tls(bytes);
            return true;
        case Sniffed::tls: counters.add(Counter::sniffed_tls); break;
        }
    }
    Result<std::optional<tls::ClientHello>> hello = tls::read_client_hello(bytes);
    if (hello && !*hello)
        return false;
    if (hello)
        name_.text = std::move((*hello)->server_name);
    else
        name_.unknown = true; // a server may read it all the same
    counters.add(hello ? Counter::hellos_read : Counter::hellos_malformed);
    return true;
}

/// Silence, or the client's FIN: bytes of no protocol that we know.
void Detector::ended_before_known() {
    proxy_.counters().add(kind_ == Sniffed::tls ? Counter::hellos_incomplete : Counter::sniffed_silence);
    kind_ = Sniffed::tcp;
    name_.unknown = true; // it may still come
    first_ = Slice::copy_of(gathered_);
}

void Detector::hand_over(std::unique_ptr<Detector> self) {
    Proxy& proxy = self->proxy_;
    const Accepted accepted = self->accepted_;
    std::unique_ptr<ByteStream> stream = std::move(self->stream_);
    Slice first = std::move(self->first_);
    ServerName name = std::move(self->name_);
    const bool http = self->kind_ == Sniffed::http1 || self->kind_ == Sniffed::http2;
    self.reset(); // one connection is one Downstream
    TaskGroup& tasks = proxy.worker().tasks();
    if (http)
        Connection::start(std::make_unique<Connection>(proxy, std::move(stream), accepted), std::move(first));
    else
        tasks.spawn(Tunnel::run(std::make_unique<Tunnel>(proxy, std::move(stream), accepted, std::move(name)),
                                std::move(first)));
}

void Detector::cut() {
    gone_ = true;
    stream_->abort({.code = Code::canceled, .side = Side::self, .during = "cut"}, true);
}

} // namespace weft::l7
