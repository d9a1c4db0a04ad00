// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/log.hpp"

namespace weft::config {

/// One of the words that a flag takes, and what it means.
template <class T>
struct Choice {
    std::string_view name;
    T value;
};

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
    /// Where that flag, which is there already, is not given, this environment variable counts, if it is set.
    void environment(std::string_view name, std::string_view variable);
    /// One of the words. Write T: it is not deduced from an array.
    template <class T>
    void choice(std::string_view name, T& value, std::span<const Choice<T>> choices, std::string_view help) {
        std::vector<std::string> words;
        std::string now;
        for (const auto& each : choices) {
            words.emplace_back(each.name);
            if (each.value == value)
                now = each.name;
        }
        one_of(name, std::move(words), now, help, [&value, choices](size_t index) { value = choices[index].value; });
    }
    /// debug, info, warn or error.
    void level(std::string_view name, log::Level& value, std::string_view help);

    /// A subcommand with flags of its own, owned by this object. With at least one, exactly one must be given.
    Flags& command(std::string_view name, std::string_view help);
    /// Was this subcommand given?
    [[nodiscard]] bool given() const;

    /// nullopt: go on. Otherwise the exit code, everything is said: 0 after --help and --version, 1 after one clear
    /// line about what is wrong.
    [[nodiscard]] std::optional<int> parse(int argc, const char* const* argv);

    /// Why a program ends before it has begun.
    struct Ended {
        int code = 0;     ///< as parse() has it
        std::string text; ///< whole lines: the help, or the one that names the flag

        /// Prints the text where it belongs; the code.
        int say() const;
    };
    /// parse() without a word.
    [[nodiscard]] std::optional<Ended> read(int argc, const char* const* argv);
    /// What read() says of a wrong value, for checks that only the program can make. Begin with the flag's name.
    [[nodiscard]] Ended fault(std::string_view what) const;

private:
    struct Parser;
    explicit Flags(std::unique_ptr<Parser> parser);
    void one_of(std::string_view name, std::vector<std::string> words, const std::string& now, std::string_view help,
                std::function<void(size_t)> choose);

    std::unique_ptr<Parser> parser_;
};

} // namespace weft::config
