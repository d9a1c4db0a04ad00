// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/kube/fake_tls.hpp"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>

#include "tests/unit/kube/loopback_listener.hpp"

namespace weft::agent::kube::test {

struct Certificate::State {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* x509 = X509_new();
};

Certificate::Certificate(const std::string& names) : state_(std::make_unique<State>()) {
    X509* const x509 = state_->x509;
    X509_set_version(x509, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
    X509_set_pubkey(x509, state_->key);
    X509_NAME* const name = X509_get_subject_name(x509);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("api"), -1, -1, 0);
    X509_set_issuer_name(x509, name);
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str());
    if (extension == nullptr || X509_add_ext(x509, extension, -1) == 0 ||
        X509_sign(x509, state_->key, EVP_sha256()) == 0)
        std::abort();
    X509_EXTENSION_free(extension);
}

Certificate::~Certificate() {
    X509_free(state_->x509);
    EVP_PKEY_free(state_->key);
}

std::string Certificate::pem() const {
    BIO* const bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, state_->x509);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string out(data, static_cast<size_t>(size));
    BIO_free(bio);
    return out;
}

FakeTls::FakeTls(const Certificate& certificate) : certificate_(&certificate) {
    listener_ = loopback_listener(port_);
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

void FakeTls::use(const Certificate& certificate) {
    const std::lock_guard lock(mutex_);
    certificate_ = &certificate;
}

std::string FakeTls::server_name() {
    const std::lock_guard lock(mutex_);
    return server_name_;
}

std::string FakeTls::head() {
    const std::lock_guard lock(mutex_);
    return head_;
}

void FakeTls::run(const std::stop_token& stop) {
    sigset_t pipe; // a client that does not trust us is gone when it is answered
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    while (!stop.stop_requested()) {
        pollfd door{.fd = listener_.get(), .events = POLLIN, .revents = 0};
        if (::poll(&door, 1, 10) != 1)
            continue;
        const UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        const timeval patience{.tv_sec = 5, .tv_usec = 0};
        ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        serve(fd.get());
    }
}

void FakeTls::serve(int fd) {
    SSL_CTX* const context = SSL_CTX_new(TLS_server_method());
    {
        const std::lock_guard lock(mutex_);
        SSL_CTX_use_certificate(context, certificate_->state_->x509);
        SSL_CTX_use_PrivateKey(context, certificate_->state_->key);
    }
    SSL* const ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) {
        std::string head;
        char piece[4096];
        for (int got = 1; got > 0 && head.find("\r\n\r\n") == std::string::npos;) {
            got = SSL_read(ssl, piece, sizeof piece);
            head.append(piece, static_cast<size_t>(std::max(got, 0)));
        }
        {
            const std::lock_guard lock(mutex_);
            const char* const name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
            server_name_ = name == nullptr ? "" : name;
            head_ = head;
        }
        const std::string answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
        SSL_write(ssl, answer.data(), static_cast<int>(answer.size()));
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
    SSL_CTX_free(context);
}

} // namespace weft::agent::kube::test
