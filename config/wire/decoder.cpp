// SPDX-License-Identifier: Apache-2.0
#include "config/wire/decoder.hpp"

#include <cstring>

#include "config/model/limits.hpp"
#include "config/model/snapshot.hpp"

namespace weft::wire {

std::string At::text() const {
    std::string out = parent == nullptr || parent->field.empty() ? std::string() : parent->text() + ".";
    out += field;
    if (index >= 0)
        out += "[" + std::to_string(index) + "]";
    return out;
}

bool Decoder::fail(const At& at, std::string_view message) {
    fault_ = at.text() + ": ";
    fault_ += message;
    return false;
}

bool Decoder::text(const At& at, const std::string& in, std::string& out) {
    if (in.size() > config::limits::text_bytes_max)
        return fail(at, std::to_string(in.size()) + " bytes, the limit is " +
                            std::to_string(config::limits::text_bytes_max));
    out = in;
    return true;
}

bool Decoder::name(const At& at, const std::string& in, std::string& out) {
    return in.empty() ? fail(at, "is empty") : text(at, in, out);
}

bool Decoder::address(const At& at, const std::string& in, IpAddress& out) {
    if (in.size() != out.bytes.size())
        return fail(at, "an address of " + std::to_string(in.size()) + " bytes, not 16");
    std::memcpy(out.bytes.data(), in.data(), in.size());
    return true;
}

bool Decoder::port(const At& at, uint32_t in, uint16_t& out) {
    if (in > UINT16_MAX)
        return fail(at, "no port: " + std::to_string(in));
    out = static_cast<uint16_t>(in);
    return true;
}

bool Decoder::index(const At& at, uint32_t in, size_t size, uint32_t& out) {
    if (in >= size)
        return fail(at, "index " + std::to_string(in) + " of " + std::to_string(size));
    out = in;
    return true;
}

bool Decoder::optional_index(const At& at, uint32_t in, size_t size, uint32_t& out) {
    if (in == 0) {
        out = config::none;
        return true;
    }
    return index(at, in - 1, size, out);
}

bool Decoder::count(const At& at, int in, size_t max) {
    if (static_cast<size_t>(in) > max)
        return fail(at, std::to_string(in) + " items, the limit is " + std::to_string(max));
    return true;
}

} // namespace weft::wire
