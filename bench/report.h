/* bench/report.h - what the C and C++ programs here share: the clock, the process's memory, and the
 * line of JSON that bench/run.py reads. A process measures one row, so memory is all of its own.
 * SPDX-License-Identifier: MIT */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Yields per run over all fibers, whatever their number: the same in every peer. */
#define BENCH_YIELDS 4000000L
/* Rounds of every fiber before the clock starts: spawning and first touches stay outside. */
#define BENCH_WARM 4L
#define BENCH_WAVE 10000L
/* Times that each party locks the mutex. */
#define BENCH_LOCKS 1000L

/* In kB, as /proc/self/status tells it; maps: lines of /proc/self/maps. */
struct memory {
    long peak_kb, rss_kb, pte_kb, maps;
};

static inline int64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* CPU time of the process, all its threads and the kernel's part included: what getrusage says. */
static inline int64_t cpu_clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void die(const char *what)
{
    perror(what);
    exit(1);
}

/* The number behind "key:" in a file of /proc; -1 when there is none. */
static inline long proc_number(const char *path, const char *key)
{
    char line[256];
    long value = -1;
    size_t len = strlen(key);
    FILE *f = fopen(path, "re");
    if (!f)
        return -1;
    while (value < 0 && fgets(line, sizeof line, f))
        if (!strncmp(line, key, len) && line[len] == ':')
            value = atol(line + len + 1);
    fclose(f);
    return value;
}

static inline struct memory memory_now(void)
{
    struct memory m;
    m.peak_kb = proc_number("/proc/self/status", "VmHWM");
    m.rss_kb = proc_number("/proc/self/status", "VmRSS");
    m.pte_kb = proc_number("/proc/self/status", "VmPTE");
    m.maps = 0;
    FILE *f = fopen("/proc/self/maps", "re");
    if (f) {
        for (int c; (c = getc(f)) != EOF;)
            m.maps += c == '\n';
        fclose(f);
    }
    return m;
}

#if defined(__clang__)
#define COMPILER __VERSION__
#else
#define COMPILER "gcc " __VERSION__
#endif

static inline void report_version(const char *what, const char *version)
{
    printf("{\"row\": \"version\", \"version\": \"%s %s, compiled by %s\"}\n", what, version,
           COMPILER);
}

/* m: the memory at the moment that matters, NULL: now. more: further figures, `, "key": value`. */
static inline void report(const char *row, double ns, long ops, const struct memory *m,
                          const char *more)
{
    struct memory now = m ? *m : memory_now();
    printf("{\"row\": \"%s\", \"ns\": %.3f, \"ops\": %ld, \"peak_kb\": %ld, \"rss_kb\": %ld, "
           "\"pte_kb\": %ld, \"maps\": %ld%s}\n",
           row, ns, ops, now.peak_kb, now.rss_kb, now.pte_kb, now.maps, more);
}

#endif
