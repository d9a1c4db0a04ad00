/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What kernel programs and user space share: every struct, enum, map name and limit. No twin of anything here exists.
 * Included from BPF C (gnu17) and from C++23. Addresses are 16 bytes in network order, IPv4 held IPv4-mapped. */
#ifndef WEFT_BPF_ABI_H
#define WEFT_BPF_ABI_H

#ifdef __cplusplus
#include <linux/types.h>
#define WEFT_ENUM(name) enum name : __u8
namespace weft::abi {
#else
#define WEFT_ENUM(name) enum name
#define static_assert _Static_assert
#endif

/* The layout's version: pinned maps of another version are not adopted. Raise it with any change below. */
#define WEFT_ABI_VERSION 3

/* Ports of the engine's listeners inside a pod's network namespace (the same numbers as Istio reserves). */
#define WEFT_OUTBOUND_PORT 15001
#define WEFT_INBOUND_PORT 15006

/* Limits of the maps. */
#define WEFT_PODS_MAX 1024
#define WEFT_ADDRESSES_MAX (4 * WEFT_PODS_MAX)
#define WEFT_INBOUND_PORTS_MAX 16384
#define WEFT_SERVICES_MAX 65536
#define WEFT_BACKENDS_MAX 262144
#define WEFT_FLOWS_MAX 131072
#define WEFT_HANDOVERS_MAX 16384
#define WEFT_LISTENERS_MAX (2 * WEFT_PODS_MAX)
#define WEFT_POD_REFUSALS_MAX (8 * WEFT_PODS_MAX)
#define WEFT_DIAL_SLOTS_MAX 32768
#define WEFT_BACKENDS_PER_SERVICE_MAX 4096
#define WEFT_SERVICE_IDS_MAX 0x00ffffff
/* Service ids start here, so that 127.0.0.0/16 stays the applications' own. */
#define WEFT_SERVICE_ID_MIN 0x00010000

struct weft_address {
    __u8 bytes[16];
};
static_assert(sizeof(struct weft_address) == 16, "address");

/* layout: ARRAY of one, what wrote the pinned maps, and which numbers were ever given away: those of a removed service
 * or pod may still be in an engine's hands. Writer and reader: agent. */
struct weft_layout {
    __u32 abi_version;
    __u32 service_id_next;
    __u32 pod_id_next;
    __u32 pad;
    __u64 hash; /* over every map's kind, sizes and the members of its key and value */
};
static_assert(sizeof(struct weft_layout) == 24, "layout");

/* pods: netns cookie -> pod. Writer: agent. Readers: connect, getsockname, getpeername, sockops. */
struct weft_pod {
    __u32 pod_id;
    __u8 fail_closed; /* as in its pod_addresses, where steer reads it */
    __u8 pad[3];
    struct weft_address v4; /* all zero: none */
    struct weft_address v6;
};
static_assert(sizeof(struct weft_pod) == 40, "pod");

/* pod_addresses: address -> pod, for sk_lookup, which knows no netns cookie. Writer: agent. */
struct weft_pod_ref {
    __u32 pod_id;
    __u8 fail_closed; /* engine silent: refuse what needs judging instead of passing it */
    __u8 pad[3];
};
static_assert(sizeof(struct weft_pod_ref) == 8, "pod_ref");

/* inbound_ports: what sk_lookup does with a new connection. Port 0: every port of the pod without an entry of its own.
 */
struct weft_port_key {
    __u32 pod_id;
    __be16 port;
    __u16 pad;
};
static_assert(sizeof(struct weft_port_key) == 8, "port_key");

WEFT_ENUM(weft_port_action){
    WEFT_PORT_PASS = 0,   /* straight to the application */
    WEFT_PORT_STEER = 1,  /* needs L7: to the engine's inbound listener */
    WEFT_PORT_REFUSE = 2, /* governed by more policies than are judged */
};

/* kubelets: ARRAY of one, the process whose connects to pods of this node are probes. Writer: agent. Reader: connect. A
 * process id comes back, but never with the start time that it had. */
struct weft_kubelet {
    __u64 netns_cookie;  /* the host's: it dials from there */
    __u64 started_ticks; /* as in /proc/PID/stat: of WEFT_TICK_NS, since boot */
    __u32 process;       /* id in the agent's pid namespace; 0: not known, every probe is judged */
    __u32 pad;
};
static_assert(sizeof(struct weft_kubelet) == 24, "kubelet");
#define WEFT_TICK_NS 10000000 /* USER_HZ is 100 on every architecture that Weft runs on */

/* services: (service address, port) -> service. Writer: agent (backends before services). Reader: connect. */
struct weft_service_key {
    struct weft_address address;
    __be16 port;
    __u16 pad;
};
static_assert(sizeof(struct weft_service_key) == 20, "service_key");

struct weft_service {
    __u32 service_id;    /* WEFT_SERVICE_ID_MIN..MAX; the engine's snapshot knows it */
    __u32 backend_set;   /* first half of the backends key; a new set for each change */
    __u32 backend_count; /* 0: refuse */
    __u8 l7;             /* 1: redirect to the engine; 0: pick a backend here */
    __u8 translate;      /* 1: directory mode, this kernel picks; 0: kube-proxy does, leave the connect alone */
    __u8 fail_closed;    /* a policy governs it. Engine silent: refuse instead of going direct */
    __u8 pad;
};
static_assert(sizeof(struct weft_service) == 16, "service");

struct weft_backend_key {
    __u32 backend_set;
    __u32 index; /* 0..backend_count-1 */
};
static_assert(sizeof(struct weft_backend_key) == 8, "backend_key");

struct weft_backend {
    struct weft_address address;
    __be16 port;
    __u16 pad;
};
static_assert(sizeof(struct weft_backend) == 20, "backend");

/* listeners: SOCKHASH (pod, kind) -> listening socket that sk_lookup assigns. Writer: agent. */
WEFT_ENUM(weft_listener_kind){
    WEFT_LISTENER_OUTBOUND4 = 0, /* 0.0.0.0:15001 bound to lo; never in the sockhash */
    WEFT_LISTENER_OUTBOUND6 = 1, /* [::1]:15001; never in the sockhash */
    WEFT_LISTENER_INBOUND4 = 2,  /* 127.0.0.1:15006; in the sockhash */
    WEFT_LISTENER_INBOUND6 = 3,  /* [::1]:15006; in the sockhash */
};
struct weft_listener_key {
    __u32 pod_id;
    __u32 kind;
};
static_assert(sizeof(struct weft_listener_key) == 8, "listener_key");

/* sockets: SK_STORAGE, the truth about one socket. Writers: agent by fd (ENGINE), connect hook, sockops. */
WEFT_ENUM(weft_socket_kind){
    WEFT_SOCKET_REDIRECTED = 1,     /* an application's socket, sent to the engine; address:port = what it dialled */
    WEFT_SOCKET_TRANSLATED = 2,     /* an application's socket, sent to a backend; address:port = what it dialled */
    WEFT_SOCKET_ENGINE = 3,         /* made by the agent for the engine: never redirected, its flows are judged */
    WEFT_SOCKET_ENGINE_INBOUND = 4, /* the same after a dial through a slot; address:port = the real client */
    WEFT_SOCKET_ACCEPTED_OUT = 5,   /* accepted by the engine on OUTBOUND6; address:port = what the client dialled */
    WEFT_SOCKET_ACCEPTED_APP = 6,   /* accepted by an application from the engine; address:port = the real client */
    WEFT_SOCKET_PROBE = 7,          /* the kubelet's, on its way to a pod of this node; address:port = what it dials */
};
struct weft_socket {
    struct weft_address address;
    __be16 port;
    __u8 kind;
    __u8 pad;
};
static_assert(sizeof(struct weft_socket) == 20, "socket");

/* flows: LRU, 4-tuples of the engine's upstream connections and of the kubelet's probes, written by sockops before the
 * SYN leaves and deleted when the socket closes or when any other socket connects with the same 4-tuple. sk_lookup
 * passes them: already judged, or not to be. An evicted entry costs a (second) judgement, never a wrong one. */
struct weft_flow_key {
    struct weft_address source;
    struct weft_address destination;
    __be16 source_port;
    __be16 destination_port;
};
#define WEFT_FLOW_JUDGED 1 /* the values */
#define WEFT_FLOW_PROBE 2
static_assert(sizeof(struct weft_flow_key) == 36, "flow_key");

/* handovers: LRU, from the connecting socket (TCP_CONNECT_CB) to the accepted one (PASSIVE_ESTABLISHED_CB), inside one
 * network namespace: the original destination of an IPv6 redirect, or the real client of an inbound dial. */
struct weft_handover_key {
    __u64 netns_cookie;
    struct weft_flow_key flow;
    __u32 pad;
};
static_assert(sizeof(struct weft_handover_key) == 48, "handover_key");

/* dial_slots: mmapable ARRAY. The engine fills a slot, then connects its socket to the slot's address
 * (240.s.s.s or 100::s, port WEFT_DIAL_PORT); the connect hook of an ENGINE socket reads the slot, remembers the client
 * and goes to the destination. The slot is free again when connect has returned. Each connected engine has a range of
 * its own from the agent; the hook believes a slot only if it names the socket that connects. Writer: engine through
 * mmap. */
struct weft_dial_slot {
    struct weft_address client;
    struct weft_address destination;
    __be16 client_port;
    __be16 destination_port;
    __u32 used;          /* 1 while filled; the hook refuses an unfilled slot */
    __u64 socket_cookie; /* SO_COOKIE of the socket that it was filled for; the hook refuses any other */
};
static_assert(sizeof(struct weft_dial_slot) == 48, "dial_slot");
#define WEFT_DIAL_PORT 1         /* of every slot address: nobody's service, so pods may have addresses in 240/4 */
#define WEFT_DIAL_PREFIX4 240    /* first byte of an IPv4 slot address */
#define WEFT_DIAL_PREFIX6 0x0100 /* first two bytes of an IPv6 slot address, the rest zero but the last four */

/* engine_state: mmapable ARRAY of one. Writer: engine through mmap. */
struct weft_engine_state {
    __u64 heartbeat_ns; /* CLOCK_MONOTONIC; 0: never */
};
static_assert(sizeof(struct weft_engine_state) == 8, "engine_state");

/* counters: PERCPU_ARRAY by weft_counter. The names that logs and metrics use are generated from this list. A new one
 * goes to its end: the pinned map, larger than the list, is adopted by the next version and each number keeps its
 * sense.
 */
#define WEFT_COUNTER_ENTRIES 128
#define WEFT_COUNTERS(X)                                                                                               \
    X(connect_redirected, "connects sent to the engine")                                                               \
    X(connect_translated, "connects to a plain service sent to one of its endpoints, no proxy")                        \
    X(connect_untouched, "connects of enrolled pods to what is no service, or one left to kube-proxy")                 \
    X(connect_engine, "connects of the engine's own sockets")                                                          \
    X(connect_engine_inbound, "dials of the engine to an application on behalf of a client")                           \
    X(connect_bypassed_engine_stale, "connects that should have been redirected but went direct: engine silent")       \
    X(connect_refused_engine_stale, "connects refused: engine silent and a policy governs the service")                \
    X(connect_refused_no_backend, "connects refused: the service has no ready endpoint")                               \
    X(connect_refused_bad_slot, "engine dials refused: empty slot, or one filled for another socket")                  \
    X(connect_refused_storage, "connects refused: no socket storage")                                                  \
    X(inbound_steered, "connections steered to the engine")                                                            \
    X(inbound_passed, "connections to ports that need no L7")                                                          \
    X(inbound_passed_judged, "connections of this node's engine, already judged")                                      \
    X(inbound_passed_self, "connections of a pod to itself")                                                           \
    X(inbound_passed_unknown_address, "connections to an address of a pod that the agent does not know")               \
    X(inbound_bypassed_engine_stale, "connections that should have been steered but passed: engine silent")            \
    X(inbound_bypassed_no_listener, "connections that should have been steered but passed: no listener")               \
    X(inbound_refused_engine_stale, "connections refused: engine silent and a policy governs the pod")                 \
    X(inbound_refused_no_listener, "connections refused: the engine's listener is missing")                            \
    X(inbound_refused_own_port, "connections to the engine's inbound port, or from outside to its outbound one")       \
    X(inbound_refused_unknown_address,                                                                                 \
      "connections refused: to an address that the agent does not know, of a pod with ports that need judging")        \
    X(inbound_refused_protocol, "connections refused: more governed services lead to the port than are judged")        \
    X(flow_recorded, "judged flows recorded")                                                                          \
    X(flow_record_failed, "judged flows that could not be recorded: they are judged again")                            \
    X(handover_failed, "connections whose original address could not be handed over")                                  \
    X(inbound_passed_probe, "probes of this node's kubelet")                                                           \
    X(probe_recorded, "connects of the kubelet to pods of this node, recorded as probes")                              \
    X(probe_record_failed, "probes that could not be recorded: they are judged")

enum weft_counter {
#define WEFT_COUNTER_ENUM(name, help) WEFT_COUNTER_##name,
    WEFT_COUNTERS(WEFT_COUNTER_ENUM)
#undef WEFT_COUNTER_ENUM
        WEFT_COUNTERS_MAX
};
static_assert((int)WEFT_COUNTERS_MAX <= WEFT_COUNTER_ENTRIES, "counters");

/* pod_refusals: PERCPU_HASH (pod, counter) -> refusals; best effort when full. */
struct weft_pod_counter_key {
    __u32 pod_id;
    __u32 counter;
};
static_assert(sizeof(struct weft_pod_counter_key) == 8, "pod_counter_key");

#ifdef __cplusplus
} // namespace weft::abi
#else
#undef static_assert
#endif
#endif
