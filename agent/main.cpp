// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include "agent/heap.hpp"
#include "agent/options.hpp"
#include "agent/run.hpp"
#include "agent/takeover.hpp"
#include "config/base/log.hpp"

int main(int argc, char** argv) {
    weft::agent::Options options;
    if (const std::optional<int> done = weft::agent::parse_options(argc, argv, options))
        return *done;
    weft::agent::keep_heap_small();
    weft::log::start("weft-agent", options.log_level, options.log_json);
    // Before any thread starts, so that all of them inherit it: the main thread waits for these.
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGTERM, SIGINT, SIGHUP, weft::agent::step_aside_signal})
        sigaddset(&signals, number);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    signal(SIGPIPE, SIG_IGN);
    return options.cleanup ? weft::agent::clean_up(options) : weft::agent::run_agent(options);
}
