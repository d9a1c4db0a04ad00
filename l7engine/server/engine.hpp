// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "l7engine/proxy/proxy.hpp"

namespace weft::l7 {

struct EngineSettings {
    uint32_t workers = 1;
    uint32_t shard = 2; ///< workers that serve one pod: a noisy pod cannot take them all
    RingSettings ring;
    ProxySettings proxy;
};

/// The worker threads with their proxies. Owned by the control thread, which alone calls it.
class Engine {
public:
    /// `ask_sockets` runs on worker threads.
    using AskSockets = std::function<void(uint32_t worker, SocketStock::Wish)>;

    /// Starts the threads and waits until each has its ring. The error is the first worker's that failed.
    [[nodiscard]] static Result<std::unique_ptr<Engine>> start(const EngineSettings& settings, AskSockets ask_sockets);
    /// Stops and joins; connections that are left are cut.
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    [[nodiscard]] uint32_t workers() const { return static_cast<uint32_t>(threads_.size()); }
    /// Which workers serve a pod.
    [[nodiscard]] std::vector<uint32_t> shard(uint32_t pod_id) const;
    /// Runs on that worker's thread. A worker that takes no more work hangs, and what the agent was told would be
    /// wrong: the process ends, and is started again.
    void post(uint32_t worker, std::move_only_function<void(Proxy&)> work);
    [[nodiscard]] std::vector<uint64_t> turns() const;

private:
    struct Thread {
        std::jthread thread;
        Worker* worker = nullptr; ///< its thread's; valid until joined
        Proxy* proxy = nullptr;
    };
    Engine(const EngineSettings& settings, AskSockets ask_sockets)
        : settings_(settings), ask_sockets_(std::move(ask_sockets)) {}
    Result<void> start_thread(uint32_t index);

    EngineSettings settings_;
    AskSockets ask_sockets_;
    std::vector<std::unique_ptr<Thread>> threads_;
};

} // namespace weft::l7
