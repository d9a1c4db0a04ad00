// SPDX-License-Identifier: Apache-2.0
#include "agent/bpf/datapath.hpp"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/datapath.skel.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "agent/bpf/links.hpp"
#include "agent/bpf/loader.hpp"
#include "agent/bpf/pins.hpp"
#include "agent/bpf/probe.hpp"
#include "config/base/log.hpp"

namespace weft::agent::bpf {
namespace {

struct CounterName {
    const char* name;
    const char* help;
};
constexpr std::array counter_names = {
#define WEFT_COUNTER_NAME(name, help) CounterName{#name, help},
    WEFT_COUNTERS(WEFT_COUNTER_NAME)
#undef WEFT_COUNTER_NAME
};
static_assert(counter_names.size() == abi::WEFT_COUNTERS_MAX);

int fd_of(const bpf_map* map) {
    return bpf_map__fd(map);
}

Tables::Descriptors descriptors(const datapath_bpf& skeleton) {
    const auto& maps = skeleton.maps;
    return {.layout = fd_of(maps.layout),
            .pods = fd_of(maps.pods),
            .pod_addresses = fd_of(maps.pod_addresses),
            .inbound_ports = fd_of(maps.inbound_ports),
            .services = fd_of(maps.services),
            .backends = fd_of(maps.backends),
            .pod_refusals = fd_of(maps.pod_refusals)};
}

/// The sum over all CPUs of one entry of a per-CPU map of counters.
uint64_t sum_over_cpus(int fd, const void* key) {
    static const int cpus = std::max(libbpf_num_possible_cpus(), 1);
    std::vector<uint64_t> values(static_cast<size_t>(cpus));
    uint64_t sum = 0;
    if (bpf_map_lookup_elem(fd, key, values.data()) != 0)
        return 0;
    for (const uint64_t value : values)
        sum += value;
    return sum;
}

uint64_t inode_of(int fd) {
    struct stat info{};
    return fstat(fd, &info) == 0 ? info.st_ino : 0;
}

/// The pod that an operation can make governed or free, 0 for none.
uint32_t pod_of(const MapOperation& operation) {
    if (const auto* put = std::get_if<PutInboundPort>(&operation))
        return put->key.pod_id;
    if (const auto* removed = std::get_if<RemoveInboundPort>(&operation))
        return removed->key.pod_id;
    return 0;
}

} // namespace

void Datapath::Close::operator()(datapath_bpf* skeleton) const {
    datapath_bpf__destroy(skeleton);
}

Datapath::Datapath(Datapath&&) noexcept = default;
Datapath& Datapath::operator=(Datapath&&) noexcept = default;
Datapath::~Datapath() = default;

Datapath::Datapath(DatapathSettings settings, UniqueFd lock, Skeleton skeleton)
    : settings_(std::move(settings)), lock_(std::move(lock)), skeleton_(std::move(skeleton)),
      tables_(descriptors(*skeleton_)), kubelet_fault_(probe_tasks().fault) {}

std::expected<Datapath, std::string> Datapath::open(const DatapathSettings& settings) {
    if (settings.engine_timeout_ns == 0)
        return std::unexpected("engine timeout is zero: every engine would count as dead");
    auto lock = lock_pins(settings.pin_dir);
    if (!lock)
        return std::unexpected(lock.error());
    const bool was_empty = list_pins(settings.pin_dir).empty();
    auto loaded = load_datapath(settings.pin_dir, settings.engine_timeout_ns);
    std::string reason;
    if (loaded) {
        Datapath datapath(settings, std::move(*lock), Skeleton(*loaded));
        auto attached = datapath.attach_all();
        if (attached)
            return datapath;
        reason = attached.error();
    } else {
        reason = loaded.error();
    }
    if (was_empty)
        static_cast<void>(remove_pins(settings.pin_dir, datapath_map_names()));
    return std::unexpected(reason);
}

std::expected<void, std::string> Datapath::attach_all() {
    const UniqueFd cgroup(::open(settings_.cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!cgroup)
        return std::unexpected("cgroup " + settings_.cgroup + " cannot be opened: " + std::strerror(errno));
    const uint64_t cgroup_id = inode_of(cgroup.get()); // a cgroup2 folder's inode is its id
    const auto& programs = skeleton_->progs;
    const std::array<std::pair<const char*, const bpf_program*>, 7> node = {
        {{"link_flows", programs.weft_flows},
         {"link_getpeername4", programs.weft_getpeername4},
         {"link_getpeername6", programs.weft_getpeername6},
         {"link_getsockname4", programs.weft_getsockname4},
         {"link_getsockname6", programs.weft_getsockname6},
         {"link_connect4", programs.weft_connect4},
         {"link_connect6", programs.weft_connect6}}};
    std::vector<LinkWanted> wanted;
    // Connect last: what it sends to the engine must find the other hooks in place.
    for (const auto& [name, program] : node) {
        wanted.push_back({.path = settings_.pin_dir + "/" + name,
                          .program_fd = bpf_program__fd(program),
                          .target_fd = cgroup.get(),
                          .target = cgroup_id,
                          .attach_type = bpf_program__expected_attach_type(program)});
    }
    std::set<uint32_t> strict;
    for (const std::string& name : list_pins(settings_.pin_dir)) {
        const uint32_t pod_id = pod_of_link_name(name);
        if (pod_id == 0)
            continue;
        wanted.push_back(
            {.path = link_path(pod_id), .program_fd = steer_program(pod_id), .attach_type = BPF_SK_LOOKUP});
        if (tables_.is_governed(pod_id))
            strict.insert(pod_id);
    }
    LinkChange change;
    auto changed = change.apply(wanted);
    if (!changed)
        return changed;
    strict_ = std::move(strict);
    remove_half_pins(settings_.pin_dir);
    return {};
}

std::expected<void, std::string> Datapath::cleanup(const std::string& pin_dir) {
    struct stat info{};
    if (stat(pin_dir.c_str(), &info) != 0 && errno == ENOENT)
        return {};
    const auto lock = lock_pins(pin_dir);
    if (!lock)
        return std::unexpected(lock.error());
    return remove_pins(pin_dir, datapath_map_names());
}

Result<void> Datapath::attach_pod(uint32_t pod_id, int netns_fd) {
    const uint64_t netns = inode_of(netns_fd);
    if (pod_id == 0 || netns == 0)
        return fail(Code::invalid, "attach_pod: pod id or netns");
    LinkChange change;
    const auto changed = change.apply({{.path = link_path(pod_id),
                                        .program_fd = steer_program(pod_id),
                                        .target_fd = netns_fd,
                                        .target = netns,
                                        .attach_type = BPF_SK_LOOKUP}});
    if (!changed) {
        const int error_number = errno;
        log::warn("pod_attach_failed", log::kv("pod_id", pod_id), log::kv("reason", changed.error()));
        return std::unexpected(from_errno(error_number, "attach_pod"));
    }
    if (tables_.is_governed(pod_id))
        strict_.insert(pod_id);
    else
        strict_.erase(pod_id);
    return {};
}

Result<void> Datapath::detach_pod(uint32_t pod_id) {
    strict_.erase(pod_id);
    if (!remove_link(link_path(pod_id)))
        return std::unexpected(from_errno(errno, "detach_pod"));
    return {};
}

std::vector<uint32_t> Datapath::prune_severed() {
    std::vector<uint32_t> gone;
    const std::vector<uint32_t> alive = attached_pods();
    for (const std::string& name : list_pins(settings_.pin_dir)) {
        const uint32_t pod_id = pod_of_link_name(name);
        if (pod_id != 0 && !std::ranges::binary_search(alive, pod_id) && detach_pod(pod_id))
            gone.push_back(pod_id);
    }
    return gone;
}

std::vector<uint32_t> Datapath::attached_pods() const {
    std::vector<uint32_t> alive;
    for (const std::string& name : list_pins(settings_.pin_dir)) {
        const uint32_t pod_id = pod_of_link_name(name);
        if (pod_id == 0)
            continue;
        const UniqueFd link = open_pin(link_path(pod_id));
        LinkInfo info;
        if (link && read_link(link.get(), info) && info.target != 0)
            alive.push_back(pod_id);
    }
    std::ranges::sort(alive);
    return alive;
}

Result<void> Datapath::apply(std::span<const MapOperation> operations) {
    for (const MapOperation& operation : operations) {
        if (auto applied = tables_.apply(operation); !applied)
            return applied;
        if (auto followed = follow_governed(pod_of(operation)); !followed)
            return followed;
    }
    return {};
}

Result<void> Datapath::follow_governed() {
    std::set<uint32_t> candidates = tables_.governed_pods();
    candidates.insert(strict_.begin(), strict_.end());
    Result<void> all;
    for (const uint32_t pod_id : candidates) {
        if (const auto followed = follow_governed(pod_id); !followed && all)
            all = followed;
    }
    return all;
}

/// A pod that has just got its first port to judge (or lost its last) changes between the two steer programs.
Result<void> Datapath::follow_governed(uint32_t pod_id) {
    if (pod_id == 0 || tables_.is_governed(pod_id) == strict_.contains(pod_id))
        return {};
    const UniqueFd link = open_pin(link_path(pod_id));
    if (!link && errno == ENOENT)
        return {}; // not attached yet: attach_pod will choose
    LinkInfo info;
    if (!link || !read_link(link.get(), info))
        return std::unexpected(from_errno(errno, "put_inbound_port: the pod's link"));
    if (info.target == 0)
        return {}; // its netns is gone, prune_severed will find it
    if (bpf_link_update(link.get(), steer_program(pod_id), nullptr) != 0)
        return std::unexpected(from_errno(errno, "put_inbound_port: program of the pod's link"));
    if (tables_.is_governed(pod_id))
        strict_.insert(pod_id);
    else
        strict_.erase(pod_id);
    return {};
}

int Datapath::steer_program(uint32_t pod_id) const {
    const auto& programs = skeleton_->progs;
    return bpf_program__fd(tables_.is_governed(pod_id) ? programs.weft_steer_strict : programs.weft_steer);
}

std::string Datapath::link_path(uint32_t pod_id) const {
    return settings_.pin_dir + "/" + pod_link_name(pod_id);
}

KernelState Datapath::current() const {
    return tables_.current();
}

ServiceIds Datapath::service_ids() const {
    return tables_.service_ids();
}

uint32_t Datapath::pod_id_next() const {
    return tables_.pod_id_next();
}

Result<void> Datapath::set_listener(uint32_t pod_id, abi::weft_listener_kind kind, int fd) {
    if (pod_id == 0 || (kind != abi::WEFT_LISTENER_INBOUND4 && kind != abi::WEFT_LISTENER_INBOUND6))
        return fail(Code::invalid, "set_listener: pod id or kind");
    const abi::weft_listener_key key{.pod_id = pod_id, .kind = kind};
    if (bpf_map_update_elem(inbound_marks_fd(), &fd, &pod_id, BPF_ANY) != 0)
        return std::unexpected(from_errno(errno, "set_listener: map inbound_marks"));
    const auto socket = static_cast<uint64_t>(fd);
    if (bpf_map_update_elem(fd_of(skeleton_->maps.listeners), &key, &socket, BPF_ANY) == 0)
        return {};
    if (errno == E2BIG)
        return fail(Code::too_large, "set_listener: map listeners", E2BIG);
    return std::unexpected(from_errno(errno, "set_listener: map listeners"));
}

Result<void> Datapath::remove_listener(uint32_t pod_id, abi::weft_listener_kind kind) {
    const abi::weft_listener_key key{.pod_id = pod_id, .kind = kind};
    if (bpf_map_delete_elem(fd_of(skeleton_->maps.listeners), &key) == 0 || errno == ENOENT || errno == EINVAL)
        return {};
    return std::unexpected(from_errno(errno, "remove_listener: map listeners"));
}

Result<void> Datapath::mark_engine_socket(int fd) {
    abi::weft_socket socket{};
    socket.kind = abi::WEFT_SOCKET_ENGINE;
    if (bpf_map_update_elem(fd_of(skeleton_->maps.sockets), &fd, &socket, BPF_ANY) == 0)
        return {};
    return std::unexpected(from_errno(errno, "mark_engine_socket: map sockets"));
}

Result<void> Datapath::set_kubelet(const abi::weft_kubelet& kubelet) {
    const uint32_t key = 0;
    if (bpf_map_update_elem(fd_of(skeleton_->maps.kubelets), &key, &kubelet, BPF_ANY) == 0)
        return {};
    return std::unexpected(from_errno(errno, "set_kubelet: map kubelets"));
}

int Datapath::inbound_marks_fd() const {
    return fd_of(skeleton_->maps.inbound_marks);
}

bool Datapath::is_judged(const SocketAddress& client, const SocketAddress& server) const {
    abi::weft_flow_key key{};
    std::memcpy(key.source.bytes, client.address.bytes.data(), sizeof(key.source.bytes));
    std::memcpy(key.destination.bytes, server.address.bytes.data(), sizeof(key.destination.bytes));
    key.source_port = htons(client.port);
    key.destination_port = htons(server.port);
    uint8_t recorded = 0;
    return bpf_map_lookup_elem(fd_of(skeleton_->maps.flows), &key, &recorded) == 0 &&
           (recorded == WEFT_FLOW_JUDGED || recorded == WEFT_FLOW_PROBE);
}

int Datapath::engine_state_fd() const {
    return fd_of(skeleton_->maps.engine_state);
}

int Datapath::dial_slots_fd() const {
    return fd_of(skeleton_->maps.dial_slots);
}

uint64_t Datapath::heartbeat_ns() const {
    const uint32_t key = 0;
    abi::weft_engine_state state{};
    static_cast<void>(bpf_map_lookup_elem(engine_state_fd(), &key, &state));
    return state.heartbeat_ns;
}

std::vector<CounterValue> Datapath::counters() const {
    std::vector<CounterValue> out;
    const int fd = fd_of(skeleton_->maps.counters);
    for (uint32_t i = 0; i < counter_names.size(); ++i)
        out.push_back({counter_names[i].name, counter_names[i].help, sum_over_cpus(fd, &i)});
    return out;
}

std::vector<PodRefusals> Datapath::pod_refusals() const {
    std::vector<PodRefusals> out;
    const RawMap map(fd_of(skeleton_->maps.pod_refusals), sizeof(abi::weft_pod_counter_key));
    map.for_each_key([&](const void* raw) {
        const auto& key = *static_cast<const abi::weft_pod_counter_key*>(raw);
        if (key.counter < counter_names.size())
            out.push_back({key.pod_id, counter_names[key.counter].name, sum_over_cpus(map.fd(), raw)});
    });
    return out;
}

std::vector<MapUsage> Datapath::usage() const {
    // Programs add to this one and sockets leave that one by themselves: these two are walked, both are small.
    RawMap refusals(fd_of(skeleton_->maps.pod_refusals), sizeof(abi::weft_pod_counter_key));
    RawMap listeners(fd_of(skeleton_->maps.listeners), sizeof(abi::weft_listener_key));
    refusals.recount();
    listeners.recount();
    return {{"pods", tables_.pods().entries(), WEFT_PODS_MAX},
            {"pod_addresses", tables_.pod_addresses().entries(), WEFT_ADDRESSES_MAX},
            {"inbound_ports", tables_.inbound_ports().entries(), WEFT_INBOUND_PORTS_MAX},
            {"services", tables_.services().entries(), WEFT_SERVICES_MAX},
            {"backends", tables_.backends().entries(), WEFT_BACKENDS_MAX},
            {"listeners", listeners.entries(), WEFT_LISTENERS_MAX},
            {"pod_refusals", refusals.entries(), WEFT_POD_REFUSALS_MAX}};
}

} // namespace weft::agent::bpf
