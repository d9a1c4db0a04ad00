// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "agent/cni/plugin/ask.hpp"
#include "agent/cni/plugin/plugin.hpp"

namespace {

using namespace weft::cni;

constexpr uint32_t delete_wait_ms = 1000;
constexpr uint32_t check_wait_ms = 2000;

/// What the program prints and returns.
struct Said {
    std::string out;
    int code = 0;
};

std::string variable(const char* name) {
    const char* const value = std::getenv(name);
    return value == nullptr ? "" : value;
}

/// Stdin up to its end; one byte more than the limit tells that it is longer.
std::string read_stdin() {
    std::string text(stdin_bytes_max + 1, '\0');
    size_t length = 0;
    while (length < text.size()) {
        const ssize_t got = read(STDIN_FILENO, text.data() + length, text.size() - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        length += static_cast<size_t>(got);
    }
    text.resize(length);
    return text;
}

/// The runtime's log has it.
void say(const std::string& line) {
    std::fprintf(stderr, "weft-cni: %s\n", line.c_str());
}

Said failed(const Failure& failure, const std::string& version) {
    return {.out = failure_text(failure, version), .code = 1};
}

Request request_for(Verb verb, const Environment& environment, const Settings& settings, const PodName& pod) {
    return {.verb = verb,
            .ns = pod.ns,
            .pod = pod.name,
            .uid = pod.uid,
            .container = environment.container,
            .addresses = verb == Verb::del ? std::vector<std::string>()
                                           : pod_addresses(settings.previous, environment.interface),
            .wait_ms = verb == Verb::add ? settings.timeout_s * 1000 : 0};
}

/// Nobody has to be asked: not of Kubernetes, a further network of the pod, or what must start without an agent.
bool is_passed(const Environment& environment, const Settings& settings, const PodName& pod) {
    return pod.ns.empty() || environment.interface != primary_interface ||
           std::ranges::find(settings.excluded, pod.ns) != settings.excluded.end();
}

/// ADD and CHECK: is the pod captured?
std::expected<void, Failure> guard(Verb verb, const Environment& environment, const Settings& settings) {
    if (environment.container.empty() || environment.interface.empty() || environment.netns.empty())
        return std::unexpected(Failure{.code = ErrorCode::environment,
                                       .message = "CNI_CONTAINERID, CNI_IFNAME or CNI_NETNS is missing",
                                       .details = ""});
    if (settings.previous.is_null())
        return std::unexpected(Failure{.code = ErrorCode::config,
                                       .message = "prevResult is missing: the plugin is made to be chained to another",
                                       .details = ""});
    const auto pod = read_args(environment.args);
    if (!pod)
        return std::unexpected(pod.error());
    if (is_passed(environment, settings, *pod))
        return {};
    const Request request = request_for(verb, environment, settings, *pod);
    const uint32_t wait_ms = verb == Verb::add ? request.wait_ms : check_wait_ms;
    const auto answer = ask(settings.socket, request, environment.netns, wait_ms);
    if (answer && answer->outcome != Outcome::refused)
        return {};
    const std::string why = answer ? answer->reason : answer.error();
    const std::string line = "pod " + pod->ns + "/" + pod->name + " is not captured: " + why;
    if (settings.fail_open) {
        if (verb == Verb::add)
            record_fail_open(settings.socket, request);
        say(line + "; it starts all the same, failurePolicy is failOpen");
        return {};
    }
    say(line);
    return std::unexpected(
        Failure{.code = answer ? ErrorCode::not_captured : ErrorCode::try_later, .message = line, .details = ""});
}

/// Whatever is wrong: a pod that goes must not be held up, and the agent finds out by itself.
void let_go(const Environment& environment, const Settings& settings) {
    const auto pod = read_args(environment.args);
    if (!pod || environment.container.empty() || is_passed(environment, settings, *pod))
        return;
    const auto answer =
        ask(settings.socket, request_for(Verb::del, environment, settings, *pod), environment.netns, delete_wait_ms);
    if (!answer)
        say("pod " + pod->ns + "/" + pod->name + " goes, and the agent was not told: " + answer.error());
}

Said run(const Environment& environment, const std::string& input) {
    if (input.size() > stdin_bytes_max && environment.command != "DEL")
        return failed({.code = ErrorCode::decode, .message = "stdin is too long", .details = ""}, "");
    if (environment.command == "VERSION")
        return {.out = version_text(input)};
    const auto settings = read_settings(input);
    if (environment.command == "DEL") {
        if (settings)
            let_go(environment, *settings);
        else
            say("DEL: " + settings.error().message);
        return {};
    }
    if (!settings)
        return failed(settings.error(), "");
    if (environment.command == "ADD" || environment.command == "CHECK") {
        const bool add = environment.command == "ADD";
        if (const auto guarded = guard(add ? Verb::add : Verb::check, environment, *settings); !guarded)
            return failed(guarded.error(), settings->version);
        return {.out = add ? result_text(*settings) : ""};
    }
    // STATUS tells whether ADD can be called, and it can: pods of excluded namespaces start without an agent, others
    // are tried again. A node that is not ready while its agent is replaced would lose its endpoints. GC: nothing is
    // kept.
    if (environment.command == "STATUS" || environment.command == "GC")
        return {};
    return failed({.code = ErrorCode::environment,
                   .message = "CNI_COMMAND: is none of ADD, DEL, CHECK, STATUS, GC, VERSION",
                   .details = ""},
                  settings->version);
}

} // namespace

int main(int argc, char** argv) {
    if (argc == 2 && std::string_view(argv[1]) == "--version") {
        std::puts(WEFT_VERSION);
        return 0;
    }
    const Said said = run({.command = variable("CNI_COMMAND"),
                           .container = variable("CNI_CONTAINERID"),
                           .netns = variable("CNI_NETNS"),
                           .interface = variable("CNI_IFNAME"),
                           .args = variable("CNI_ARGS")},
                          read_stdin());
    std::fputs(said.out.c_str(), stdout);
    return said.code;
}
