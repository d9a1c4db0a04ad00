// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <expected>
#include <span>
#include <string>
#include <string_view>

#include "config/model/snapshot.hpp"
#include "config/proto/control.pb.h"

namespace weft::wire {

/// The snapshot as a message, field by field.
[[nodiscard]] proto::Snapshot to_proto(const config::Snapshot& snapshot);
void to_proto(const config::Snapshot& snapshot, proto::Snapshot& out);
/// The same in parts: messages of one after the other read as one message, repeated fields joined in that order.
void to_proto_without_workloads(const config::Snapshot& snapshot, proto::Snapshot& out);
/// The other part, written at once as a proto::Snapshot: ten thousand messages of ten texts are most of the work.
void append_workloads(std::span<const config::Workload> workloads, std::string& out);

/// A proto::ToEngine that is a snapshot of these bytes.
void append_snapshot(std::string_view snapshot, std::string& out);

/// The message as a snapshot that can be used without further checks: every index is in range, every address has 16
/// bytes, every port, enum and size is within its limit (config/model/limits.hpp), ids are unique. Otherwise one line
/// that names the field: "frontends[3].cluster: index 9 of 4".
[[nodiscard]] std::expected<config::Snapshot, std::string> from_proto(const proto::Snapshot& message);
/// The same of a part of a snapshot that has so many workloads, here or in other parts.
[[nodiscard]] std::expected<config::Snapshot, std::string> from_proto_part(const proto::Snapshot& message,
                                                                           size_t workloads);

} // namespace weft::wire
