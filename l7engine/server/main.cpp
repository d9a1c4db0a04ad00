// SPDX-License-Identifier: Apache-2.0
// weft-l7engine: flags, then rings, then privileges go, then the agent is spoken to.
#include <sched.h>
#include <sys/random.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdio>

#include "config/base/clock.hpp"
#include "config/base/log.hpp"
#include "config/settings/flags.hpp"
#include "config/settings/version.hpp"
#include "l7engine/server/control.hpp"
#include "l7engine/server/sandbox.hpp"

namespace {

constexpr int exit_failure = 1;
constexpr int exit_missing = 2; ///< the kernel does not permit what the engine needs

struct Options {
    std::string socket = "/run/weft/agent.sock";
    uint64_t workers = 0; ///< 0: one per CPU
    uint64_t user = 65532;
    uint64_t drain_timeout_s = 30;
    uint64_t exchange_timeout_s = weft::l7::ProxySettings{}.exchange_idle_timeout_ms / 1000;
    uint64_t tunnel_timeout_s = weft::l7::ProxySettings{}.tunnel_idle_timeout_ms / 1000;
    uint64_t sniff_timeout_ms = weft::l7::ProxySettings{}.sniff_timeout_ms;
    weft::log::Level level = weft::log::Level::info;
    bool json = false;
};

weft::l7::ControlInbox* inbox_of_signals = nullptr;

void on_signal(int) { inbox_of_signals->terminate(); }

uint32_t cpus() {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    return static_cast<uint32_t>(CPU_COUNT(&set));
}

/// Connections are descriptors: as many as the host allows.
void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); // lower only means that accepts run short sooner, which is counted
    }
}

int say(int code, const weft::Error& error) {
    std::fprintf(stderr, "weft-l7engine: %s\n", weft::to_string(error).c_str());
    return code;
}

int serve(const Options& options) {
    using namespace weft::l7;
    ControlInbox inbox;
    Control* control = nullptr;
    EngineSettings settings;
    settings.workers = options.workers == 0 ? cpus() : static_cast<uint32_t>(options.workers);
    settings.proxy.exchange_idle_timeout_ms =
        options.exchange_timeout_s == 0 ? never : options.exchange_timeout_s * 1000;
    settings.proxy.tunnel_idle_timeout_ms = options.tunnel_timeout_s == 0 ? never : options.tunnel_timeout_s * 1000;
    settings.proxy.sniff_timeout_ms = options.sniff_timeout_ms;
    if (getrandom(&settings.proxy.seed, sizeof settings.proxy.seed, 0) != sizeof settings.proxy.seed)
        settings.proxy.seed = weft::monotonic_ns();
    weft::Result<std::unique_ptr<Engine>> engine =
        Engine::start(settings, [&inbox, &control](uint32_t worker, SocketStock::Wish wish) {
            inbox.post([&control, worker, wish] { control->ask_sockets(worker, wish); });
        });
    if (!engine) {
        const bool ring = std::string_view(engine.error().during).starts_with("io_uring");
        std::fprintf(stderr, "weft-l7engine: %s%s\n", weft::to_string(engine.error()).c_str(),
                     ring ? " - io_uring must be permitted (sysctl kernel.io_uring_disabled, container profile)" : "");
        return exit_missing;
    }
    Control link({.socket_path = options.socket,
                  .version = std::string(weft::config::version),
                  .drain_timeout_ms = options.drain_timeout_s * 1000},
                 **engine, inbox);
    control = &link;
    inbox_of_signals = &inbox;
    (void)std::signal(SIGTERM, on_signal);
    (void)std::signal(SIGINT, on_signal);
    if (const weft::Result<void> locked = lock_system_calls(); !locked)
        return say(exit_failure, locked.error());
    weft::log::info("engine_started", weft::log::kv("workers", settings.workers),
                    weft::log::kv("socket", options.socket));
    link.run();
    engine->reset();
    weft::log::info("engine_stopped");
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    Options options;
    weft::config::Flags flags("weft-l7engine", "Weft's L7 engine: serves what the agent hands over.",
                              weft::config::version);
    flags.text("--socket", options.socket, "PATH", "the agent's Unix socket");
    flags.number("--workers", options.workers, 0, 1024, "worker threads; 0: one per CPU");
    flags.number("--user", options.user, 1, 0xfffffffe, "uid and gid to run as when started by root");
    flags.number("--drain-timeout", options.drain_timeout_s, 0, 86400, "seconds that open exchanges get at the end");
    flags.number("--exchange-idle-timeout", options.exchange_timeout_s, 0, 31'536'000,
                 "seconds without a byte of a request or its reply, then 504 or a reset; 0: no limit");
    flags.number("--tunnel-idle-timeout", options.tunnel_timeout_s, 0, 31'536'000,
                 "seconds without a byte of an opaque connection, then a reset; 0: no limit");
    flags.number("--sniff-timeout", options.sniff_timeout_ms, 1, 60'000,
                 "milliseconds for which a client of an undeclared port may be silent; then it is opaque TCP");
    flags.level("--log-level", options.level, "least level that is written");
    flags.toggle("--log-json", options.json, "log lines as JSON");
    if (const std::optional<int> code = flags.parse(argc, argv))
        return *code;
    (void)std::signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    if (const weft::Result<void> dropped = weft::l7::drop_privileges(static_cast<uid_t>(options.user)); !dropped)
        return say(exit_missing, dropped.error());
    weft::log::start("weft-l7engine", options.level, options.json);
    return serve(options);
}
