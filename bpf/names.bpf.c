// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What a socket says about its two ends: the application sees what it would have seen without Weft, the engine sees
 * the truth. getpeername serves accept() too. IPv4 on an AF_INET6 socket comes here IPv4-mapped, as we store it. */
#include "bpf/maps.h"

/* The peer to show, or false: leave what the kernel knows. */
static __always_inline bool peer_of(struct bpf_sock_addr* ctx, struct weft_service_key* shown) {
    struct bpf_sock* sk = ctx->sk;
    const struct weft_socket* socket;

    if (ctx->protocol != IPPROTO_TCP || !sk)
        return false;
    socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
    if (!socket)
        return false;
    switch (socket->kind) {
    case WEFT_SOCKET_REDIRECTED:
    case WEFT_SOCKET_TRANSLATED:
    case WEFT_SOCKET_ACCEPTED_APP:
        address_copy(&shown->address, &socket->address);
        shown->port = socket->port;
        return true;
    default: return false;
    }
}

/* The own end to show; `shown` comes in as the kernel knows it. */
static __always_inline bool self_of(struct bpf_sock_addr* ctx, struct weft_service_key* shown) {
    struct bpf_sock* sk = ctx->sk;
    const struct weft_socket* socket;
    const struct weft_pod* pod;
    __u64 cookie;

    if (ctx->protocol != IPPROTO_TCP || !sk)
        return false;
    socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
    if (!socket)
        return false;
    if (socket->kind == WEFT_SOCKET_ACCEPTED_OUT) {
        address_copy(&shown->address, &socket->address);
        shown->port = socket->port;
        return true;
    }
    /* Applications that advertise their own address must not read the loopback that our redirect gave them. */
    if (socket->kind != WEFT_SOCKET_REDIRECTED || !address_is_loopback(&shown->address))
        return false;
    cookie = bpf_get_netns_cookie(ctx);
    pod = bpf_map_lookup_elem(&pods, &cookie);
    if (!pod)
        return false;
    if (address_is_v4(&shown->address))
        address_copy(&shown->address, &pod->v4);
    else
        address_copy(&shown->address, &pod->v6);
    return !address_is_zero(&shown->address);
}

static __always_inline void read6(struct bpf_sock_addr* ctx, struct weft_service_key* shown) {
    words(&shown->address)[0] = ctx->user_ip6[0];
    words(&shown->address)[1] = ctx->user_ip6[1];
    words(&shown->address)[2] = ctx->user_ip6[2];
    words(&shown->address)[3] = ctx->user_ip6[3];
    shown->port = (__be16)ctx->user_port;
}

static __always_inline void write6(struct bpf_sock_addr* ctx, struct weft_service_key* shown) {
    ctx->user_ip6[0] = words(&shown->address)[0];
    ctx->user_ip6[1] = words(&shown->address)[1];
    ctx->user_ip6[2] = words(&shown->address)[2];
    ctx->user_ip6[3] = words(&shown->address)[3];
    ctx->user_port = shown->port;
}

static __always_inline void read4(struct bpf_sock_addr* ctx, struct weft_service_key* shown) {
    address_set_v4(&shown->address, ctx->user_ip4);
    shown->port = (__be16)ctx->user_port;
}

static __always_inline void write4(struct bpf_sock_addr* ctx, struct weft_service_key* shown) {
    if (!address_is_v4(&shown->address))
        return; /* an IPv6 client in front of an IPv4 application: sockaddr_in cannot say it */
    ctx->user_ip4 = words(&shown->address)[3];
    ctx->user_port = shown->port;
}

SEC("cgroup/getpeername4")
int weft_getpeername4(struct bpf_sock_addr* ctx) {
    struct weft_service_key shown = {};

    if (peer_of(ctx, &shown))
        write4(ctx, &shown);
    return 1;
}

SEC("cgroup/getpeername6")
int weft_getpeername6(struct bpf_sock_addr* ctx) {
    struct weft_service_key shown = {};

    if (peer_of(ctx, &shown))
        write6(ctx, &shown);
    return 1;
}

SEC("cgroup/getsockname4")
int weft_getsockname4(struct bpf_sock_addr* ctx) {
    struct weft_service_key shown = {};

    read4(ctx, &shown);
    if (self_of(ctx, &shown))
        write4(ctx, &shown);
    return 1;
}

SEC("cgroup/getsockname6")
int weft_getsockname6(struct bpf_sock_addr* ctx) {
    struct weft_service_key shown = {};

    read6(ctx, &shown);
    if (self_of(ctx, &shown))
        write6(ctx, &shown);
    return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
