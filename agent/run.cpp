// SPDX-License-Identifier: Apache-2.0
#include "agent/run.hpp"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <thread>

#include "agent/bpf/datapath.hpp"
#include "agent/bpf/loader.hpp"
#include "agent/bpf/pins.hpp"
#include "agent/bpf/probe.hpp"
#include "agent/cni/installer.hpp"
#include "agent/cni/server.hpp"
#include "agent/engine/control.hpp"
#include "agent/hold.hpp"
#include "agent/inbox.hpp"
#include "agent/kube/daemonset.hpp"
#include "agent/kube/source.hpp"
#include "agent/loop.hpp"
#include "agent/metrics/collector.hpp"
#include "agent/metrics/server.hpp"
#include "agent/requirements.hpp"
#include "agent/source/names.hpp"
#include "agent/source/watched_directory.hpp"
#include "agent/status/writer.hpp"
#include "agent/takeover.hpp"
#include "config/base/clock.hpp"
#include "config/base/log.hpp"

namespace weft::agent {
namespace {

constexpr uint32_t scrape_wait_ms = 1000;
constexpr uint64_t existence_wait_ms = 2000;
constexpr uint64_t linger_max_ms = 3000; ///< an engine that stands by asks at least every second
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

cni::Folders cni_folders(const Options& options) {
    return {.conf = options.cni_conf_dir, .bin = options.cni_bin_dir};
}

/// What socket and plugin leave in the folder of the socket.
std::vector<std::string> cni_files(const Options& options) {
    return {options.cni_socket, options.cni_socket + std::string(weft::cni::fail_open_suffix)};
}

std::string cni_program(const Options& options) {
    if (!options.cni_plugin.empty())
        return options.cni_plugin;
    std::error_code fault;
    return std::filesystem::read_symlink("/proc/self/exe", fault).parent_path() / "weft-cni";
}

/// The parts of a running agent. They refer to each other in this order, and end in the reverse.
class Agent {
public:
    struct Parts {
        std::unique_ptr<Source> source;
        std::optional<status::Writer::Settings> writer; ///< nullopt: nothing is written to the API
        ObjectStore store{};                            ///< what was read of the source already
    };
    Agent(const Options& options, bpf::Datapath datapath, Parts parts, std::string cgroup, bool adopted,
          bool engine_comes)
        : options_(options), datapath_(std::move(datapath)), parts_(std::move(parts)), cgroup_(std::move(cgroup)),
          adopted_(adopted), engine_comes_(engine_comes) {}

    std::expected<void, std::string> start() {
        auto control = engine::Control::start(control_settings(), counters_, collector_);
        if (!control)
            return std::unexpected(control.error());
        control_ = *std::move(control);
        if (parts_.writer)
            writer_ = std::make_unique<status::Writer>(*std::move(parts_.writer), counters_);
        loop_ = std::make_unique<Loop>(loop_settings(), std::move(parts_.source), std::move(parts_.store), datapath_,
                                       inbox_, *control_, counters_);
        if (const auto served = start_cni(); !served)
            return std::unexpected(served.error());
        auto server = metrics::HttpServer::start(options_.metrics_address, handlers());
        if (!server)
            return std::unexpected(server.error());
        server_ = *std::move(server);
        thread_ = std::jthread([this] { loop_->run(); });
        return {};
    }

    /// Its pod goes while another agent stands by (an upgrade is taken back): that one's engine takes over from ours,
    /// which drains, before the last descriptors of the listeners are closed.
    void linger() const {
        if (options_.group.empty() || !others_stand_by(options_.standby_file(), options_.group))
            return;
        const uint64_t deadline = monotonic_ms() + linger_max_ms;
        for (engine::EngineView view = control_->engine();
             (!view.connected || view.group == options_.group) && monotonic_ms() < deadline; view = control_->engine())
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }

    void stop(bool keep) {
        stop_cni_installer(keep); // first of all: no pod is held any more that nobody would let go
        // Beside the rest: the library takes up to two seconds to end its threads.
        const std::jthread server_stop([this] {
            if (server_)
                server_->stop();
        });
        if (thread_.joinable()) {
            inbox_.put(StopWanted{});
            thread_.join();
        }
        if (cni_server_)
            cni_server_->stop();
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
        if (cni_server_)
            for (const std::string& path : cni_files(options_))
                ::unlink(path.c_str());
    }

private:
    /// The socket, then the installer, which waits until the agent has been ready once.
    std::expected<void, std::string> start_cni() {
        if (options_.cni_remove)
            return cni::uninstall(cni_folders(options_));
        if (options_.cni_socket.empty())
            return {};
        auto listener = engine::listen_at(options_.cni_socket, 0, SOCK_SEQPACKET);
        if (!listener)
            return std::unexpected("--cni-socket " + listener.error());
        auto server = cni::Server::start({.listener = *std::move(listener),
                                          .socket_path = options_.cni_socket,
                                          .post = [this](cni::Event event) { return inbox_.put(std::move(event)); }},
                                         counters_);
        if (!server)
            return std::unexpected(server.error());
        cni_server_ = *std::move(server);
        if (options_.cni_conf_dir.empty())
            return {};
        auto installer = cni::Installer::start({.folders = cni_folders(options_),
                                                .program = cni_program(options_),
                                                .plugin = {.socket = options_.cni_socket,
                                                           .fail_open = options_.cni_fail_open,
                                                           .timeout_s = static_cast<uint32_t>(options_.cni_timeout_s),
                                                           .excluded = options_.cni_exclude_namespaces},
                                                .may_install = [this] { return loop_->ready().good; }},
                                               counters_);
        if (!installer)
            return std::unexpected(installer.error());
        cni_installer_ = *std::move(installer);
        return {};
    }

    void stop_cni_installer(bool keep) {
        if (!cni_installer_)
            return;
        cni_installer_->stop();
        if (keep)
            return;
        if (const auto removed = cni::uninstall(cni_folders(options_)); !removed)
            log::error("cleanup_failed", log::kv("reason", removed.error()));
    }

    /// With a CNI configuration that lacks our entry pods start before they are captured. Without any, none can start.
    Loop::Readiness ready() const {
        Loop::Readiness said = loop_->ready();
        if (!said.good || !cni_installer_)
            return said;
        const cni::Installer::View view = cni_installer_->view();
        using enum cni::Installer::State;
        if (view.state == none || view.state == installed)
            return said;
        return {.good = false, .text = "weft-cni is not installed: " + (view.reason.empty() ? "not yet" : view.reason)};
    }

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
            .group = options_.group,
            .drain_timeout_ms = static_cast<uint32_t>(options_.engine_drain_s * 1000),
            .listeners_wait_ms = engine_comes_ ? engine_grace_ms : 0,
            .post = [this](engine::ControlEvent event) { return inbox_.put(std::move(event)); }};
        settings.supply.version = agent_version();
        settings.supply.engine_state_fd = datapath_.engine_state_fd();
        settings.supply.dial_slots_fd = datapath_.dial_slots_fd();
        settings.supply.dial_slots = WEFT_DIAL_SLOTS_MAX;
        // One bpf(2) call on a descriptor that does not change: no lock is needed beside the loop's thread.
        settings.supply.mark_socket = [this](int fd) { return datapath_.mark_engine_socket(fd); };
        if (!options_.engine.empty()) {
            std::vector<std::string> arguments{"--socket", options_.socket};
            if (!options_.group.empty())
                arguments.insert(arguments.end(), {"--group", options_.group});
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
                        .translate = !options_.directory.empty()},
            .version = agent_version(),
            .cgroup = cgroup_,
            .pin_dir = options_.pin_dir,
            .kubepods_root = options_.kubepods_root,
            .kubelet_port = static_cast<uint16_t>(options_.kubelet_port),
            .objects_file = options_.objects_file(),
            .adopted = adopted_,
            .runs_engine = !options_.engine.empty(),
            .former_engine = std::nullopt,
            .group = options_.group,
            .ready = [this] { return ready(); },
            .step_aside = [] { kill(getpid(), step_aside_signal); },
            .writer = writer_.get()};
        if (!options_.engine.empty())
            settings.former_engine = engine::recorded_engine(options_.engine_state_file());
        if (!options_.cni_socket.empty())
            settings.cni_reply = [this](uint64_t token, const cni::Answer& answer) {
                cni_server_->reply(token, answer);
            };
        settings.cni_status = [this] { return cni_installer_ ? cni_installer_->status() : Json(nullptr); };
        return settings;
    }

    metrics::HttpServer::Handlers handlers() {
        const auto answer = [](Loop::Readiness said) {
            return metrics::HttpServer::Answer{.good = said.good, .text = std::move(said.text)};
        };
        return {.metrics = [this](std::ostream& out) { write_page(out); },
                .busy = [this] { counters_.add(metrics::Event::scrape_failure, "busy"); },
                .ready = [this, answer] { return answer(ready()); },
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
    const bool engine_comes_; ///< of the agent whose place this is, with its listeners
    metrics::Counters counters_;
    metrics::Collector collector_{counters_, agent_version()};
    Inbox inbox_;
    std::unique_ptr<engine::Control> control_;
    std::unique_ptr<status::Writer> writer_;
    std::unique_ptr<Loop> loop_;
    std::unique_ptr<cni::Server> cni_server_;
    std::unique_ptr<cni::Installer> cni_installer_;
    std::unique_ptr<metrics::HttpServer> server_;
    std::jthread thread_;
};

void forget_step_aside() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, step_aside_signal);
    const timespec none{};
    while (sigtimedwait(&signals, nullptr, &none) > 0) {
    }
}

int wait_for_signal() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGTERM, SIGINT, SIGHUP, step_aside_signal})
        sigaddset(&signals, number);
    int number = 0;
    sigwait(&signals, &number);
    return number;
}

std::expected<kube::ApiServer, std::string> find_api_server(const Options& options) {
    return kube::find_api_server(options.kubeconfig, service_account_folder);
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

/// Why the agent cannot run here; else the cgroup2 folder to attach to.
std::expected<std::string, std::string> usable_cgroup(const Options& options) {
    std::string cgroup = options.cgroup;
    if (cgroup.empty()) {
        auto mount = bpf::find_cgroup2_mount();
        if (!mount)
            return std::unexpected(mount.error());
        cgroup = *std::move(mount);
    }
    // In a pod the mount would be the container's own, and end with it.
    const bool may_mount = !options.directory.empty();
    if (const auto there = bpf::probe({.pin_dir = options.pin_dir, .cgroup = cgroup, .may_mount = may_mount}); !there)
        return std::unexpected(there.error());
    if (const auto inside = require_inside(cgroup); !inside)
        return std::unexpected(inside.error());
    return cgroup;
}

/// The DaemonSet of --daemonset, followed; nullptr: none was named. Its server was found before.
std::unique_ptr<kube::DaemonSetWatch> follow_daemonset(const Options& options) {
    const size_t slash = options.daemonset.find('/');
    if (slash == std::string::npos)
        return nullptr;
    auto server = find_api_server(options);
    if (!server)
        return nullptr;
    return std::make_unique<kube::DaemonSetWatch>(*std::move(server), options.daemonset.substr(0, slash),
                                                  options.daemonset.substr(slash + 1));
}

/// Nobody has said yet: a moment more, the answer may be on its way.
bool is_deleted(const kube::DaemonSetWatch& daemonset) {
    const uint64_t deadline = monotonic_ms() + existence_wait_ms;
    while (daemonset.existence() == kube::Existence::unknown && monotonic_ms() < deadline)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return daemonset.existence() == kube::Existence::deleted;
}

struct Ended {
    int exit_code = 0;
    bool aside = false; ///< another agent takes the place
};

/// With the lock held, until a signal.
Ended serve(const Options& options, const std::string& cgroup, Agent::Parts parts, bool engine_comes,
            const kube::DaemonSetWatch* daemonset) {
    const bool adopted = !bpf::list_pins(options.pin_dir).empty();
    auto datapath = bpf::Datapath::open(
        {.pin_dir = options.pin_dir, .cgroup = cgroup, .engine_timeout_ns = options.engine_timeout_ms * 1'000'000U});
    if (!datapath)
        return {.exit_code = complain(datapath.error(), exit_failure)};
    log::info("agent_started", log::kv("version", agent_version()), log::kv("source", options.source),
              log::kv("cgroup", cgroup), log::kv("pin_dir", options.pin_dir), log::kv("adopted", adopted));
    Agent agent(options, *std::move(datapath), std::move(parts), cgroup, adopted, engine_comes);
    if (const auto started = agent.start(); !started) {
        // What a former run has in force stays in force; what we have just made does not.
        agent.stop(adopted);
        return {.exit_code = complain(started.error(), exit_failure)};
    }
    forget_step_aside(); // asked twice: the second time was meant for the same
    const int number = wait_for_signal();
    const bool aside = number == step_aside_signal;
    const bool cleans = options.daemonset.empty() ? !options.keep : daemonset != nullptr && is_deleted(*daemonset);
    const bool keep = aside || !cleans;
    if (keep && number == SIGTERM)
        agent.linger();
    log::info("agent_stopping", log::kv("signal", number), log::kv("keep", keep));
    agent.stop(keep);
    return {.exit_code = 0, .aside = aside};
}

/// Stands by, and says so for `weftctl ready`: the pod is as good as it was, until the other has proven itself.
UniqueFd wait_aside(const Options& options) {
    write_standby(options.standby_file(), options.group);
    UniqueFd lock = stand_by(options.lock_file());
    ::unlink(options.standby_file().c_str());
    return lock;
}

/// What another agent has in force is left alone by one that would not put the same in force: its source is not whole,
/// or lacks what was there (hold.hpp). Reads on meanwhile, so that changes do not pile up.
class Newcomer {
public:
    explicit Newcomer(const Options& options) : options_(options) {}

    bool may_take_over(Agent::Parts& parts) {
        const bool settled = !parts.source->unsettled();
        if (parts.source->ready() || (settled && !read_)) {
            LoadResult loaded = parts.source->load(std::move(parts.store));
            std::vector<std::string> reasons = reasons_to_hold(loaded, read_record(options_.objects_file()));
            parts.store = std::move(loaded.store);
            read_ = read_ || settled;
            if (settled && !reasons.empty() && reasons != reasons_)
                log::error("not_taking_over", log::kv("reason", reasons.front()));
            reasons_ = std::move(reasons);
        }
        return read_ && settled && reasons_.empty();
    }

private:
    const Options& options_;
    bool read_ = false; ///< all of it, once
    std::vector<std::string> reasons_;
};

} // namespace

int run_agent(const Options& options) {
    const auto cgroup = usable_cgroup(options);
    if (!cgroup)
        return complain(cgroup.error(), exit_missing_requirement);
    raise_descriptor_limit();
    const auto daemonset = follow_daemonset(options);
    UniqueFd lock;
    // This container was started again while it stood by: the place is another's by now.
    if (!options.group.empty() && stood_by(options.standby_file(), options.group)) {
        lock = wait_aside(options);
        if (!lock)
            return 0;
    }
    while (true) {
        std::expected<Agent::Parts, std::string> parts = open_source(options);
        if (!parts)
            return complain("--source " + options.source + ": " + parts.error(), exit_failure);
        Place place{.lock = std::move(lock), .engine_connected = true};
        if (!place.lock) {
            std::function<bool()> may_take_over;
            if (options.take_over)
                may_take_over = [&, reader = Newcomer(options)]() mutable { return reader.may_take_over(*parts); };
            auto taken = take_place(options.socket, options.lock_file(), may_take_over);
            if (!taken)
                return complain(taken.error(), exit_failure);
            if (!*taken)
                return 0;
            place = **std::move(taken);
        }
        const Ended ended = serve(options, *cgroup, *std::move(parts), place.engine_connected, daemonset.get());
        if (bpf::list_pins(options.pin_dir).empty()) { // nothing of ours is in force: nothing of ours is left
            ::unlink(options.objects_file().c_str());
            ::unlink(options.lock_file().c_str());
        }
        if (!ended.aside)
            return ended.exit_code;
        place.lock = {};
        lock = wait_aside(options);
        if (!lock)
            return 0;
    }
}

int clean_up(const Options& options) {
    const auto lock = lock_socket(options.lock_file());
    if (!lock)
        return complain(lock.error(), exit_failure);
    // No new pod may ask an agent that never comes; then the hooks: while the engine ends, nobody is sent to it.
    const auto unchained =
        options.cni_conf_dir.empty() ? std::expected<void, std::string>() : cni::uninstall(cni_folders(options));
    const auto removed = bpf::Datapath::cleanup(options.pin_dir);
    if (const auto left = engine::recorded_engine(options.engine_state_file()))
        engine::terminate(*left, engine::terminate_wait_ms);
    for (const std::string& path :
         {options.engine_state_file(), options.objects_file(), options.socket, options.lock_file()})
        ::unlink(path.c_str());
    if (!options.cni_socket.empty())
        for (const std::string& path : cni_files(options))
            ::unlink(path.c_str());
    if (!unchained)
        return complain(unchained.error(), exit_failure);
    return removed ? 0 : complain(removed.error(), exit_failure);
}

} // namespace weft::agent
