// SPDX-License-Identifier: Apache-2.0
#include "config/settings/flags.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <algorithm>
#include <cstdio>
#include <sstream>

namespace weft::config {

struct Flags::Parser {
    std::unique_ptr<CLI::App> root; ///< empty for a subcommand
    CLI::App* app = nullptr;
    std::vector<std::unique_ptr<Flags>> commands;
};

namespace {

/// CLI11 speaks in exceptions and several lines; a person wants one line that names the flag.
std::string one_line(std::string text) {
    std::ranges::replace(text, '\n', ' ');
    return text;
}

} // namespace

Flags::Flags(std::string_view program, std::string_view description, std::string_view version)
    : parser_(std::make_unique<Parser>()) {
    parser_->root = std::make_unique<CLI::App>(std::string(description), std::string(program));
    parser_->app = parser_->root.get();
    parser_->app->set_version_flag("--version", std::string(program) + " " + std::string(version));
}

Flags::Flags(std::unique_ptr<Parser> parser) : parser_(std::move(parser)) {}
Flags::~Flags() = default;

void Flags::text(std::string_view name, std::string& value, std::string_view placeholder, std::string_view help) {
    parser_->app->add_option(std::string(name), value, std::string(help))
        ->type_name(std::string(placeholder))
        ->capture_default_str();
}

void Flags::texts(std::string_view name, std::vector<std::string>& values, std::string_view placeholder,
                  std::string_view help) {
    // One value per mention, so that "--engine-arg --workers" takes exactly what follows it.
    parser_->app->add_option(std::string(name), values, std::string(help))
        ->type_name(std::string(placeholder))
        ->type_size(1)
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void Flags::number(std::string_view name, uint64_t& value, uint64_t least, uint64_t most, std::string_view help) {
    parser_->app->add_option(std::string(name), value, std::string(help))
        ->type_name("NUMBER")
        ->check(CLI::Range(least, most))
        ->capture_default_str();
}

void Flags::toggle(std::string_view name, bool& value, std::string_view help) {
    parser_->app->add_flag(std::string(name), value, std::string(help));
}

void Flags::environment(std::string_view name, std::string_view variable) {
    parser_->app->get_option(std::string(name))->envname(std::string(variable));
}

void Flags::one_of(std::string_view name, std::vector<std::string> words, const std::string& now, std::string_view help,
                   std::function<void(size_t)> choose) {
    std::string all;
    for (const auto& word : words)
        all += (all.empty() ? "" : "|") + word;
    const auto take = [flag = std::string(name), words = std::move(words), all,
                       choose = std::move(choose)](const std::string& given) {
        const auto found = std::ranges::find(words, given);
        if (found == words.end())
            throw CLI::ValidationError(flag, "must be one of " + all + ", not '" + given + "'");
        choose(static_cast<size_t>(found - words.begin()));
    };
    parser_->app->add_option_function<std::string>(std::string(name), take, std::string(help))
        ->type_name(all)
        ->default_str(now);
}

void Flags::level(std::string_view name, log::Level& value, std::string_view help) {
    const auto take = [flag = std::string(name), &value](const std::string& given) {
        if (!log::parse_level(given, value))
            throw CLI::ValidationError(flag, "must be debug, info, warn or error, not " + given);
    };
    parser_->app->add_option_function<std::string>(std::string(name), take, std::string(help))->type_name("LEVEL");
}

Flags& Flags::command(std::string_view name, std::string_view help) {
    auto parser = std::make_unique<Parser>();
    parser->app = parser_->app->add_subcommand(std::string(name), std::string(help));
    parser_->app->require_subcommand(1);
    parser_->app->fallthrough();
    parser->app->fallthrough();
    parser_->commands.push_back(std::unique_ptr<Flags>(new Flags(std::move(parser))));
    return *parser_->commands.back();
}

bool Flags::given() const {
    return parser_->app->parsed();
}

std::optional<int> Flags::parse(int argc, const char* const* argv) {
    const std::optional<Ended> ended = read(argc, argv);
    return ended ? std::optional(ended->say()) : std::nullopt;
}

std::optional<Flags::Ended> Flags::read(int argc, const char* const* argv) {
    try {
        parser_->app->parse(argc, argv);
    } catch (const CLI::Success& asked) { // --help, --version
        std::ostringstream text;
        const int code = parser_->app->exit(asked, text, text);
        return Ended{.code = code, .text = std::move(text).str()};
    } catch (const CLI::Error& error) {
        return fault(error.what());
    }
    return std::nullopt;
}

Flags::Ended Flags::fault(std::string_view what) const {
    return {.code = 1,
            .text = parser_->app->get_name() + ": " + one_line(std::string(what)) + " (--help shows the flags)\n"};
}

int Flags::Ended::say() const {
    std::fputs(text.c_str(), code == 0 ? stdout : stderr);
    return code;
}

} // namespace weft::config
