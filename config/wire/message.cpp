// SPDX-License-Identifier: Apache-2.0
#include "config/wire/message.hpp"

#include <google/protobuf/stubs/logging.h>

#include <climits>

namespace weft::wire {
namespace {

void silence_library() {
    [[maybe_unused]] static auto* const previous = google::protobuf::SetLogHandler(nullptr);
}

} // namespace

Result<void> parse_message(Bytes bytes, google::protobuf::MessageLite& out) {
    silence_library();
    if (bytes.size() > INT_MAX)
        return fail(Code::too_large, "message: parse");
    if (!out.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
        return fail(Code::malformed, "message: parse");
    return {};
}

std::string serialize_message(const google::protobuf::MessageLite& message) {
    silence_library();
    return message.SerializeAsString();
}

} // namespace weft::wire
