// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.hpp"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "agent/bpf/loader.hpp"
#include "agent/bpf/pins.hpp"
#include "agent/kube/source.hpp"
#include "agent/source/names.hpp"
#include "agent/source/watched_directory.hpp"
#include "agent/takeover.hpp"
#include "config/base/clock.hpp"
#include "config/base/log.hpp"

namespace weft::agent {
namespace {

constexpr uint32_t scrape_wait_ms = 1000;
constexpr uint64_t linger_max_ms = 3000; ///< an engine that stands by asks at least every second
constexpr const char* service_account_folder = "/var/run/secrets/kubernetes.io/serviceaccount";
constexpr const char* default_namespace = "weft-system";
/// After nothing is redirected any more, before the engine stops accepting: what already is in its backlog is accepted.
constexpr auto backlog_wait = std::chrono::milliseconds(100);

std::optional<metrics::DatapathReport> datapath_report(Inbox& inbox) {
    ReportWanted wanted;
    std::future<metrics::DatapathReport> answer = wanted.answer.get_future();
    if (!inbox.put(std::move(wanted)) ||
        answer.wait_for(std::chrono::milliseconds(scrape_wait_ms)) != std::future_status::ready)
        return std::nullopt;
    return answer.get();
}

std::string cni_program(const Options& options) {
    if (!options.cni_plugin.empty())
        return options.cni_plugin;
    std::error_code fault;
    return std::filesystem::read_symlink("/proc/self/exe", fault).parent_path() / "weft-cni";
}

std::string own_namespace(const Options& options) {
    if (!options.own_namespace.empty())
        return options.own_namespace;
    std::ifstream file(std::string(service_account_folder) + "/namespace");
    std::string name;
    std::getline(file, name);
    return names::is_dns_label(name) ? name : default_namespace;
}

} // namespace

std::expected<kube::ApiServer, std::string> find_api_server(const Options& options) {
    return kube::find_api_server(options.kubeconfig, service_account_folder);
}

cni::Folders cni_folders(const Options& options) {
    return {.conf = options.cni_conf_dir, .bin = options.cni_bin_dir};
}

std::expected<AgentParts, std::string> open_parts(const Options& options) {
    AgentParts out;
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

std::expected<void, std::string> Agent::start() {
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

void Agent::linger() const {
    if (options_.group.empty() || !others_stand_by(options_.standby_file(), options_.group))
        return;
    const uint64_t deadline = monotonic_ms() + linger_max_ms;
    for (engine::EngineView view = control_->engine();
         (!view.connected || view.group == options_.group) && monotonic_ms() < deadline; view = control_->engine())
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

void Agent::stop(bool keep) {
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
        for (const std::string& path : options_.cni_files())
            ::unlink(path.c_str());
}

std::expected<void, std::string> Agent::start_cni() {
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

void Agent::stop_cni_installer(bool keep) {
    if (!cni_installer_)
        return;
    cni_installer_->stop();
    if (keep)
        return;
    if (const auto removed = cni::uninstall(cni_folders(options_)); !removed)
        log::error("cleanup_failed", log::kv("reason", removed.error()));
}

Loop::Readiness Agent::ready() const {
    Loop::Readiness said = loop_->ready();
    if (!said.good || !cni_installer_)
        return said;
    const cni::Installer::View view = cni_installer_->view();
    using enum cni::Installer::State;
    if (view.state == none || view.state == installed)
        return said;
    return {.good = false, .text = "weft-cni is not installed: " + (view.reason.empty() ? "not yet" : view.reason)};
}

void Agent::stop_redirecting() {
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

engine::Control::Settings Agent::control_settings() {
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
        settings.engine = engine::EngineProcess::Settings{
            .program = options_.engine, .arguments = std::move(arguments), .state_file = options_.engine_state_file()};
    }
    return settings;
}

Loop::Settings Agent::loop_settings() const {
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
        settings.cni_reply = [this](uint64_t token, const cni::Answer& answer) { cni_server_->reply(token, answer); };
    settings.cni_status = [this] { return cni_installer_ ? cni_installer_->status() : Json(nullptr); };
    return settings;
}

metrics::HttpServer::Handlers Agent::handlers() {
    const auto answer = [](Loop::Readiness said) {
        return metrics::HttpServer::Answer{.good = said.good, .text = std::move(said.text)};
    };
    return {.metrics = [this](std::ostream& out) { write_page(out); },
            .busy = [this] { counters_.add(metrics::Event::scrape_failure, "busy"); },
            .ready = [this, answer] { return answer(ready()); },
            .healthy = [this, answer] { return answer(loop_->healthy()); }};
}

void Agent::write_page(std::ostream& out) {
    if (!control_->collect(scrape_wait_ms))
        counters_.add(metrics::Event::scrape_failure, "engine");
    auto report = datapath_report(inbox_);
    if (!report)
        counters_.add(metrics::Event::scrape_failure, "datapath");
    collector_.write_page(std::move(report), loop_->report(), out);
}

} // namespace weft::agent
