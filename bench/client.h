/* bench/client.h - the client's side of a row: starting load.c, and what it found out.
 * SPDX-License-Identifier: MIT */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "report.h"

#define LOAD_MESSAGE_BYTES 64
#define ACCEPT_REQUESTS    20L /* row accept: of each connection, one after the other */

struct client {
    pid_t pid;
    int out;               /* what it prints at its end */
    double p50_ns, p99_ns; /* of its round trips */
    struct rusage usage;
};

/* Rows echo: likewise. */
static inline long echo_requests(long connections)
{
    return (connections == 1 ? 20000 : 200000) / connections;
}

/* A client that failed would be waited for in vain. */
static inline void client_ended(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    if (info->si_status != 0)
        _exit(1);
}

/* `requests` of each connection, to a listener of this process. first: as in load.c. */
static inline void client_start(struct client *c, const char *directory, int listener,
                                long connections, long requests, int first)
{
    struct sigaction on_end; /* no initializer: C++ has none for a member of a union */
    struct sockaddr_in self;
    socklen_t len = sizeof self;
    char path[4096], port[16], many[32], each[32];
    int out[2];
    if (getsockname(listener, (struct sockaddr *)&self, &len) < 0)
        die("getsockname");
    snprintf(path, sizeof path, "%s/load", directory);
    snprintf(port, sizeof port, "%d", ntohs(self.sin_port));
    snprintf(many, sizeof many, "%ld", connections);
    snprintf(each, sizeof each, "%ld", requests);
    memset(&on_end, 0, sizeof on_end);
    on_end.sa_sigaction = client_ended;
    on_end.sa_flags = SA_SIGINFO | SA_RESTART;
    if (sigaction(SIGCHLD, &on_end, NULL) < 0 || pipe(out) < 0)
        die("the client's start");
    c->pid = fork();
    if (c->pid < 0)
        die("fork");
    if (c->pid == 0) {
        close(listener);
        dup2(out[1], STDOUT_FILENO);
        execl(path, path, port, many, each, first ? "1" : "0", NULL);
        die(path);
    }
    close(out[1]);
    c->out = out[0];
}

static inline void client_end(struct client *c)
{
    char text[128] = "";
    int status;
    ssize_t n = read(c->out, text, sizeof text - 1);
    if (wait4(c->pid, &status, 0, &c->usage) < 0 || status != 0 || n < 0 ||
        sscanf(text, "%lf %lf", &c->p50_ns, &c->p99_ns) != 2)
        die("the client failed");
    close(c->out);
}

/* As many descriptors as there may be. */
static inline void allow_files(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        die("setrlimit");
}

/* An echo server's count of the requests that it has answered, and its clocks. */
struct served {
    long requests, all;
    int64_t t0, t1;     /* by the clock, and */
    int64_t cpu0, cpu1; /* CPU time of the process */
};

static inline void count_served(struct served *s, long bytes)
{
    long before = s->requests;
    s->requests += bytes / LOAD_MESSAGE_BYTES;
    if (before == 0) {
        s->t0 = clock_ns();
        s->cpu0 = cpu_clock_ns();
    }
    if (s->requests == s->all) {
        s->cpu1 = cpu_clock_ns();
        s->t1 = clock_ns();
    }
}

/* A row's further figures. */
static inline void print_served(char *to, size_t size, const struct served *s,
                                const struct client *c)
{
    snprintf(to, size, ", \"cpu_ns\": %.1f, \"p50_ns\": %.0f, \"p99_ns\": %.0f",
             (double)(s->cpu1 - s->cpu0) / (double)(s->all - 1), c->p50_ns, c->p99_ns);
}

#endif
