// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace weft::l7 {

/// The bytes that a group of streams has received and that nobody has passed on yet. One worker's thread; outlives the
/// group's streams.
struct BufferAccount {
    size_t bytes = 0;
    size_t bytes_max = SIZE_MAX;
    /// Then a stream of the group receives no more before it is nearly empty: TcpSettings::receive_scarce_bytes.
    [[nodiscard]] bool is_over() const { return bytes > bytes_max; }
};

} // namespace weft::l7
