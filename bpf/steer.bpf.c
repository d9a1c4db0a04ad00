// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Inbound, the enforcement point: what becomes of a new connection that arrives in an enrolled pod's namespace. Runs
 * per SYN (per failed lookup of an established socket), not per packet. One program, a link per pod; sk_lookup knows
 * no netns cookie, so the pod is found by its address. A drop is answered with a reset at once. */
#include "bpf/maps.h"

static __always_inline void flow_read(struct bpf_sk_lookup* ctx, struct weft_flow_key* flow) {
    __u32 port, remote, local;

    if (ctx->family == AF_INET) {
        LOAD(remote, ctx->remote_ip4);
        LOAD(local, ctx->local_ip4);
        address_set_v4(&flow->source, remote);
        address_set_v4(&flow->destination, local);
    } else {
        LOAD(words(&flow->source)[0], ctx->remote_ip6[0]);
        LOAD(words(&flow->source)[1], ctx->remote_ip6[1]);
        LOAD(words(&flow->source)[2], ctx->remote_ip6[2]);
        LOAD(words(&flow->source)[3], ctx->remote_ip6[3]);
        LOAD(words(&flow->destination)[0], ctx->local_ip6[0]);
        LOAD(words(&flow->destination)[1], ctx->local_ip6[1]);
        LOAD(words(&flow->destination)[2], ctx->local_ip6[2]);
        LOAD(words(&flow->destination)[3], ctx->local_ip6[3]);
    }
    LOAD(port, ctx->remote_port);
    flow->source_port = (__be16)port;
    LOAD(port, ctx->local_port);
    flow->destination_port = bpf_htons((__u16)port);
}

static __always_inline int drop(__u32 pod_id, enum weft_counter reason) {
    count_refusal(pod_id, reason);
    return SK_DROP;
}

/* A pod may dial its loopback from any of its addresses. For a local sender the kernel shows the interface that owns
 * the destination, which is lo here; for a neighbour the one that the packet came through. */
static __always_inline bool to_own_loopback(struct bpf_sk_lookup* ctx, const struct weft_flow_key* flow) {
    if (!address_is_loopback(&flow->destination))
        return false;
    if (!address_is_v4(&flow->destination))
        return true; /* the kernel takes packets to ::1 from lo only */
    if (bpf_core_field_exists(ctx->ingress_ifindex))
        return ctx->ingress_ifindex == LOOPBACK_IFINDEX;
    return bpf_map_lookup_elem(&pod_addresses, &flow->source); /* before 5.17: some pod's, it may be this one's */
}

/* A pod with several addresses may dial one from another. */
static __always_inline bool same_pod(const struct weft_flow_key* flow, const struct weft_pod_ref* pod) {
    const struct weft_pod_ref* source = bpf_map_lookup_elem(&pod_addresses, &flow->source);

    return source && source->pod_id == pod->pod_id;
}

static __always_inline int steer(struct bpf_sk_lookup* ctx, const struct weft_pod_ref* pod) {
    struct weft_listener_key key = {.pod_id = pod->pod_id, .kind = WEFT_LISTENER_INBOUND6};
    struct bpf_sock* listener;
    long failed;

    if (!engine_is_alive()) {
        if (pod->fail_closed)
            return drop(pod->pod_id, WEFT_COUNTER_inbound_refused_engine_stale);
        count(WEFT_COUNTER_inbound_bypassed_engine_stale);
        return SK_PASS;
    }
    if (ctx->family == AF_INET)
        key.kind = WEFT_LISTENER_INBOUND4;
    listener = bpf_map_lookup_elem(&listeners, &key);
    if (listener) {
        /* This very socket: a process of the pod may have put one of its own into the listener's reuseport group. */
        failed = bpf_sk_assign(ctx, listener, BPF_SK_LOOKUP_F_NO_REUSEPORT);
        bpf_sk_release(listener);
        if (!failed) {
            count(WEFT_COUNTER_inbound_steered);
            return SK_PASS;
        }
    }
    if (pod->fail_closed)
        return drop(pod->pod_id, WEFT_COUNTER_inbound_refused_no_listener);
    count(WEFT_COUNTER_inbound_bypassed_no_listener);
    return SK_PASS;
}

static __always_inline __u8 action_of(__u32 pod_id, __be16 port) {
    struct weft_port_key key = {.pod_id = pod_id, .port = port};
    const __u8* action = bpf_map_lookup_elem(&inbound_ports, &key);

    if (!action) {
        key.port = 0;
        action = bpf_map_lookup_elem(&inbound_ports, &key);
    }
    return action ? *action : WEFT_PORT_PASS;
}

/* Connections come to the inbound listener by steering only, never by its port, not even from the pod itself: it would
 * be judged as one to an address that the engine does not know. */
static __always_inline bool is_own_port(const struct weft_flow_key* flow, bool local) {
    return flow->destination_port == bpf_htons(WEFT_INBOUND_PORT) ||
           (!local && flow->destination_port == bpf_htons(WEFT_OUTBOUND_PORT));
}

/* `strict`: this pod has ports that need judging, so an address of it that the agent does not know (link-local, a
 * second network) is no way around them. */
static __always_inline int judge(struct bpf_sk_lookup* ctx, bool strict) {
    struct weft_flow_key flow = {};
    const struct weft_pod_ref* pod;
    const __u8* recorded;
    __u8 action;
    bool local;

    if (ctx->protocol != IPPROTO_TCP)
        return SK_PASS;
    flow_read(ctx, &flow);
    pod = bpf_map_lookup_elem(&pod_addresses, &flow.destination);
    local = flow_is_local(&flow) || to_own_loopback(ctx, &flow) || (pod && same_pod(&flow, pod));
    if (is_own_port(&flow, local))
        return drop(pod ? pod->pod_id : 0, WEFT_COUNTER_inbound_refused_own_port);
    if (local) {
        count(WEFT_COUNTER_inbound_passed_self);
        return SK_PASS;
    }
    if (!pod) {
        if (strict)
            return drop(0, WEFT_COUNTER_inbound_refused_unknown_address);
        count(WEFT_COUNTER_inbound_passed_unknown_address);
        return SK_PASS;
    }
    recorded = bpf_map_lookup_elem(&flows, &flow);
    /* Whatever the policies say: without its probes the kubelet would restart the pod. */
    if (recorded && *recorded == WEFT_FLOW_PROBE) {
        count(WEFT_COUNTER_inbound_passed_probe);
        return SK_PASS;
    }
    action = action_of(pod->pod_id, flow.destination_port);
    /* REFUSE, and whatever a newer agent may write. Also for the engine: it has judged by another service's policies
     * than by those that it cannot judge. */
    if (action != WEFT_PORT_PASS && action != WEFT_PORT_STEER)
        return drop(pod->pod_id, WEFT_COUNTER_inbound_refused_protocol);
    if (recorded && *recorded == WEFT_FLOW_JUDGED) {
        count(WEFT_COUNTER_inbound_passed_judged);
        return SK_PASS;
    }
    if (action == WEFT_PORT_STEER)
        return steer(ctx, pod);
    count(WEFT_COUNTER_inbound_passed);
    return SK_PASS;
}

SEC("sk_lookup")
int weft_steer(struct bpf_sk_lookup* ctx) {
    return judge(ctx, false);
}

SEC("sk_lookup")
int weft_steer_strict(struct bpf_sk_lookup* ctx) {
    return judge(ctx, true);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
