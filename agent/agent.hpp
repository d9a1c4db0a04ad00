// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "agent/bpf/datapath.hpp"
#include "agent/cni/installer.hpp"
#include "agent/cni/server.hpp"
#include "agent/engine/control.hpp"
#include "agent/inbox.hpp"
#include "agent/loop.hpp"
#include "agent/metrics/collector.hpp"
#include "agent/metrics/server.hpp"
#include "agent/options.hpp"
#include "agent/source/source.hpp"
#include "agent/status/writer.hpp"

namespace weft::agent {

/// What an agent works on, opened before it has its place.
struct AgentParts {
    std::unique_ptr<Source> source;
    std::optional<status::Writer::Settings> writer; ///< nullopt: nothing is written to the API
    ObjectStore store{};                            ///< what was read of the source already
};
/// The error is one line.
[[nodiscard]] std::expected<AgentParts, std::string> open_parts(const Options& options);
/// As --kubeconfig says, or the pod's service account.
[[nodiscard]] std::expected<kube::ApiServer, std::string> find_api_server(const Options& options);
[[nodiscard]] cni::Folders cni_folders(const Options& options);

/// The parts of a running agent. They refer to each other in this order, and end in the reverse. Used by the main
/// thread.
class Agent {
public:
    /// `engine_comes`: of the agent whose place this is, with its listeners. `options` outlive it.
    Agent(const Options& options, bpf::Datapath datapath, AgentParts parts, std::string cgroup, bool adopted,
          bool engine_comes)
        : options_(options), datapath_(std::move(datapath)), parts_(std::move(parts)), cgroup_(std::move(cgroup)),
          adopted_(adopted), engine_comes_(engine_comes) {}

    /// The error is one line; call stop() then too.
    [[nodiscard]] std::expected<void, std::string> start();
    /// Its pod goes while another agent stands by (an upgrade is taken back): that one's engine takes over from ours,
    /// which drains, before the last descriptors of the listeners are closed.
    void linger() const;
    /// `keep`: what is in force stays; else nothing of ours is left.
    void stop(bool keep);

private:
    /// The socket, then the installer, which waits until the agent has been ready once.
    [[nodiscard]] std::expected<void, std::string> start_cni();
    void stop_cni_installer(bool keep);
    /// With a CNI configuration that lacks our entry pods start before they are captured. Without any, none can start.
    [[nodiscard]] Loop::Readiness ready() const;
    void stop_redirecting();
    [[nodiscard]] engine::Control::Settings control_settings();
    [[nodiscard]] Loop::Settings loop_settings() const;
    [[nodiscard]] metrics::HttpServer::Handlers handlers();
    void write_page(std::ostream& out);

    const Options& options_;
    bpf::Datapath datapath_;
    AgentParts parts_; ///< until each has its owner
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

} // namespace weft::agent
