// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "config/base/net.hpp"

namespace weft::wire {

/// Where in the message the decoder is: a chain of frames on the stack, written out only if something is wrong.
struct At {
    const At* parent = nullptr;
    std::string_view field;
    int index = -1; ///< of a repeated field

    [[nodiscard]] std::string text() const;
};

/// The checked scalars of the wire, and the one fault that was found. Every check returns false once there is a fault.
class Decoder {
public:
    [[nodiscard]] bool fail(const At& at, std::string_view message);
    [[nodiscard]] const std::string& fault() const { return fault_; }

    [[nodiscard]] bool text(const At& at, const std::string& in, std::string& out);
    /// Must not be empty.
    [[nodiscard]] bool name(const At& at, const std::string& in, std::string& out);
    [[nodiscard]] bool address(const At& at, const std::string& in, IpAddress& out);
    [[nodiscard]] bool port(const At& at, uint32_t in, uint16_t& out);
    /// The last enumerator of T names the range.
    template <class T>
    [[nodiscard]] bool enumerator(const At& at, uint32_t in, T last, T& out) {
        if (in > static_cast<uint32_t>(last))
            return fail(at, "no such value: " + std::to_string(in));
        out = static_cast<T>(in);
        return true;
    }
    /// A plain index.
    [[nodiscard]] bool index(const At& at, uint32_t in, size_t size, uint32_t& out);
    /// Index + 1, or 0 for none.
    [[nodiscard]] bool optional_index(const At& at, uint32_t in, size_t size, uint32_t& out);
    [[nodiscard]] bool count(const At& at, int in, size_t max);

    /// Decodes each item of a repeated field: one(at, item, out).
    template <class Repeated, class Out, class One>
    [[nodiscard]] bool each(const At& at, const Repeated& in, size_t max, Out& out, One&& one) {
        if (!count(at, in.size(), max))
            return false;
        out.resize(static_cast<size_t>(in.size()));
        for (int i = 0; i < in.size(); ++i) {
            if (!one(At{at.parent, at.field, i}, in[i], out[static_cast<size_t>(i)]))
                return false;
        }
        return true;
    }

private:
    std::string fault_;
};

} // namespace weft::wire
