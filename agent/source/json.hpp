// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <string_view>

#include "agent/source/value.hpp"

namespace weft::agent {

/// One JSON text, as the API server writes it. Members named `managedFields` are left out: they are half of most
/// objects, and nobody reads them. Nodes and depth of what is returned are bounded by limits.hpp. To read it takes up
/// to sixteen times the text's bytes for a moment: the caller bounds these. The fault says what is wrong with the text
/// as a whole.
[[nodiscard]] std::expected<Value, Fault> parse_json(std::string_view text);

/// `kept_out`: empty, or why nothing but names are left of the object: name, namespace, uid and resourceVersion of its
/// metadata, as far as they are texts.
using TakeObject = std::function<void(Value&& object, const std::string& kept_out)>;

/// A list, or an event of a watch, as the API server writes them. Each object (of the list's `items`, or the event's
/// `object`) goes to `take`, and is not in what is returned: there is one Value at a time, and one that is beyond
/// limits.hpp keeps out nothing but itself. Of a text that is no JSON none is taken; of one with a fault around the
/// objects those before it may have been.
[[nodiscard]] std::expected<Value, Fault> parse_json_objects(std::string_view text, const TakeObject& take);

/// As JSON without spaces, so without a line end or a tab.
[[nodiscard]] std::string json_text(const Value& value);

} // namespace weft::agent
