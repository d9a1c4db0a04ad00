// SPDX-License-Identifier: Apache-2.0
// What one TCP connection costs: socket + connect + close, over and over, from one thread.
// usage: connect_cost ADDRESS PORT COUNT [BIND_ADDRESS BIND_PORT]   prints one JSON line: p50/p99 of connect in ns and
// CPU of this process per connection (its own part of the handshake, hooks included).
// With BIND_*: a child listens there and accepts, on core 0.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_storage address(const char* host, int port, socklen_t* length) {
    struct sockaddr_storage storage = {0};
    struct sockaddr_in* v4 = (void*)&storage;
    struct sockaddr_in6* v6 = (void*)&storage;
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((unsigned short)port);
        *length = sizeof *v4;
    } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((unsigned short)port);
        *length = sizeof *v6;
    } else {
        fprintf(stderr, "connect_cost: not an address: %s\n", host);
        exit(2);
    }
    return storage;
}

static void serve(const char* host, int port, int ready) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    cpu_set_t core; // where the engine is in the redirected case: waking the far end must cost the same in every case
    CPU_ZERO(&core);
    CPU_SET(0, &core);
    sched_setaffinity(0, sizeof core, &core);
    socklen_t length;
    struct sockaddr_storage local = address(host, port, &length);
    int listener = socket(local.ss_family, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void*)&local, length) || listen(listener, 4096)) {
        perror("connect_cost: listen");
        exit(2);
    }
    if (write(ready, "r", 1) != 1)
        exit(2);
    for (;;) {
        int accepted = accept(listener, NULL, NULL);
        if (accepted >= 0)
            close(accepted);
    }
}

static int compare(const void* left, const void* right) {
    long a = *(const long*)left, b = *(const long*)right;
    return (a > b) - (a < b);
}
static long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

int main(int count_of_arguments, char** argument) {
    if (count_of_arguments != 4 && count_of_arguments != 6)
        return 2;
    int count = atoi(argument[3]);
    pid_t child = 0;
    if (count_of_arguments == 6) {
        int ready[2];
        char byte;
        if (pipe(ready))
            return 2;
        child = fork();
        if (child == 0)
            serve(argument[4], atoi(argument[5]), ready[1]);
        close(ready[1]);
        if (read(ready[0], &byte, 1) != 1)
            return 2;
    }
    socklen_t length;
    struct sockaddr_storage remote = address(argument[1], atoi(argument[2]), &length);
    long* took = calloc((size_t)count, sizeof *took);
    struct linger abort_at_close = {1, 0}; // no TIME_WAIT: a run would use up the ephemeral ports
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    for (int i = 0; i < count; i++) {
        int fd = socket(remote.ss_family, SOCK_STREAM, 0);
        long start = now_ns();
        if (connect(fd, (void*)&remote, length)) {
            fprintf(stderr, "connect_cost: connect %d: %s\n", i, strerror(errno));
            return 1;
        }
        took[i] = now_ns() - start;
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_at_close, sizeof abort_at_close);
        close(fd);
    }
    getrusage(RUSAGE_SELF, &after);
    qsort(took, (size_t)count, sizeof *took, compare);
    double cpu =
        (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec);
    cpu +=
        (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec) /
        1e6;
    printf("{\"p50_ns\": %ld, \"p99_ns\": %ld, \"cpu_ns\": %.0f}\n", took[count / 2], took[count * 99 / 100],
           cpu * 1e9 / count);
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    return 0;
}
