// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Outbound: where a TCP connect goes (connect4/6), and what the socket says about it afterwards (getpeername, which
 * serves accept() too, and getsockname). A convenience and never the enforcement point: that is steer.bpf.c.
 *
 * These hooks run for every connect of the node, so the order is: protocol, own mark, pod, service. */
#include "bpf/maps.h"

enum verdict { PASS, REWRITE, REFUSE };

/* Set by the agent before load: this kernel lets a connect hook see the task. Without, nobody is the kubelet. */
const volatile bool tasks_visible = false;
/* The agent's pid namespace, where that is not the kernel's first one (a node in a container); 0: it is. */
const volatile __u64 pid_namespace_device = 0;
const volatile __u64 pid_namespace_inode = 0;

static __always_inline bool backend_pick(const struct weft_service* service, struct weft_service_key* to) {
    struct weft_backend_key key = {.backend_set = service->backend_set};
    const struct weft_backend* backend;

    if (!service->backend_count)
        return false;
    key.index = bpf_get_prandom_u32() % service->backend_count;
    backend = bpf_map_lookup_elem(&backends, &key);
    /* The socket's family cannot change any more. */
    if (!backend || address_is_v4(&backend->address) != address_is_v4(&to->address))
        return false;
    address_copy(&to->address, &backend->address);
    to->port = backend->port;
    return true;
}

static __always_inline bool remember(struct bpf_sock* sk, const struct weft_service_key* original, __u8 kind) {
    struct weft_socket* socket = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

    if (!socket)
        return false;
    address_copy(&socket->address, &original->address);
    socket->port = original->port;
    socket->kind = kind;
    return true;
}

static __always_inline enum verdict translate(struct bpf_sock* sk, __u32 pod_id, const struct weft_service* service,
                                              struct weft_service_key* to) {
    struct weft_service_key original = *to;

    if (!backend_pick(service, to)) {
        /* The agent may have replaced the set between our two reads. Once is enough: the new set is complete. */
        service = bpf_map_lookup_elem(&services, &original);
        if (!service || !backend_pick(service, to)) {
            count_refusal(pod_id, WEFT_COUNTER_connect_refused_no_backend);
            return REFUSE;
        }
    }
    if (!remember(sk, &original, WEFT_SOCKET_TRANSLATED)) {
        count_refusal(pod_id, WEFT_COUNTER_connect_refused_storage);
        return REFUSE;
    }
    count(WEFT_COUNTER_connect_translated);
    return REWRITE;
}

/* IPv4 carries the service in the address (127.<id>): the engine learns it with getsockname, and each service has a
 * range of ephemeral ports of its own. An IPv6 socket cannot go to 127/8 (V6ONLY, or bound to an IPv6 address), so
 * the destination travels through `handovers`. */
static __always_inline enum verdict redirect(struct bpf_sock_addr* ctx, struct bpf_sock* sk, __u32 pod_id,
                                             const struct weft_service* service, struct weft_service_key* to) {
    char no_device[4] = {};

    if (!remember(sk, to, WEFT_SOCKET_REDIRECTED)) {
        count_refusal(pod_id, WEFT_COUNTER_connect_refused_storage);
        return REFUSE;
    }
    /* Bound to a device, the SYN would leave by it and never reach the engine. */
    if (sk->bound_dev_if)
        bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, no_device, sizeof(no_device));
    if (address_is_v4(&to->address)) {
        address_set_v4(&to->address, bpf_htonl(127U << 24 | service->service_id));
    } else {
        words(&to->address)[0] = 0;
        words(&to->address)[1] = 0;
        words(&to->address)[2] = 0;
        words(&to->address)[3] = bpf_htonl(1);
    }
    to->port = bpf_htons(WEFT_OUTBOUND_PORT);
    count(WEFT_COUNTER_connect_redirected);
    return REWRITE;
}

/* By the ids that the agent sees; 0: a task of another pid namespace. */
static __always_inline __u32 current_process(void) {
    struct bpf_pidns_info ids = {};

    if (!pid_namespace_inode)
        return bpf_get_current_pid_tgid() >> 32;
    if (bpf_get_ns_current_pid_tgid(pid_namespace_device, pid_namespace_inode, &ids, sizeof(ids)))
        return 0;
    return ids.tgid;
}

/* This very process: not its name, its address or its port, which others can have too. */
static __always_inline bool is_kubelet(__u64 netns_cookie) {
    __u32 key = 0;
    const struct weft_kubelet* kubelet = bpf_map_lookup_elem(&kubelets, &key);

    if (!tasks_visible || !kubelet || !kubelet->process || kubelet->netns_cookie != netns_cookie ||
        kubelet->process != current_process())
        return false;
    return bpf_get_current_task_btf()->group_leader->start_boottime / WEFT_TICK_NS == kubelet->started_ticks;
}

/* What the kubelet dials in a pod of this node is a probe (or a hook of its life cycle). steer learns it by the
 * 4-tuple, which flows.bpf.c records for marked sockets. */
static __always_inline void host_connect(struct bpf_sock* sk, __u64 netns_cookie, const struct weft_service_key* to) {
    if (!is_kubelet(netns_cookie) || !bpf_map_lookup_elem(&pod_addresses, &to->address))
        return;
    if (!remember(sk, to, WEFT_SOCKET_PROBE))
        count(WEFT_COUNTER_probe_record_failed);
}

static __always_inline enum verdict pod_connect(struct bpf_sock_addr* ctx, struct bpf_sock* sk,
                                                struct weft_service_key* to) {
    __u64 cookie = bpf_get_netns_cookie(ctx);
    const struct weft_pod* pod = bpf_map_lookup_elem(&pods, &cookie);
    const struct weft_service* service;

    if (!pod) {
        host_connect(sk, cookie, to);
        return PASS;
    }
    service = bpf_map_lookup_elem(&services, to);
    if (!service) {
        count(WEFT_COUNTER_connect_untouched);
        return PASS;
    }
    if (service->l7) {
        if (engine_is_alive())
            return redirect(ctx, sk, pod->pod_id, service, to);
        if (service->fail_closed) {
            count_refusal(pod->pod_id, WEFT_COUNTER_connect_refused_engine_stale);
            return REFUSE;
        }
        count(WEFT_COUNTER_connect_bypassed_engine_stale);
    }
    if (service->translate)
        return translate(sk, pod->pod_id, service, to);
    if (!service->l7)
        count(WEFT_COUNTER_connect_untouched);
    return PASS;
}

/* The slot that an address and port name, or -1. */
static __always_inline __s64 dial_slot_number(const struct weft_service_key* to) {
    const struct weft_address* address = &to->address;
    const address_word* word = const_words(address);

    if (to->port != bpf_htons(WEFT_DIAL_PORT))
        return -1;
    if (address_is_v4(address)) {
        if (address->bytes[12] != WEFT_DIAL_PREFIX4)
            return -1;
        return bpf_ntohl(word[3]) & 0x00ffffff;
    }
    if (word[0] == bpf_htonl((__u32)WEFT_DIAL_PREFIX6 << 16) && !word[1] && !word[2])
        return bpf_ntohl(word[3]);
    return -1;
}

/* Only the agent can mark a socket, so no pod can take this way out (a mark of SO_MARK it could set itself). */
static __always_inline enum verdict engine_connect(struct bpf_sock_addr* ctx, struct weft_socket* socket,
                                                   struct weft_service_key* to) {
    __s64 number = dial_slot_number(to);
    const struct weft_dial_slot* slot;
    __u32 key = (__u32)number;

    if (number < 0) {
        socket->kind = WEFT_SOCKET_ENGINE; /* also after a failed dial through a slot */
        count(WEFT_COUNTER_connect_engine);
        return PASS;
    }
    slot = bpf_map_lookup_elem(&dial_slots, &key);
    if (!slot || *(const volatile __u32*)&slot->used != 1 || slot->socket_cookie != bpf_get_socket_cookie(ctx) ||
        !slot->destination_port || address_is_v4(&slot->destination) != address_is_v4(&to->address)) {
        count(WEFT_COUNTER_connect_refused_bad_slot);
        return REFUSE;
    }
    address_copy(&socket->address, &slot->client);
    socket->port = slot->client_port;
    socket->kind = WEFT_SOCKET_ENGINE_INBOUND;
    address_copy(&to->address, &slot->destination);
    to->port = slot->destination_port;
    count(WEFT_COUNTER_connect_engine_inbound);
    return REWRITE;
}

static __always_inline enum verdict decide(struct bpf_sock_addr* ctx, struct weft_service_key* to) {
    struct bpf_sock* sk = ctx->sk;
    struct weft_socket* socket;

    if (!sk)
        return PASS;
    socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
    if (socket) {
        if (socket->kind == WEFT_SOCKET_ENGINE || socket->kind == WEFT_SOCKET_ENGINE_INBOUND)
            return engine_connect(ctx, socket, to);
        /* A socket that connects a second time: what it was before is no longer true. */
        bpf_sk_storage_delete(&sockets, sk);
    }
    return pod_connect(ctx, sk, to);
}

/* Without the helper (before 5.18) the application sees EPERM. */
static __always_inline int refuse(void) {
    if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_set_retval))
        bpf_set_retval(-ECONNREFUSED);
    return 0;
}

SEC("cgroup/connect4")
int weft_connect4(struct bpf_sock_addr* ctx) {
    struct weft_service_key to = {};

    if (ctx->protocol != IPPROTO_TCP)
        return 1;
    address_set_v4(&to.address, ctx->user_ip4);
    to.port = (__be16)ctx->user_port;
    switch (decide(ctx, &to)) {
    case REFUSE: return refuse();
    case REWRITE:
        ctx->user_ip4 = words(&to.address)[3];
        ctx->user_port = to.port;
        return 1;
    default: return 1;
    }
}

SEC("cgroup/connect6")
int weft_connect6(struct bpf_sock_addr* ctx) {
    struct weft_service_key to = {};

    if (ctx->protocol != IPPROTO_TCP)
        return 1;
    words(&to.address)[0] = ctx->user_ip6[0];
    words(&to.address)[1] = ctx->user_ip6[1];
    words(&to.address)[2] = ctx->user_ip6[2];
    words(&to.address)[3] = ctx->user_ip6[3];
    to.port = (__be16)ctx->user_port;
    switch (decide(ctx, &to)) {
    case REFUSE: return refuse();
    case REWRITE:
        ctx->user_ip6[0] = words(&to.address)[0];
        ctx->user_ip6[1] = words(&to.address)[1];
        ctx->user_ip6[2] = words(&to.address)[2];
        ctx->user_ip6[3] = words(&to.address)[3];
        ctx->user_port = to.port;
        return 1;
    default: return 1;
    }
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
