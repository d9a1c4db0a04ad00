// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <google/protobuf/message_lite.h>

#include <string>

#include "config/base/error.hpp"
#include "config/base/slice.hpp"

namespace weft::wire {

/// One frame's bytes into a message. Code::malformed "message: parse" if they are none; what `out` holds then is of no
/// use. Quiet: the library itself would write a line to stderr for each bad string that a peer sends.
Result<void> parse_message(Bytes bytes, google::protobuf::MessageLite& out);

[[nodiscard]] std::string serialize_message(const google::protobuf::MessageLite& message);

} // namespace weft::wire
