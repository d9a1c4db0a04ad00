// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* sockops: what two sockets of one node must know about each other. When a socket connects, its source port is known
 * and the SYN is not yet sent; when a socket is accepted, the application has not seen it yet.
 *
 *   engine's socket connects ──▶ flows ─────▶ sk_lookup of the server's pod passes it (judged)
 *   kubelet's probe connects ──▶ flows ─────▶ the same (a probe)
 *   redirected v6, inbound dial ─▶ handovers ─▶ storage of the accepted socket (destination, client)
 *
 * sockops runs some nine times per connection of every task below the cgroup, so the operation is tested first. */
#include "bpf/maps.h"

/* The socket's own end is the source. IPv4 on an AF_INET6 socket is held IPv4-mapped by the kernel, as by us. */
static __always_inline void flow_read(struct bpf_sock_ops* ctx, struct weft_flow_key* flow) {
    __u32 port, local, remote;

    if (ctx->family == AF_INET) {
        LOAD(local, ctx->local_ip4);
        LOAD(remote, ctx->remote_ip4);
        address_set_v4(&flow->source, local);
        address_set_v4(&flow->destination, remote);
    } else {
        LOAD(words(&flow->source)[0], ctx->local_ip6[0]);
        LOAD(words(&flow->source)[1], ctx->local_ip6[1]);
        LOAD(words(&flow->source)[2], ctx->local_ip6[2]);
        LOAD(words(&flow->source)[3], ctx->local_ip6[3]);
        LOAD(words(&flow->destination)[0], ctx->remote_ip6[0]);
        LOAD(words(&flow->destination)[1], ctx->remote_ip6[1]);
        LOAD(words(&flow->destination)[2], ctx->remote_ip6[2]);
        LOAD(words(&flow->destination)[3], ctx->remote_ip6[3]);
    }
    LOAD(port, ctx->local_port); /* host order */
    flow->source_port = bpf_htons((__u16)port);
    LOAD(port, ctx->remote_port); /* network order, in 32 bits */
    flow->destination_port = bpf_htons((__u16)bpf_ntohl(port));
}

static __always_inline void flow_reverse(struct weft_flow_key* out, const struct weft_flow_key* flow) {
    address_copy(&out->source, &flow->destination);
    address_copy(&out->destination, &flow->source);
    out->source_port = flow->destination_port;
    out->destination_port = flow->source_port;
}

/* What is handed over stays in its namespace, so both ends of such a flow are ours. The look at the addresses only
 * spares the rest of the node a map lookup: a pod may have several, and its kernel may answer with another one. */
static __always_inline bool may_be_handed_over(const struct weft_handover_key* key) {
    return flow_is_local(&key->flow) || bpf_map_lookup_elem(&pods, &key->netns_cookie);
}

static __always_inline void hand_over(struct bpf_sock_ops* ctx, const struct weft_flow_key* flow,
                                      const struct weft_socket* socket, __u8 kind) {
    struct weft_handover_key key = {.netns_cookie = bpf_get_netns_cookie(ctx), .flow = *flow};
    struct weft_socket value = {.port = socket->port, .kind = kind};

    address_copy(&value.address, &socket->address);
    if (bpf_map_update_elem(&handovers, &key, &value, BPF_ANY))
        count(WEFT_COUNTER_handover_failed);
}

/* A 4-tuple is judged, or carries a client's address, only for the socket that we recorded. A later one must not
 * inherit it: it would pass without a judgement, or show a false client. */
static __always_inline void forget(struct bpf_sock_ops* ctx, const struct weft_flow_key* flow) {
    struct weft_handover_key key = {.netns_cookie = bpf_get_netns_cookie(ctx), .flow = *flow};

    if (bpf_map_lookup_elem(&flows, flow))
        bpf_map_delete_elem(&flows, flow);
    if (may_be_handed_over(&key) && bpf_map_lookup_elem(&handovers, &key))
        bpf_map_delete_elem(&handovers, &key);
}

/* What `flows` shall hold of this socket's connection; 0: nothing. */
static __always_inline __u8 flow_of(const struct weft_socket* socket) {
    if (!socket)
        return 0;
    switch (socket->kind) {
    case WEFT_SOCKET_ENGINE:
    case WEFT_SOCKET_ENGINE_INBOUND: return WEFT_FLOW_JUDGED;
    case WEFT_SOCKET_PROBE: return WEFT_FLOW_PROBE;
    default: return 0;
    }
}

static __always_inline void record(struct bpf_sock_ops* ctx, const struct weft_flow_key* flow, __u8 value) {
    bool judged = value == WEFT_FLOW_JUDGED;

    /* Told when it closes, so that the 4-tuple can be forgotten; otherwise the record would outlive it. */
    if (bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG) ||
        bpf_map_update_elem(&flows, flow, &value, BPF_ANY))
        count(judged ? WEFT_COUNTER_flow_record_failed : WEFT_COUNTER_probe_record_failed);
    else
        count(judged ? WEFT_COUNTER_flow_recorded : WEFT_COUNTER_probe_recorded);
}

static __always_inline void connecting(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
    const struct weft_socket* socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
    struct weft_flow_key flow = {};
    __u8 value = flow_of(socket);

    flow_read(ctx, &flow);
    forget(ctx, &flow);
    if (!socket)
        return;
    if (value) {
        record(ctx, &flow, value);
        if (socket->kind == WEFT_SOCKET_ENGINE_INBOUND)
            hand_over(ctx, &flow, socket, WEFT_SOCKET_ACCEPTED_APP);
    } else if (socket->kind == WEFT_SOCKET_REDIRECTED && !address_is_v4(&socket->address)) {
        hand_over(ctx, &flow, socket, WEFT_SOCKET_ACCEPTED_OUT);
    }
}

static __always_inline bool at_outbound6(const struct weft_flow_key* flow) {
    return flow->source_port == bpf_htons(WEFT_OUTBOUND_PORT) && !address_is_v4(&flow->source) &&
           address_is_loopback(&flow->source);
}

static __always_inline void accepted(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
    struct weft_flow_key flow = {};
    struct weft_handover_key key = {};
    struct weft_socket* socket;
    const struct weft_socket* given;

    flow_read(ctx, &flow);
    key.netns_cookie = bpf_get_netns_cookie(ctx);
    flow_reverse(&key.flow, &flow);
    if (!may_be_handed_over(&key))
        return;
    given = bpf_map_lookup_elem(&handovers, &key);
    if (!given) {
        if (at_outbound6(&flow))
            count(WEFT_COUNTER_handover_failed);
        return;
    }
    socket = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    if (socket && (given->kind == WEFT_SOCKET_ACCEPTED_OUT) == at_outbound6(&flow)) {
        address_copy(&socket->address, &given->address);
        socket->port = given->port;
        socket->kind = given->kind;
    } else {
        count(WEFT_COUNTER_handover_failed);
    }
    bpf_map_delete_elem(&handovers, &key);
}

static __always_inline void changed_state(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
    struct weft_flow_key flow = {};

    /* Another program may have asked for this call on a socket that is not ours. */
    if (ctx->args[1] != BPF_TCP_CLOSE || !flow_of(bpf_sk_storage_get(&sockets, sk, 0, 0)))
        return;
    flow_read(ctx, &flow);
    forget(ctx, &flow);
}

SEC("sockops")
int weft_flows(struct bpf_sock_ops* ctx) {
    struct bpf_sock* sk;

    switch (ctx->op) {
    case BPF_SOCK_OPS_TCP_CONNECT_CB:
    case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
    case BPF_SOCK_OPS_STATE_CB: break;
    default: return 1;
    }
    sk = ctx->sk;
    if (!sk)
        return 1;
    if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB)
        connecting(ctx, sk);
    else if (ctx->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
        accepted(ctx, sk);
    else
        changed_state(ctx, sk);
    return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
