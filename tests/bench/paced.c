// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 at a rate that does not depend on the answers: one request each 1/RATE seconds, on keep-alive connections in
// turn. A latency runs from the moment the request was due, so what a slow answer delays counts too. Prints JSON.
// usage: paced HOST PORT PATH CONNECTIONS RATE SECONDS [HEADER...]
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 64, REPLY_MAX = 65536, REQUEST_MAX = 4096 };

struct connection {
    int64_t due; // of the request in flight; 0: none
    size_t length;
    char reply[REPLY_MAX];
};

static struct connection connections[CONNECTIONS_MAX];
static struct pollfd polled[CONNECTIONS_MAX];

static void fail(const char* what) {
    perror(what);
    exit(1);
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int dial(const char* host, int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1 || connect(fd, (void*)&to, sizeof to) != 0)
        fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

// Whether the whole reply is there: a head with Content-Length, and so many bytes.
static bool whole(struct connection* c) {
    c->reply[c->length] = 0;
    const char* end = strstr(c->reply, "\r\n\r\n");
    if (!end)
        return false;
    const char* field = strcasestr(c->reply, "\r\ncontent-length:");
    if (strncmp(c->reply, "HTTP/1.1 200", 12) != 0 || !field || field > end) {
        fprintf(stderr, "not a plain 200: %.200s\n", c->reply);
        exit(1);
    }
    return c->length >= (size_t)(end + 4 - c->reply) + strtoul(field + 17, NULL, 10);
}

static bool receive(int fd, struct connection* c) {
    ssize_t got = recv(fd, c->reply + c->length, REPLY_MAX - 1 - c->length, 0);
    if (got <= 0)
        fail("recv");
    c->length += got;
    return whole(c);
}

static int ascending(const void* a, const void* b) {
    int64_t x = *(const int64_t*)a, y = *(const int64_t*)b;
    return (x > y) - (x < y);
}

static size_t compose(char* request, char** v, int c) {
    size_t length = snprintf(request, REQUEST_MAX, "GET %s HTTP/1.1\r\nHost: %s:%s\r\n", v[3], v[1], v[2]);
    for (int i = 7; i < c && length < REQUEST_MAX; i++)
        length += snprintf(request + length, REQUEST_MAX - length, "%s\r\n", v[i]);
    if (length + 3 > REQUEST_MAX)
        exit(1);
    memcpy(request + length, "\r\n", 2);
    return length + 2;
}

int main(int c, char** v) {
    if (c < 7)
        return 1;
    int count = atoi(v[4]), rate = atoi(v[5]);
    int64_t total = (int64_t)rate * atoi(v[6]), sent = 0, done = 0;
    if (count < 1 || count > CONNECTIONS_MAX || rate < 1)
        return 1;
    char request[REQUEST_MAX];
    size_t length = compose(request, v, c);
    int64_t* took = calloc(total, sizeof *took);
    prctl(PR_SET_TIMERSLACK, 1000UL);
    for (int i = 0; i < count; i++)
        polled[i] = (struct pollfd){.fd = dial(v[1], atoi(v[2])), .events = POLLIN};
    int64_t start = now();
    while (done < total) {
        int64_t due = start + sent * (1000000000LL / rate), left = due - now();
        struct connection* next = &connections[sent % count];
        bool may_send = sent < total && !next->due;
        if (may_send && left <= 0) {
            next->due = due;
            next->length = 0;
            if (send(polled[sent++ % count].fd, request, length, MSG_NOSIGNAL) != (ssize_t)length)
                fail("send");
            continue;
        }
        struct timespec wait = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        if (ppoll(polled, count, may_send ? &wait : NULL, NULL) < 0)
            fail("poll");
        for (int i = 0; i < count; i++)
            if (polled[i].revents && receive(polled[i].fd, &connections[i])) {
                took[done++] = now() - connections[i].due;
                connections[i].due = 0;
            }
    }
    qsort(took, total, sizeof *took, ascending);
    printf("{\"requests\": %lld, \"p50_ns\": %lld, \"p99_ns\": %lld}\n", (long long)total, (long long)took[total / 2],
           (long long)took[total * 99 / 100]);
    return 0;
}
