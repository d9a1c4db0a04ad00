// SPDX-License-Identifier: Apache-2.0
#include "l7engine/server/engine.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <future>

namespace weft::l7 {

Result<std::unique_ptr<Engine>> Engine::start(const EngineSettings& settings, AskSockets ask_sockets) {
    std::unique_ptr<Engine> engine(new Engine(settings, std::move(ask_sockets)));
    for (uint32_t index = 0; index < settings.workers; ++index) {
        if (const Result<void> started = engine->start_thread(index); !started)
            return std::unexpected(started.error());
    }
    return engine;
}

Result<void> Engine::start_thread(uint32_t index) {
    auto thread = std::make_unique<Thread>();
    std::promise<Result<void>> ready;
    std::future<Result<void>> waiting = ready.get_future();
    thread->thread = std::jthread([this, index, self = thread.get(), ready = std::move(ready)]() mutable {
        Result<std::unique_ptr<Worker>> worker = Worker::create(index, settings_.ring);
        if (!worker) {
            ready.set_value(std::unexpected(worker.error()));
            return;
        }
        Proxy proxy(**worker, settings_.proxy, settings_.workers,
                    [this, index](SocketStock::Wish wish) { ask_sockets_(index, wish); });
        self->worker = worker->get();
        self->proxy = &proxy;
        ready.set_value({});
        (*worker)->run();
    });
    const Result<void> started = waiting.get();
    if (started)
        threads_.push_back(std::move(thread));
    return started;
}

Engine::~Engine() {
    for (const std::unique_ptr<Thread>& thread : threads_) {
        Worker* worker = thread->worker;
        // Also after a full drain: then there is nothing to cut and this runs at once.
        worker->post([worker, proxy = thread->proxy] { proxy->drain(0, [worker] { worker->stop(); }); });
    }
    for (const std::unique_ptr<Thread>& thread : threads_)
        thread->thread.join();
}

std::vector<uint32_t> Engine::shard(uint32_t pod_id) const {
    const uint32_t size = std::min(std::max(settings_.shard, 1U), workers());
    std::vector<uint32_t> members;
    for (uint32_t index = 0; index < size; ++index)
        members.push_back((pod_id + index) % workers());
    return members;
}

void Engine::post(uint32_t worker, std::move_only_function<void(Proxy&)> work) {
    Thread& thread = *threads_[worker];
    if (thread.worker->post([proxy = thread.proxy, work = std::move(work)]() mutable { work(*proxy); }))
        return;
    std::fprintf(stderr, "weft-l7engine: worker %u takes no more work\n", worker);
    std::abort();
}

std::vector<uint64_t> Engine::turns() const {
    std::vector<uint64_t> turns;
    turns.reserve(threads_.size());
    for (const std::unique_ptr<Thread>& thread : threads_)
        turns.push_back(thread->worker->turns());
    return turns;
}

} // namespace weft::l7
