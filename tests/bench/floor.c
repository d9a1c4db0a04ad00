// SPDX-License-Identifier: Apache-2.0
// The floor under every proxy: a blind byte relay (no parsing, one thread), io_uring or epoll; splice: epoll, and bytes
// that never enter user space, for bulk.
// usage: floor uring|epoll|splice HOST PORT BACKEND_HOST BACKEND_PORT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#define NB 1024
#define BSZ 4096
struct conn {
    int fd;
    struct conn* peer;
    int closing;
    int pipe[2]; // splice: what came from fd
    int piped, ended;
};
static struct sockaddr_in backend;
static int dial(void) {
    int f = socket(AF_INET, SOCK_STREAM, 0), o = 1;
    setsockopt(f, IPPROTO_TCP, TCP_NODELAY, &o, sizeof o);
    if (connect(f, (void*)&backend, sizeof backend)) {
        perror("connect");
        exit(1);
    }
    return f;
}
static struct conn* pair(int cfd) {
    struct conn *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
    int o = 1;
    setsockopt(cfd, IPPROTO_TCP, TCP_NODELAY, &o, sizeof o);
    a->fd = cfd;
    b->fd = dial();
    a->peer = b;
    b->peer = a;
    return a;
}
static int lis(const char* h, int p) {
    int f = socket(AF_INET, SOCK_STREAM, 0), o = 1;
    setsockopt(f, SOL_SOCKET, SO_REUSEADDR, &o, sizeof o);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(p)};
    inet_pton(AF_INET, h, &a.sin_addr);
    if (bind(f, (void*)&a, sizeof a) || listen(f, 1024)) {
        perror("bind");
        exit(1);
    }
    return f;
}
static void run_epoll(int l) {
    int ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, ev[256];
    epoll_ctl(ep, EPOLL_CTL_ADD, l, &e);
    static char buf[65536];
    for (;;) {
        int n = epoll_wait(ep, ev, 256, -1);
        for (int i = 0; i < n; i++) {
            struct conn* c = ev[i].data.ptr;
            if (!c) {
                int f = accept4(l, 0, 0, SOCK_NONBLOCK);
                if (f < 0)
                    continue;
                struct conn* a = pair(f);
                fcntl(a->peer->fd, F_SETFL, O_NONBLOCK);
                struct epoll_event x = {.events = EPOLLIN | EPOLLET, .data.ptr = a};
                epoll_ctl(ep, EPOLL_CTL_ADD, a->fd, &x);
                x.data.ptr = a->peer;
                epoll_ctl(ep, EPOLL_CTL_ADD, a->peer->fd, &x);
                continue;
            }
            if (c->closing)
                continue;
            ssize_t r = recv(c->fd, buf, sizeof buf, 0);
            if (r <= 0) {
                if (r < 0 && errno == EAGAIN)
                    continue;
                c->closing = c->peer->closing = 1;
                close(c->fd);
                close(c->peer->fd);
                continue;
            }
            send(c->peer->fd, buf, r, MSG_NOSIGNAL);
        }
    }
}
enum { PIPE = 1 << 20 };
// From a's socket to its peer's until either blocks; the end of one direction is passed on once all before it was.
static void pump(struct conn* a) {
    for (;;) {
        ssize_t in = 0, out = 0;
        if (!a->ended && a->piped < PIPE) {
            in = splice(a->fd, NULL, a->pipe[1], NULL, PIPE - a->piped, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
            a->ended = in == 0 || (in < 0 && errno != EAGAIN);
            a->piped += in > 0 ? in : 0;
        }
        if (a->piped)
            out = splice(a->pipe[0], NULL, a->peer->fd, NULL, a->piped, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        a->piped -= out > 0 ? out : 0;
        if (out < 0 && errno != EAGAIN) { // nobody reads any more
            a->ended = 1;
            a->piped = 0;
        }
        if (a->ended && !a->piped)
            shutdown(a->peer->fd, SHUT_WR);
        if (in <= 0 && out <= 0)
            return;
    }
}
static void prepare(struct conn* a, int ep) {
    if (pipe2(a->pipe, O_NONBLOCK)) {
        perror("pipe");
        exit(1);
    }
    fcntl(a->pipe[1], F_SETPIPE_SZ, PIPE);
    fcntl(a->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = a};
    epoll_ctl(ep, EPOLL_CTL_ADD, a->fd, &e);
}
// Closed connections leave their memory and their turn in the events of one wait: a bench has few of them.
static void finish(struct conn* a) {
    for (struct conn* c = a; c; c = c == a ? a->peer : NULL) {
        c->closing = 1;
        close(c->fd);
        close(c->pipe[0]);
        close(c->pipe[1]);
    }
}
static void run_splice(int l) {
    int ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, ev[256];
    epoll_ctl(ep, EPOLL_CTL_ADD, l, &e);
    for (;;) {
        int n = epoll_wait(ep, ev, 256, -1);
        for (int i = 0; i < n; i++) {
            struct conn* c = ev[i].data.ptr;
            if (!c) {
                int f = accept4(l, 0, 0, SOCK_NONBLOCK);
                if (f >= 0) {
                    struct conn* a = pair(f);
                    prepare(a, ep);
                    prepare(a->peer, ep);
                }
                continue;
            }
            if (c->closing)
                continue;
            pump(c);
            pump(c->peer);
            if (c->ended && c->peer->ended && !c->piped && !c->peer->piped)
                finish(c);
        }
    }
}
enum { ACC = 1, RCV, SND };
static struct io_uring ring;
static struct io_uring_buf_ring* br;
static char* bufs;
static struct io_uring_sqe* sqe(void) {
    struct io_uring_sqe* s;
    while (!(s = io_uring_get_sqe(&ring)))
        io_uring_submit(&ring);
    return s;
}
static void arm(struct conn* c) {
    struct io_uring_sqe* s = sqe();
    io_uring_prep_recv_multishot(s, c->fd, NULL, 0, 0);
    s->flags |= IOSQE_BUFFER_SELECT;
    s->buf_group = 0;
    io_uring_sqe_set_data64(s, (unsigned long)c | RCV);
}
static void run_uring(int l) {
    struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                                         IORING_SETUP_SUBMIT_ALL,
                                .cq_entries = 8192};
    if (io_uring_queue_init_params(1024, &ring, &p)) {
        perror("ring");
        exit(1);
    }
    io_uring_register_ring_fd(&ring);
    int err;
    br = io_uring_setup_buf_ring(&ring, NB, 0, 0, &err);
    bufs = aligned_alloc(4096, NB * BSZ);
    for (int i = 0; i < NB; i++)
        io_uring_buf_ring_add(br, bufs + i * BSZ, BSZ, i, io_uring_buf_ring_mask(NB), i);
    io_uring_buf_ring_advance(br, NB);
    struct io_uring_sqe* s = sqe();
    io_uring_prep_multishot_accept(s, l, 0, 0, 0);
    io_uring_sqe_set_data64(s, ACC);
    for (;;) {
        io_uring_submit_and_wait(&ring, 1);
        struct io_uring_cqe* c;
        unsigned h, n = 0;
        io_uring_for_each_cqe(&ring, h, c) {
            n++;
            unsigned t = c->user_data & 3;
            if (t == ACC) {
                if (c->res >= 0) {
                    struct conn* a = pair(c->res);
                    arm(a);
                    arm(a->peer);
                }
                if (!(c->flags & IORING_CQE_F_MORE)) {
                    s = sqe();
                    io_uring_prep_multishot_accept(s, l, 0, 0, 0);
                    io_uring_sqe_set_data64(s, ACC);
                }
            } else if (t == RCV) {
                struct conn* k = (void*)(c->user_data & ~7ul);
                if (c->res <= 0) {
                    if (c->res == -ENOBUFS) {
                        arm(k);
                        continue;
                    }
                    if (!k->closing) {
                        k->closing = k->peer->closing = 1;
                        shutdown(k->fd, 2);
                        shutdown(k->peer->fd, 2);
                    }
                    continue;
                }
                unsigned bid = c->flags >> 16;
                if (k->closing) {
                    io_uring_buf_ring_add(br, bufs + bid * BSZ, BSZ, bid, io_uring_buf_ring_mask(NB), 0);
                    io_uring_buf_ring_advance(br, 1);
                    continue;
                }
                s = sqe();
                io_uring_prep_send(s, k->peer->fd, bufs + bid * BSZ, c->res, MSG_NOSIGNAL | MSG_WAITALL);
                io_uring_sqe_set_data64(s, ((unsigned long)bid << 8) | SND);
                if (!(c->flags & IORING_CQE_F_MORE))
                    arm(k);
            } else if (t == SND) {
                unsigned bid = (c->user_data >> 8) & 0xffff;
                io_uring_buf_ring_add(br, bufs + bid * BSZ, BSZ, bid, io_uring_buf_ring_mask(NB), 0);
                io_uring_buf_ring_advance(br, 1);
            }
        }
        io_uring_cq_advance(&ring, n);
    }
}
int main(int c, char** v) {
    if (c < 6)
        return 2;
    backend.sin_family = AF_INET;
    inet_pton(AF_INET, v[4], &backend.sin_addr);
    backend.sin_port = htons(atoi(v[5]));
    signal(SIGPIPE, SIG_IGN); // splice has no MSG_NOSIGNAL
    int l = lis(v[2], atoi(v[3]));
    if (!strcmp(v[1], "uring"))
        run_uring(l);
    fcntl(l, F_SETFL, O_NONBLOCK);
    if (!strcmp(v[1], "splice"))
        run_splice(l);
    run_epoll(l);
}
