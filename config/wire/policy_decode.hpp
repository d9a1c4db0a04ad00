// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "config/model/policy.hpp"
#include "config/proto/control.pb.h"
#include "config/wire/decoder.hpp"

namespace weft::wire {

/// The policies of a snapshot, checked. Part of from_proto().
[[nodiscard]] bool decode_policy(Decoder& check, const At& at, const proto::Policy& in, config::Policy& out);

} // namespace weft::wire
