// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

/// What a source may hold. Above a limit the file (or the directory) is refused whole and its last good objects stay.
namespace weft::agent::limits {

inline constexpr size_t file_bytes_max = 16U << 20U;
inline constexpr size_t directory_files_max = 16'384;
inline constexpr size_t directory_bytes_max = 256U << 20U;
inline constexpr size_t documents_per_file_max = 32'768;
inline constexpr size_t nodes_per_file_max = 1'000'000; ///< aliases count as often as they are expanded
inline constexpr size_t nodes_per_object_max = 200'000; ///< of an API server; the object is kept out
inline constexpr size_t text_per_file_max = 64U << 20U; ///< bytes of all scalars, aliases expanded
inline constexpr size_t depth_max = 64;
inline constexpr size_t objects_max = 200'000;
inline constexpr size_t faults_per_object_max = 8;
inline constexpr size_t faults_per_file_max = 64;
inline constexpr size_t shown_text_max = 64; ///< of a bad value quoted in a message

} // namespace weft::agent::limits
