// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <string>

#include "agent/ctl/client.hpp"
#include "agent/ctl/table.hpp"
#include "config/settings/flags.hpp"

namespace {

using weft::Json;
namespace ctl = weft::agent::ctl;

struct Options {
    std::string socket = "/run/weft/agent.sock";
    uint64_t timeout_s = 10;
    std::string output = "table";
    bool strict = false;
};

int complain(const std::string& why) {
    std::fprintf(stderr, "weftctl: %s\n", ctl::printable(why).c_str());
    return 1;
}

int show_status(const Options& options) {
    if (options.output != "table" && options.output != "json")
        return complain("-o: must be table or json, not " + options.output);
    const auto answer = ctl::ask(options.socket, ctl::Verb::status, static_cast<uint32_t>(options.timeout_s * 1000));
    if (!answer)
        return complain(answer.error());
    if (!answer->ok)
        return complain(answer->error);
    const std::string text = options.output == "json" ? answer->json.dump(2) + "\n" : ctl::status_text(answer->json);
    std::fputs(text.c_str(), stdout);
    return 0;
}

int synchronise(const Options& options) {
    const auto answer = ctl::ask(options.socket, ctl::Verb::sync, static_cast<uint32_t>(options.timeout_s * 1000));
    if (!answer)
        return complain(answer.error());
    size_t warnings = 0;
    if (answer->json.is_object() && answer->json.contains("warnings")) {
        for (const Json& line : answer->json["warnings"]) {
            std::fprintf(stderr, "weftctl: warning: %s\n", ctl::printable(line.get<std::string>()).c_str());
            ++warnings;
        }
    }
    if (!answer->ok)
        return complain("not in force: " + answer->error);
    return options.strict && warnings != 0 ? 1 : 0;
}

} // namespace

int main(int argc, char** argv) {
    Options options;
    weft::config::Flags flags("weftctl", "Asks the Weft agent of this node.", WEFT_VERSION);
    flags.text("--socket", options.socket, "PATH", "the agent's control socket");
    flags.number("--timeout", options.timeout_s, 1, 600, "seconds to wait");
    weft::config::Flags& status = flags.command("status", "what is in force, and what is wrong");
    status.text("-o", options.output, "table|json", "the form of the output");
    weft::config::Flags& sync =
        flags.command("sync", "waits until all that the source holds now is in force; fails if it cannot be read");
    sync.toggle("--strict", options.strict, "exit 1 also for refused objects and pods whose namespace is not there");
    if (const std::optional<int> done = flags.parse(argc, argv))
        return *done;
    return status.given() ? show_status(options) : synchronise(options);
}
