/* tests/api/idle_test.c - a runtime with nothing to do costs nothing.
 * SPDX-License-Identifier: MIT */
#include "support/fiber_test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WAITERS = 100 };

struct probe {
    long switches_before, switches_after;
    int64_t cpu_before_ns, cpu_after_ns;
    coir_fiber *fibers[WAITERS];
    int pipes[2];
};

/* Context switches of one thread, voluntary and not. */
static long switches_of(const char *tid)
{
    char path[64], line[128];
    long sum = 0, n;
    snprintf(path, sizeof path, "/proc/self/task/%.20s/status", tid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1 ||
            sscanf(line, "nonvoluntary_ctxt_switches: %ld", &n) == 1)
            sum += n;
    if (file)
        fclose(file);
    return sum;
}

/* Of all threads but the one that asks. */
static long switches_of_others(void)
{
    char own[32];
    long sum = 0;
    snprintf(own, sizeof own, "%d", gettid());
    DIR *dir = opendir("/proc/self/task");
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.' && strcmp(e->d_name, own))
            sum += switches_of(e->d_name);
    if (dir)
        closedir(dir);
    return sum;
}

static int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *wait_for_ever(void *arg)
{
    struct probe *p = arg;
    char c;
    static _Atomic int turn;
    if (turn++ % 2)
        coir_sleep(COIR_SEC(3600));
    else
        coir_read(p->pipes[0], &c, 1);
    return NULL;
}

/* The test's own thread is no worker here: the runtime starts by itself. Stacks that were used and
 * are free are given back in the first two seconds; after that there is nothing left to do. */
static void an_idle_runtime_makes_no_wake_ups(void **state)
{
    struct probe p = { 0 };
    (void)state;
    if (TEST_TSAN)
        skip();
    setenv("COIR_WORKERS", "2", 1);
    assert_int_equal(pipe(p.pipes), 0);
    for (int i = 0; i < WAITERS; i++)
        assert_non_null(p.fibers[i] = coir_spawn(wait_for_ever, &p));
    struct timespec settle = { 3, 0 }, watch = { 1, 0 };
    nanosleep(&settle, NULL);
    p.switches_before = switches_of_others();
    p.cpu_before_ns = cpu_ns();
    nanosleep(&watch, NULL);
    p.switches_after = switches_of_others();
    p.cpu_after_ns = cpu_ns();
    for (int i = 0; i < WAITERS; i++)
        coir_cancel(p.fibers[i]);
    for (int i = 0; i < WAITERS; i++)
        assert_int_equal(coir_join(p.fibers[i], NULL), 0);
    assert_int_equal(p.switches_after - p.switches_before, 0);
    assert_in_range(p.cpu_after_ns - p.cpu_before_ns, 0, COIR_MS(20)); /* the asking itself */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_runtime_makes_no_wake_ups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
