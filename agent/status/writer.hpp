// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/kube/api_server.hpp"
#include "agent/metrics/counters.hpp"
#include "agent/reconcile/state.hpp"
#include "agent/source/object_store.hpp"
#include "agent/status/redirection.hpp"

/// What this agent writes to the Kubernetes API: as the elected leader the status and Events of all objects, as every
/// agent what its node has in force and the marks on its pods.
namespace weft::agent::status {

/// News is taken no more often than this: all of it is looked at each time.
inline constexpr uint64_t news_ms = 250;
/// At the end so long may be spent on letting others know.
inline constexpr uint64_t release_max_ms = 3'000;
inline constexpr uint64_t unmark_max_ms = 10'000;

/// What the loop knows, borrowed for one call.
struct View {
    const ObjectStore& store;
    const std::vector<ObjectStatus>& statuses; ///< of compile(), for that store
    uint64_t serial = 0;                       ///< another one: store or statuses may have changed
    const std::vector<uint64_t>& versions;     ///< LoadResult::versions of that store
    bool in_force = false;                     ///< kernel and engine have all that it compiles to
    PodIds captured;                           ///< the pods captured and attached
    std::set<std::string> enrolled;            ///< "namespace/name" of those, and of all that shall be
};

/// For `weftctl status`.
struct WriterReport {
    std::string leader; ///< a node's name; empty: nobody, or not known yet
    bool leads = false;
    uint64_t writes = 0;   ///< since the start
    uint64_t failures = 0; ///< ... of requests
    size_t pending = 0;    ///< objects and pods to be written
    size_t awaiting = 0;   ///< objects that wait for nodes
    size_t nodes = 0;      ///< with a Lease; known to the leader only
    size_t silent = 0;     ///< ... not heard of for long
    std::vector<std::string> faults;
};

/// A thread of its own with its own connection: whatever the API server does, nobody here waits for it, and what is to
/// be written is what differs when it can be reached again.
class Writer {
public:
    struct Settings {
        kube::ApiServer server;
        std::string ns;   ///< of the Leases
        std::string node; ///< this one's name
    };
    Writer(Settings settings, metrics::Counters& counters);
    ~Writer();
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    // From the loop's thread.
    /// Cheap: whether look() would take anything.
    [[nodiscard]] bool wants_news() const;
    void look(const View& view);

    /// From any thread.
    [[nodiscard]] WriterReport report() const;
    /// Once, after the loop has ended; waits up to unmark_max_ms. Another may lead at once. `unmark`: nothing is
    /// captured any more, so the marks on this node's pods and its Lease go.
    void stop(bool unmark);

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace weft::agent::status
