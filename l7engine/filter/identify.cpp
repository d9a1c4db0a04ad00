// SPDX-License-Identifier: Apache-2.0
#include <sys/random.h>

#include <array>
#include <charconv>
#include <cstring>

#include "l7engine/filter/registry.hpp"
#include "l7engine/policy/balance.hpp"

namespace weft::l7 {

namespace {

/// "00", "01" ... "ff"
constexpr std::array<char, 512> hex_pairs = [] {
    std::array<char, 512> pairs{};
    for (size_t byte = 0; byte < 256; ++byte) {
        pairs[2 * byte] = "0123456789abcdef"[byte >> 4];
        pairs[2 * byte + 1] = "0123456789abcdef"[byte & 15];
    }
    return pairs;
}();

/// A version 4 UUID. It has to be unique, not secret: one seed of the kernel's per thread, then splitmix64.
std::array<char, 36> make_request_id() {
    thread_local RandomState random = [] {
        RandomState seeded;
        if (getrandom(&seeded.value, sizeof seeded.value, GRND_NONBLOCK) != sizeof seeded.value)
            seeded.value = reinterpret_cast<uintptr_t>(&seeded); // early boot only; ASLR tells processes apart
        return seeded;
    }();
    std::array<uint8_t, 16> raw;
    const uint64_t words[2] = {random.next(), random.next()};
    std::memcpy(raw.data(), words, sizeof words);
    raw[6] = static_cast<uint8_t>((raw[6] & 0x0f) | 0x40);
    raw[8] = static_cast<uint8_t>((raw[8] & 0x3f) | 0x80);
    std::array<char, 36> text;
    char* at = text.data();
    const uint8_t* from = raw.data();
    for (const size_t bytes : {4U, 2U, 2U, 2U, 6U}) {
        if (from != raw.data())
            *at++ = '-';
        for (const uint8_t* const end = from + bytes; from != end; ++from, at += 2)
            std::memcpy(at, &hex_pairs[2 * size_t{*from}], 2);
    }
    return text;
}

/// The fields that a waypoint adds (istio.md 5.5).
class Identify final : public Filter {
public:
    explicit Identify(const FilterSettings& settings)
        : server_name_(settings.server_name), debug_headers_(settings.debug_headers), request_id_(settings.request_id),
          forwarded_proto_(settings.forwarded_proto) {}

    std::string_view name() const override { return "identify"; }

    Outcome on_request(Exchange& exchange) override {
        Headers& headers = exchange.request.headers;
        if (request_id_ && !headers.contains("x-request-id")) {
            const std::array<char, 36> id = make_request_id();
            headers.add_checked("x-request-id", {id.data(), id.size()});
        }
        if (forwarded_proto_ && !headers.contains("x-forwarded-proto"))
            headers.add_checked("x-forwarded-proto", "http");
        return Continue{};
    }

    Outcome on_response(Exchange& exchange) override {
        Headers& headers = exchange.response.headers;
        if (!server_name_.empty())
            headers.set("server", server_name_);
        if (debug_headers_ && exchange.times.upstream_head_ms != 0) {
            std::array<char, 20> text;
            const uint64_t took_ms = exchange.times.upstream_head_ms - exchange.times.upstream_start_ms;
            const auto end = std::to_chars(text.data(), text.data() + text.size(), took_ms).ptr;
            headers.set_checked("x-envoy-upstream-service-time", {text.data(), static_cast<size_t>(end - text.data())});
        }
        return Continue{};
    }

private:
    std::string server_name_;
    bool debug_headers_;
    bool request_id_;
    bool forwarded_proto_;
};

} // namespace

std::unique_ptr<Filter> make_identify(const FilterSettings& settings) {
    return std::make_unique<Identify>(settings);
}

} // namespace weft::l7
