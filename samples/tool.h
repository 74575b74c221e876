/* tool.h - what the samples that are tools of some size share: wrong usage, numbers, signals, and
 * how a server begins.
 * SPDX-License-Identifier: MIT */
#ifndef SAMPLES_TOOL_H
#define SAMPLES_TOOL_H

#include <coir.h>

#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* One line on stderr, after the program's name. */
__attribute__((format(printf, 1, 2))) static inline void tool_warn(const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, text);
}

/* Wrong usage, or no way to start. */
#define tool_die(...) (tool_warn(__VA_ARGS__), exit(2))

static inline long tool_number(const char *option, const char *text, long min, long max)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end == text || *end || errno || value < min || value > max)
        tool_die("%s wants a number from %ld to %ld, not \"%s\"; try --help", option, min, max,
                 text);
    return value;
}

/* Seconds, perhaps with a fraction, as nanoseconds. */
static inline int64_t tool_seconds(const char *option, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || value < 0.001 || value > 1e6)
        tool_die("%s wants seconds, such as 0.5 or 30, not \"%s\"; try --help", option, text);
    return (int64_t)(value * 1e9);
}

/* Take all the descriptors that the hard limit allows, and return how many those are: the usual
 * soft limit of 1024 is soon used up. */
static inline unsigned long tool_raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1024;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_max;
}

/* Listen, and say where. Returns the descriptor, or ends the program. */
static inline int tool_listen(const char *host, const char *port)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    char name[INET6_ADDRSTRLEN] = "";
    int fd = coir_tcp_listen(host, port, 0);
    if (fd < 0 || getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        tool_die("cannot listen on %s:%s: %s", host, port, strerror(errno));
    struct sockaddr_in *in4 = (void *)&address;
    struct sockaddr_in6 *in6 = (void *)&address;
    bool six = address.ss_family == AF_INET6;
    inet_ntop(address.ss_family, six ? (void *)&in6->sin6_addr : (void *)&in4->sin_addr, name,
              sizeof name);
    printf(six ? "listening on [%s]:%d\n" : "listening on %s:%d\n", name,
           ntohs(six ? in6->sin6_port : in4->sin_port));
    fflush(stdout);
    return fd;
}

/* Have SIGINT and SIGTERM, the new *set, wait for coir_sigwait. Returns 0, or -1 with errno. */
static inline int tool_watch_stop(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    return coir_signal_watch(set);
}

/* A scope that SIGINT and SIGTERM cancel. */
struct tool_stop {
    coir_scope *scope;
    coir_fiber *watch;
    sigset_t set;
    bool told; /* it was cancelled by one of them */
};

static inline void *tool_stop_watch(void *arg)
{
    struct tool_stop *stop = arg;
    int sig;
    if (coir_sigwait(&stop->set, &sig) == 0) {
        stop->told = true;
        coir_scope_cancel(stop->scope);
    }
    return NULL;
}

/* Before anything takes descriptors: the wait needs one. */
static inline void tool_stop_begin(struct tool_stop *stop, coir_scope *scope)
{
    stop->scope = scope;
    if (tool_watch_stop(&stop->set) < 0 || !(stop->watch = coir_spawn(tool_stop_watch, stop)))
        tool_die("cannot start: %s", strerror(errno));
    coir_yield();
}

/* Once the scope was waited for. */
static inline void tool_stop_end(struct tool_stop *stop)
{
    coir_cancel(stop->watch);
    coir_join(stop->watch, NULL);
}

/* Take connections for as long as the caller is not cancelled, and spawn serve(descriptor) for
 * each, which closes it, in a scope of KEEP_GOING. */
static inline int tool_accept_all(int listener, coir_scope *scope, const char *name,
                                  int (*serve)(void *fd))
{
    coir_attr attr = COIR_ATTR_INIT;
    attr.name = name;
    attr.flags = COIR_SPREAD;
    for (;;) {
        int fd = coir_accept(listener, NULL, NULL);
        if (fd < 0 && (errno == ECANCELED || errno == ECONNABORTED)) {
            if (errno == ECANCELED)
                return 0;
            continue;
        }
        if (fd >= 0 && coir_scope_spawn_with(scope, &attr, serve, (void *)(intptr_t)fd) == 0)
            continue;
        if (errno != ECANCELED)
            tool_warn("cannot take a connection: %s", strerror(errno));
        if (fd >= 0)
            coir_close(fd);
        if (coir_sleep(COIR_MS(200)) < 0) /* out of descriptors or memory: some will come free */
            return 0;
    }
}

#endif
