/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every map of the datapath. All are pinned by name in the agent's pin folder, so that programs can be replaced while
 * the state stays. They are weak, because each of the three objects defines them and the static linker keeps one. */
#ifndef WEFT_BPF_MAPS_H
#define WEFT_BPF_MAPS_H

#include "bpf/common.h"

/* Writer and reader: agent. One entry, never full. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct weft_layout);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} layout __weak SEC(".maps");

/* Writer: agent. Readers: connect, getsockname. Full: the agent reports it and the pod stays out of the mesh. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, WEFT_PODS_MAX);
    __type(key, __u64); /* netns cookie */
    __type(value, struct weft_pod);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} pods __weak SEC(".maps");

/* Writer: agent. Reader: steer. Full: the agent reports it and the pod stays out of the mesh. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, WEFT_ADDRESSES_MAX);
    __type(key, struct weft_address);
    __type(value, struct weft_pod_ref);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} pod_addresses __weak SEC(".maps");

/* Writer: agent. Reader: steer. Full: the agent reports it; what was there before stays in force. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, WEFT_INBOUND_PORTS_MAX);
    __type(key, struct weft_port_key);
    __type(value, __u8); /* enum weft_port_action */
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} inbound_ports __weak SEC(".maps");

/* Writer: agent. Reader: connect. One entry, never full. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct weft_kubelet);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} kubelets __weak SEC(".maps");

/* Writer: agent. Reader: connect. Full: the agent reports it; the service is reached as without Weft, and judged at
 * the server's side. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, WEFT_SERVICES_MAX);
    __type(key, struct weft_service_key);
    __type(value, struct weft_service);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} services __weak SEC(".maps");

/* Writer: agent, a whole set before the service that names it. Reader: connect. Full: the agent reports it; the
 * service keeps its old set. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, WEFT_BACKENDS_MAX);
    __type(key, struct weft_backend_key);
    __type(value, struct weft_backend);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} backends __weak SEC(".maps");

/* Writer: agent; an entry leaves by itself when its socket is closed. Reader: steer. Full: the agent reports it and
 * steering to that pod counts as "no listener". */
struct {
    __uint(type, BPF_MAP_TYPE_SOCKHASH);
    __uint(max_entries, WEFT_LISTENERS_MAX);
    __type(key, struct weft_listener_key);
    __type(value, __u64);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} listeners __weak SEC(".maps");

/* Writers: agent by descriptor (ENGINE), connect, flows. Readers: all cgroup hooks. Lives and dies with the socket;
 * never cloned to accepted sockets, so that a mark cannot be inherited. No memory: the connect is refused. */
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct weft_socket);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} sockets __weak SEC(".maps");

/* Writer: agent by descriptor, for the inbound listeners. Cloned to what they accept, so that the agent can tell a
 * connection that the engine judges from an older one that reached the application directly. Reader: agent. No memory:
 * the agent reports it, and the accepted connection is taken for an older one. */
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
    __type(key, int);
    __type(value, __u32); /* pod id */
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} inbound_marks __weak SEC(".maps");

/* Writer: flows. Reader: steer. Full: the least recently used goes; its connection, if not yet made, is judged again.
 */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, WEFT_FLOWS_MAX);
    __type(key, struct weft_flow_key);
    __type(value, __u8); /* WEFT_FLOW_JUDGED, WEFT_FLOW_PROBE */
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} flows __weak SEC(".maps");

/* Writer and reader: flows. Entries live from SYN to ESTABLISHED only. Full: the least recently used goes; an IPv6
 * redirect then has no destination and the engine closes it, an inbound dial shows the engine's address. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, WEFT_HANDOVERS_MAX);
    __type(key, struct weft_handover_key);
    __type(value, struct weft_socket); /* as it shall be stored with the accepted socket */
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} handovers __weak SEC(".maps");

/* Writer: engine through mmap. Reader: connect. An array: each connected engine has a
 * part of it, and a dial waits until one of these is free. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, WEFT_DIAL_SLOTS_MAX);
    __type(key, __u32);
    __type(value, struct weft_dial_slot);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} dial_slots __weak SEC(".maps");

/* Writer: engine through mmap. Readers: connect, steer. One entry, never full. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct weft_engine_state);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} engine_state __weak SEC(".maps");

/* Writers: all programs. Reader: agent. An array: never full. */
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, WEFT_COUNTER_ENTRIES);
    __type(key, __u32); /* enum weft_counter */
    __type(value, __u64);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} counters __weak SEC(".maps");

/* Writers: connect, steer; the agent removes a pod's entries with the pod. Full: refusals still count in `counters`. */
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, WEFT_POD_REFUSALS_MAX);
    __type(key, struct weft_pod_counter_key);
    __type(value, __u64);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} pod_refusals __weak SEC(".maps");

/* Set by the agent before load: an engine that was silent for longer counts as dead. */
const volatile __u64 engine_timeout_ns __weak = 0;

static __always_inline void count(enum weft_counter which) {
    __u32 key = which;
    __u64* value = bpf_map_lookup_elem(&counters, &key);

    if (value)
        *value += 1; /* per CPU; the hooks are not preempted by themselves on the same counter */
}

static __always_inline void count_refusal(__u32 pod_id, enum weft_counter which) {
    struct weft_pod_counter_key key = {.pod_id = pod_id, .counter = which};
    __u64 *value, first = 1;

    count(which);
    value = bpf_map_lookup_elem(&pod_refusals, &key);
    if (value)
        *value += 1;
    else
        bpf_map_update_elem(&pod_refusals, &key, &first, BPF_NOEXIST);
}

/* The dead-man switch: nobody has to tell the kernel that the engine hangs. A stamp from the future counts as silence
 * beyond the same limit, so that no written value keeps a dead engine alive for ever. */
static __always_inline bool engine_is_alive(void) {
    __u32 key = 0;
    const struct weft_engine_state* state = bpf_map_lookup_elem(&engine_state, &key);
    __u64 now = bpf_ktime_get_ns(), stamp;

    if (!state)
        return false;
    stamp = *(const volatile __u64*)&state->heartbeat_ns;
    if (!stamp)
        return false;
    return (now > stamp ? now - stamp : stamp - now) < engine_timeout_ns;
}

#endif
