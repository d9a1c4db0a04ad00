// SPDX-License-Identifier: Apache-2.0
// weft-l7engine: flags, then rings, then privileges go, then the agent is spoken to.
#include <sched.h>
#include <sys/random.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdio>

#include "config/base/clock.hpp"
#include "config/base/log.hpp"
#include "config/settings/version.hpp"
#include "l7engine/server/control.hpp"
#include "l7engine/server/memory_watch.hpp"
#include "l7engine/server/options.hpp"
#include "l7engine/server/sandbox.hpp"
#include "l7engine/tls/websocket_key.hpp"

namespace {

constexpr int exit_failure = 1;
constexpr int exit_missing = 2; ///< the kernel does not permit what the engine needs

weft::l7::ControlInbox* inbox_of_signals = nullptr;

void on_signal(int) {
    inbox_of_signals->terminate();
}

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

constexpr uint64_t pod_share = 8; ///< of the memory, for what one pod has buffered

int serve(const weft::l7::Options& options, const weft::l7::MemoryWatch& memory) {
    using namespace weft::l7;
    ControlInbox inbox;
    Control* control = nullptr;
    EngineSettings settings = options.engine;
    if (settings.workers == 0)
        settings.workers = cpus();
    if (options.buffers_per_pod_bytes != 0)
        settings.proxy.limits.buffered_bytes_per_pod_max = options.buffers_per_pod_bytes;
    else if (memory.limit() != 0)
        settings.proxy.limits.buffered_bytes_per_pod_max = memory.limit() / pod_share;
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
                  .group = options.group,
                  .drain_timeout_ms = options.drain_timeout_ms,
                  .memory = &memory},
                 **engine, inbox);
    control = &link;
    inbox_of_signals = &inbox;
    (void)std::signal(SIGTERM, on_signal);
    (void)std::signal(SIGINT, on_signal);
    (void)tls::websocket_accept({}); // libcrypto reads its configuration at its first call
    if (const weft::Result<void> locked = lock_system_calls(); !locked)
        return say(exit_failure, locked.error());
    weft::log::info("engine_started", weft::log::kv("workers", settings.workers),
                    weft::log::kv("socket", options.socket), weft::log::kv("memory_limit_bytes", memory.limit()));
    link.run();
    engine->reset();
    weft::log::info("engine_stopped");
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    const auto options = weft::l7::parse_options(argc, argv);
    if (!options)
        return options.error().say();
    (void)std::signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    const weft::l7::MemoryWatch memory(options->memory_bytes); // while files can be opened
    if (const weft::Result<void> dropped = weft::l7::drop_privileges(static_cast<uid_t>(options->user)); !dropped)
        return say(exit_missing, dropped.error());
    weft::log::start("weft-l7engine", options->log_level, options->log_json);
    return serve(*options, memory);
}
