// SPDX-License-Identifier: Apache-2.0
#include "agent/run.hpp"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "agent/bpf/datapath.hpp"
#include "agent/bpf/loader.hpp"
#include "agent/bpf/pins.hpp"
#include "agent/bpf/probe.hpp"
#include "agent/engine/control.hpp"
#include "agent/inbox.hpp"
#include "agent/kube/source.hpp"
#include "agent/loop.hpp"
#include "agent/metrics/collector.hpp"
#include "agent/metrics/server.hpp"
#include "agent/requirements.hpp"
#include "agent/source/names.hpp"
#include "agent/source/watched_directory.hpp"
#include "agent/status/writer.hpp"
#include "config/base/log.hpp"

namespace weft::agent {
namespace {

constexpr uint32_t scrape_wait_ms = 1000;
constexpr const char* service_account_folder = "/var/run/secrets/kubernetes.io/serviceaccount";
constexpr const char* default_namespace = "weft-system";
/// After nothing is redirected any more, before the engine stops accepting: what already is in its backlog is accepted.
constexpr auto backlog_wait = std::chrono::milliseconds(100);

int complain(const std::string& why, int exit_code) {
    std::fprintf(stderr, "weft-agent: %s\n", why.c_str());
    return exit_code;
}

std::optional<metrics::DatapathReport> datapath_report(Inbox& inbox) {
    ReportWanted wanted;
    std::future<metrics::DatapathReport> answer = wanted.answer.get_future();
    if (!inbox.put(std::move(wanted)) ||
        answer.wait_for(std::chrono::milliseconds(scrape_wait_ms)) != std::future_status::ready)
        return std::nullopt;
    return answer.get();
}

/// The parts of a running agent. They refer to each other in this order, and end in the reverse.
class Agent {
public:
    struct Parts {
        std::unique_ptr<Source> source;
        std::optional<status::Writer::Settings> writer; ///< nullopt: nothing is written to the API
    };
    Agent(const Options& options, bpf::Datapath datapath, Parts parts, std::string cgroup, bool adopted)
        : options_(options), datapath_(std::move(datapath)), parts_(std::move(parts)), cgroup_(std::move(cgroup)),
          adopted_(adopted) {}

    std::expected<void, std::string> start() {
        auto control = engine::Control::start(control_settings(), counters_, collector_);
        if (!control)
            return std::unexpected(control.error());
        control_ = *std::move(control);
        if (parts_.writer)
            writer_ = std::make_unique<status::Writer>(*std::move(parts_.writer), counters_);
        loop_ =
            std::make_unique<Loop>(loop_settings(), std::move(parts_.source), datapath_, inbox_, *control_, counters_);
        auto server = metrics::HttpServer::start(options_.metrics_address, handlers());
        if (!server)
            return std::unexpected(server.error());
        server_ = *std::move(server);
        thread_ = std::jthread([this] { loop_->run(); });
        return {};
    }

    void stop(bool keep) {
        // Beside the rest: the library takes up to two seconds to end its threads.
        const std::jthread server_stop([this] {
            if (server_)
                server_->stop();
        });
        if (thread_.joinable()) {
            inbox_.put(StopWanted{});
            thread_.join();
        }
        // Beside the rest: an API server that does not answer holds nothing up.
        const std::jthread writer_stop([this, keep] {
            if (writer_)
                writer_->stop(!keep);
        });
        if (keep) {
            if (control_)
                control_->stop(engine::Control::Ending::keep_engine);
            return;
        }
        // Nothing new comes to the engine; what it has, it ends, and for that its own dials still need their hooks.
        stop_redirecting();
        std::this_thread::sleep_for(backlog_wait);
        if (control_)
            control_->stop(engine::Control::Ending::stop_engine);
        if (const auto removed = bpf::remove_pins(options_.pin_dir, bpf::datapath_map_names()); !removed)
            log::error("cleanup_failed", log::kv("reason", removed.error()));
    }

private:
    void stop_redirecting() {
        const auto said = [](const Result<void>& done) {
            if (!done)
                log::error("cleanup_failed", log::kv("reason", to_string(done.error())));
        };
        for (const uint32_t pod_id : datapath_.attached_pods())
            said(datapath_.detach_pod(pod_id));
        KernelState now = datapath_.current();
        for (auto& [address, service] : now.services) {
            if (!std::exchange(service.l7, false))
                continue;
            const MapOperation direct = PutService{.address = address, .service = service};
            said(datapath_.apply({&direct, 1}));
        }
    }

    engine::Control::Settings control_settings() {
        engine::Control::Settings settings{
            .socket_path = options_.socket,
            .engine_user = static_cast<uid_t>(options_.engine_user),
            .supply = {},
            .engine = std::nullopt,
            .post = [this](engine::ControlEvent event) { return inbox_.put(std::move(event)); }};
        settings.supply.version = agent_version();
        settings.supply.engine_state_fd = datapath_.engine_state_fd();
        settings.supply.dial_slots_fd = datapath_.dial_slots_fd();
        settings.supply.dial_slots = WEFT_DIAL_SLOTS_MAX;
        // One bpf(2) call on a descriptor that does not change: no lock is needed beside the loop's thread.
        settings.supply.mark_socket = [this](int fd) { return datapath_.mark_engine_socket(fd); };
        if (!options_.engine.empty()) {
            std::vector<std::string> arguments{"--socket", options_.socket};
            if (options_.engine_user != 0)
                arguments.insert(arguments.end(), {"--user", std::to_string(options_.engine_user)});
            arguments.insert(arguments.end(), options_.engine_arguments.begin(), options_.engine_arguments.end());
            settings.engine = engine::EngineProcess::Settings{.program = options_.engine,
                                                              .arguments = std::move(arguments),
                                                              .state_file = options_.engine_state_file()};
        }
        return settings;
    }

    Loop::Settings loop_settings() const {
        Loop::Settings settings{
            .compile = {.trust_domain = options_.trust_domain,
                        .cluster_id = options_.cluster_id,
                        .cluster_domain = options_.cluster_domain,
                        .root_namespace = options_.root_namespace,
                        .gateway_classes = options_.gateway_classes,
                        .node = {.name = options_.node_name, .trusts_annotation = !options_.directory.empty()},
                        .translate = true},
            .version = agent_version(),
            .cgroup = cgroup_,
            .pin_dir = options_.pin_dir,
            .kubepods_root = options_.kubepods_root,
            .objects_file = options_.objects_file(),
            .adopted = adopted_,
            .runs_engine = !options_.engine.empty(),
            .former_engine = std::nullopt,
            .writer = writer_.get()};
        if (!options_.engine.empty())
            settings.former_engine = engine::recorded_engine(options_.engine_state_file());
        return settings;
    }

    metrics::HttpServer::Handlers handlers() {
        const auto answer = [](Loop::Readiness said) {
            return metrics::HttpServer::Answer{.good = said.good, .text = std::move(said.text)};
        };
        return {.metrics = [this](std::ostream& out) { write_page(out); },
                .busy = [this] { counters_.add(metrics::Event::scrape_failure, "busy"); },
                .ready = [this, answer] { return answer(loop_->ready()); },
                .healthy = [this, answer] { return answer(loop_->healthy()); }};
    }

    void write_page(std::ostream& out) {
        if (!control_->collect(scrape_wait_ms))
            counters_.add(metrics::Event::scrape_failure, "engine");
        auto report = datapath_report(inbox_);
        if (!report)
            counters_.add(metrics::Event::scrape_failure, "datapath");
        collector_.write_page(std::move(report), loop_->report(), out);
    }

    const Options& options_;
    bpf::Datapath datapath_;
    Parts parts_; ///< until each has its owner
    const std::string cgroup_;
    const bool adopted_;
    metrics::Counters counters_;
    metrics::Collector collector_{counters_, agent_version()};
    Inbox inbox_;
    std::unique_ptr<engine::Control> control_;
    std::unique_ptr<status::Writer> writer_;
    std::unique_ptr<Loop> loop_;
    std::unique_ptr<metrics::HttpServer> server_;
    std::jthread thread_;
};

int wait_for_signal() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGTERM, SIGINT, SIGHUP})
        sigaddset(&signals, number);
    int number = 0;
    sigwait(&signals, &number);
    return number;
}

std::expected<kube::ApiServer, std::string> find_api_server(const Options& options) {
    if (options.kubeconfig.empty()) {
        const auto environment = [](const char* name) {
            const char* value = std::getenv(name);
            return value == nullptr ? std::nullopt : std::optional<std::string>(value);
        };
        return kube::in_cluster(environment, service_account_folder);
    }
    std::ifstream file(options.kubeconfig);
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (!file)
        return std::unexpected("--kubeconfig: cannot read " + options.kubeconfig);
    auto server = kube::read_kubeconfig(text, std::filesystem::path(options.kubeconfig).parent_path());
    if (!server)
        return std::unexpected("--kubeconfig: " + options.kubeconfig + ": " + server.error());
    return server;
}

std::string own_namespace(const Options& options) {
    if (!options.own_namespace.empty())
        return options.own_namespace;
    std::ifstream file(std::string(service_account_folder) + "/namespace");
    std::string name;
    std::getline(file, name);
    return names::is_dns_label(name) ? name : default_namespace;
}

std::expected<Agent::Parts, std::string> open_source(const Options& options) {
    Agent::Parts out;
    if (options.directory.empty()) {
        auto server = find_api_server(options);
        if (!server)
            return std::unexpected(server.error());
        out.source = std::make_unique<kube::KubeSource>(*server);
        if (options.writes_status())
            out.writer = status::Writer::Settings{
                .server = *std::move(server), .ns = own_namespace(options), .node = options.node_name};
        return out;
    }
    Result<std::unique_ptr<Source>> directory = WatchedDirectory::open(options.directory);
    if (!directory)
        return std::unexpected(to_string(directory.error()));
    out.source = *std::move(directory);
    return out;
}

int run_locked(const Options& options) {
    std::string cgroup = options.cgroup;
    if (cgroup.empty()) {
        auto mount = bpf::find_cgroup2_mount();
        if (!mount)
            return complain(mount.error(), exit_missing_requirement);
        cgroup = *std::move(mount);
    }
    if (const auto there = bpf::probe({.pin_dir = options.pin_dir, .cgroup = cgroup}); !there)
        return complain(there.error(), exit_missing_requirement);
    if (const auto inside = require_inside(cgroup); !inside)
        return complain(inside.error(), exit_missing_requirement);
    raise_descriptor_limit();
    std::expected<Agent::Parts, std::string> source = open_source(options);
    if (!source)
        return complain("--source " + options.source + ": " + source.error(), exit_failure);
    const bool adopted = !bpf::list_pins(options.pin_dir).empty();
    auto datapath = bpf::Datapath::open(
        {.pin_dir = options.pin_dir, .cgroup = cgroup, .engine_timeout_ns = options.engine_timeout_ms * 1'000'000U});
    if (!datapath)
        return complain(datapath.error(), exit_failure);
    log::info("agent_started", log::kv("version", agent_version()), log::kv("source", options.source),
              log::kv("cgroup", cgroup), log::kv("pin_dir", options.pin_dir), log::kv("adopted", adopted));
    Agent agent(options, *std::move(datapath), *std::move(source), cgroup, adopted);
    if (const auto started = agent.start(); !started) {
        // What a former run has in force stays in force; what we have just made does not.
        agent.stop(adopted);
        return complain(started.error(), exit_failure);
    }
    const int number = wait_for_signal();
    log::info("agent_stopping", log::kv("signal", number), log::kv("keep", options.keep));
    agent.stop(options.keep);
    return 0;
}

} // namespace

int run_agent(const Options& options) {
    const auto lock = lock_socket(options.lock_file());
    if (!lock)
        return complain(lock.error(), exit_failure);
    const int exit_code = run_locked(options);
    if (bpf::list_pins(options.pin_dir).empty()) { // nothing of ours is in force: nothing of ours is left
        ::unlink(options.objects_file().c_str());
        ::unlink(options.lock_file().c_str());
    }
    return exit_code;
}

int clean_up(const Options& options) {
    const auto lock = lock_socket(options.lock_file());
    if (!lock)
        return complain(lock.error(), exit_failure);
    // The hooks first: while the engine ends, nobody is sent to it.
    const auto removed = bpf::Datapath::cleanup(options.pin_dir);
    if (const auto left = engine::recorded_engine(options.engine_state_file()))
        engine::terminate(*left, engine::terminate_wait_ms);
    for (const std::string& path :
         {options.engine_state_file(), options.objects_file(), options.socket, options.lock_file()})
        ::unlink(path.c_str());
    return removed ? 0 : complain(removed.error(), exit_failure);
}

} // namespace weft::agent
