// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/log.hpp"

namespace weft::config {

/// Command-line flags of our programs: the one place that knows the parser library. Flags bind to variables that
/// outlive parse() and hold the defaults before it. Main thread only.
class Flags {
public:
    /// `version` is printed by --version.
    Flags(std::string_view program, std::string_view description, std::string_view version);
    ~Flags();
    Flags(const Flags&) = delete;
    Flags& operator=(const Flags&) = delete;

    /// Names are written "--socket". `placeholder` ("PATH") is shown in the help.
    void text(std::string_view name, std::string& value, std::string_view placeholder, std::string_view help);
    /// May be given several times; each adds one value.
    void texts(std::string_view name, std::vector<std::string>& values, std::string_view placeholder,
               std::string_view help);
    void number(std::string_view name, uint64_t& value, uint64_t least, uint64_t most, std::string_view help);
    void toggle(std::string_view name, bool& value, std::string_view help);
    /// debug, info, warn or error.
    void level(std::string_view name, log::Level& value, std::string_view help);

    /// A subcommand with flags of its own, owned by this object. With at least one, exactly one must be given.
    Flags& command(std::string_view name, std::string_view help);
    /// Was this subcommand given?
    [[nodiscard]] bool given() const;

    /// nullopt: go on. Otherwise the exit code, everything is said: 0 after --help and --version, 1 after one clear
    /// line about what is wrong.
    [[nodiscard]] std::optional<int> parse(int argc, const char* const* argv);

private:
    struct Parser;
    explicit Flags(std::unique_ptr<Parser> parser);
    std::unique_ptr<Parser> parser_;
};

} // namespace weft::config
