// SPDX-License-Identifier: Apache-2.0
// Very cheap HTTP/1.1 backend: one epoll thread, canned 1 KiB answer, keep-alive or close.
// usage: backend HOST PORT_A PORT_B   (answers x-backend: a or b by port)
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#define MAXFD 65536
#define BUF 8192
struct conn {
    int which, len;
    char* buf;
};
static struct conn cs[MAXFD];
static char resp[2][2][1600];
static int rlen[2][2];
static char body[1025];
static void drop(int fd) {
    free(cs[fd].buf);
    cs[fd].buf = 0;
    close(fd);
}
int main(int c, char** v) {
    if (c < 4)
        return 1;
    memset(body, 'x', 1024);
    for (int w = 0; w < 2; w++)
        for (int k = 0; k < 2; k++)
            rlen[w][k] = snprintf(
                resp[w][k], 1600,
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1024\r\nx-backend: %c\r\n%s\r\n%s",
                'a' + w, k ? "connection: close\r\n" : "", body);
    int ep = epoll_create1(0), ls[2];
    for (int w = 0; w < 2; w++) {
        ls[w] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        int one = 1;
        setsockopt(ls[w], SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(v[2 + w]))};
        inet_pton(AF_INET, v[1], &a.sin_addr);
        if (bind(ls[w], (void*)&a, sizeof a) || listen(ls[w], 4096)) {
            perror("bind");
            return 1;
        }
        struct epoll_event e = {.events = EPOLLIN, .data.u64 = (1ull << 32) | w};
        epoll_ctl(ep, EPOLL_CTL_ADD, ls[w], &e);
    }
    struct epoll_event ev[256];
    for (;;) {
        int n = epoll_wait(ep, ev, 256, -1);
        for (int i = 0; i < n; i++) {
            if (ev[i].data.u64 >> 32) {
                int w = ev[i].data.u64 & 1, fd;
                for (int k = 0; k < 64 && (fd = accept4(ls[w], 0, 0, SOCK_NONBLOCK)) >= 0; k++) {
                    if (fd >= MAXFD) {
                        close(fd);
                        continue;
                    }
                    int one = 1;
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    cs[fd] = (struct conn){w, 0, malloc(BUF)};
                    struct epoll_event e = {.events = EPOLLIN, .data.u64 = fd};
                    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
                }
                continue;
            }
            int fd = ev[i].data.u64;
            struct conn* q = &cs[fd];
            int r = read(fd, q->buf + q->len, BUF - 1 - q->len);
            if (r <= 0) {
                if (r < 0 && (errno == EAGAIN || errno == EINTR))
                    continue;
                drop(fd);
                continue;
            }
            q->len += r;
            q->buf[q->len] = 0;
            char *p = q->buf, *e;
            int bad = 0;
            while ((e = memmem(p, q->buf + q->len - p, "\r\n\r\n", 4))) {
                *e = 0;
                int cl = strcasestr(p, "\r\nconnection: close") != 0;
                if (write(fd, resp[q->which][cl], rlen[q->which][cl]) != rlen[q->which][cl] || cl) {
                    bad = 1;
                    break;
                }
                p = e + 4;
            }
            if (bad) {
                drop(fd);
                continue;
            }
            q->len = q->buf + q->len - p;
            memmove(q->buf, p, q->len);
            if (q->len >= BUF - 1)
                drop(fd);
        }
    }
}
