/* bench/peers/pthread.c - OS threads: what they cost without any library.   Try: pthread yield 100
 * SPDX-License-Identifier: MIT
 *
 * Rows as in coir_bench.c, at counts that fit a kernel: yield (sched_yield; a tenth of the others'
 * yields), spawn_waves, parked. Stacks of 16 KiB. The kernel's own memory, about 20 KiB per thread,
 * is in no figure here. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "../report.h"

enum { STACK_BYTES = 16 * 1024 };

static struct {
    long n, each, ops;
    atomic_long warm, done, parked;
    _Atomic int64_t t0, t1;
    sem_t release;
    struct memory memory;
} run;

static pthread_attr_t attr;

static pthread_t *threads(long n)
{
    pthread_t *t = calloc((size_t)n, sizeof *t);
    if (!t)
        die("calloc");
    return t;
}

static void start(pthread_t *t, void *(*fn)(void *))
{
    errno = pthread_create(t, &attr, fn, NULL);
    if (errno)
        die("pthread_create");
}

static void *yielder(void *arg)
{
    for (long i = 0; i < BENCH_WARM; i++)
        sched_yield();
    if (atomic_fetch_add(&run.warm, 1) + 1 == run.n)
        run.t0 = clock_ns();
    while (atomic_load(&run.warm) < run.n)
        sched_yield();
    for (long i = 0; i < run.each; i++)
        sched_yield();
    if (atomic_fetch_add(&run.done, 1) + 1 == run.n)
        run.t1 = clock_ns();
    return arg;
}

static void yield_row(void)
{
    pthread_t *t = threads(run.n);
    run.each = BENCH_YIELDS / 10 / run.n;
    run.ops = run.each * run.n;
    for (long i = 0; i < run.n; i++)
        start(&t[i], yielder);
    for (long i = 0; i < run.n; i++)
        pthread_join(t[i], NULL);
    free(t);
}

static void *empty(void *arg)
{
    return arg;
}

static void spawn_waves_row(void)
{
    pthread_t *t = threads(BENCH_WAVE);
    run.t0 = clock_ns();
    for (; run.ops < run.n; run.ops += BENCH_WAVE) {
        for (long i = 0; i < BENCH_WAVE; i++)
            start(&t[i], empty);
        for (long i = 0; i < BENCH_WAVE; i++)
            pthread_join(t[i], NULL);
    }
    run.t1 = clock_ns();
    free(t);
}

static void *sleeper(void *arg)
{
    atomic_fetch_add(&run.parked, 1);
    while (sem_wait(&run.release) < 0)
        ;
    return arg;
}

static void parked_row(void)
{
    pthread_t *t = threads(run.n);
    sem_init(&run.release, 0, 0);
    run.t0 = clock_ns();
    for (long i = 0; i < run.n; i++)
        start(&t[i], sleeper);
    while (atomic_load(&run.parked) < run.n)
        sched_yield();
    run.t1 = clock_ns();
    run.ops = run.n;
    run.memory = memory_now();
    for (long i = 0; i < run.n; i++)
        sem_post(&run.release);
    for (long i = 0; i < run.n; i++)
        pthread_join(t[i], NULL);
    free(t);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(void);
    } rows[] = { { "yield", yield_row },
                 { "spawn_waves", spawn_waves_row },
                 { "parked", parked_row } };
    if (argc != 3 || (run.n = atol(argv[2])) < 1) {
        fprintf(stderr, "usage: %s yield|spawn_waves|parked N\n", argv[0]);
        return 2;
    }
    pthread_attr_init(&attr);
    errno = pthread_attr_setstacksize(&attr, STACK_BYTES);
    if (errno)
        die("pthread_attr_setstacksize");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(argv[1], rows[i].name))
            continue;
        rows[i].fn();
        report(rows[i].name, (double)(run.t1 - run.t0) / (double)run.ops, run.ops,
               run.memory.maps ? &run.memory : NULL, "");
        return 0;
    }
    fprintf(stderr, "%s: no row '%s'\n", argv[0], argv[1]);
    return 2;
}
