/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What all programs use: kernel types, helpers, the contract with user space, and addresses. */
#ifndef WEFT_BPF_COMMON_H
#define WEFT_BPF_COMMON_H

#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi.h"

/* Macros of the kernel's headers, which BTF does not carry. */
#define AF_INET 2
#define AF_INET6 10
#define SOL_SOCKET 1
#define SO_BINDTODEVICE 25
#define ECONNREFUSED 111
#define LOOPBACK_IFINDEX 1 /* of every network namespace */

#define WEFT_IPV4_MAPPED bpf_htonl(0x0000ffff)

/* Addresses are 4-byte aligned in every struct of ours, but the compiler knows them as bytes: without this view each
 * copy would be sixteen loads. */
typedef __u32 __attribute__((may_alias)) address_word;

static __always_inline address_word* words(struct weft_address* address) {
    return (address_word*)address->bytes;
}

static __always_inline const address_word* const_words(const struct weft_address* address) {
    return (const address_word*)address->bytes;
}

static __always_inline void address_copy(struct weft_address* to, const struct weft_address* from) {
    words(to)[0] = const_words(from)[0];
    words(to)[1] = const_words(from)[1];
    words(to)[2] = const_words(from)[2];
    words(to)[3] = const_words(from)[3];
}

static __always_inline void address_set_v4(struct weft_address* to, __be32 v4) {
    words(to)[0] = 0;
    words(to)[1] = 0;
    words(to)[2] = WEFT_IPV4_MAPPED;
    words(to)[3] = v4;
}

static __always_inline bool address_is_v4(const struct weft_address* address) {
    const address_word* word = const_words(address);

    return !word[0] && !word[1] && word[2] == WEFT_IPV4_MAPPED;
}

static __always_inline bool address_is_zero(const struct weft_address* address) {
    const address_word* word = const_words(address);

    return !(word[0] | word[1] | word[2] | word[3]);
}

static __always_inline bool address_is_loopback(const struct weft_address* address) {
    const address_word* word = const_words(address);

    if (address_is_v4(address))
        return address->bytes[12] == 127;
    return !word[0] && !word[1] && !word[2] && word[3] == bpf_htonl(1);
}

static __always_inline bool address_equal(const struct weft_address* a, const struct weft_address* b) {
    const address_word *x = const_words(a), *y = const_words(b);

    return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3];
}

/* The compiler would merge the IPv4 and IPv6 loads into one through a computed context pointer, which the verifier
 * refuses ("dereference of modified ctx ptr"): each value is pinned where it was read. */
#define LOAD(target, field)                                                                                            \
    do {                                                                                                               \
        __u32 loaded = (field);                                                                                        \
        asm volatile("" : "+r"(loaded));                                                                               \
        (target) = loaded;                                                                                             \
    } while (0)

/* True if both ends are in one network namespace. From outside, such a source is a martian (IPv4), or its handshake
 * cannot complete: the answer never leaves the pod (IPv6, and IPv4 with route_localnet). A loopback destination says
 * less: with route_localnet a neighbour reaches it too. */
static __always_inline bool flow_is_local(const struct weft_flow_key* flow) {
    return address_is_loopback(&flow->source) || address_equal(&flow->source, &flow->destination);
}

#endif
