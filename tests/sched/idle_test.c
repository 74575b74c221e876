/* tests/sched/idle_test.c - a runtime that has nothing to do does nothing: no wake-up, no CPU time.
 * SPDX-License-Identifier: MIT
 *
 * Method: a plain thread reads the kernel's counters of all other threads while every fiber is
 * parked. What is left of earlier work - stacks are given back in steps of a second - may take a
 * few seconds; then there has to be a window of two seconds without a single switch. */
#include "kit.h"

#include <dirent.h>

enum { WINDOW_MS = 2000, SETTLE_S = 30, FIBERS = 200 };

struct idle {
    coir_fiber *fibers[FIBERS];
    _Atomic int parked;
    int quiet_windows, threads_seen;
    long long switches, ticks; /* in the last window */
};

struct used {
    long long switches, ticks;
    int threads;
};

/* A number after a word in a file; -1. */
static long long number_after(const char *path, const char *word)
{
    char line[256];
    long long number = -1;
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, word, strlen(word)) == 0)
            number = atoll(line + strlen(word));
    if (file)
        fclose(file);
    return number;
}

/* User and system time of a thread, in clock ticks: fields 14 and 15 of stat. */
static long long cpu_ticks(const char *path)
{
    long long user = 0, system = 0;
    char name[64];
    FILE *file = fopen(path, "re");
    if (!file || fscanf(file,
                        "%*d (%63[^)]) %*c %*d %*d %*d %*d %*d %*d %*d %*d %*d %*d %lld %lld",
                        name, &user, &system) != 3)
        user = -1;
    if (file)
        fclose(file);
    return user + system;
}

static struct used used_by_others(void)
{
    struct used used = { 0, 0, 0 };
    long me = (long)gettid();
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *e; tasks && (e = readdir(tasks)) != NULL;) {
        char path[128];
        if (e->d_name[0] == '.' || atol(e->d_name) == me)
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%.20s/status", e->d_name);
        used.switches += number_after(path, "voluntary_ctxt_switches:");
        snprintf(path, sizeof path, "/proc/self/task/%.20s/stat", e->d_name);
        used.ticks += cpu_ticks(path);
        used.threads++;
    }
    if (tasks)
        closedir(tasks);
    return used;
}

static void *watch(void *arg)
{
    struct idle *idle = arg;
    while (atomic_load(&idle->parked) < FIBERS)
        usleep(1000);
    for (int tries = 0; tries < SETTLE_S * 1000 / WINDOW_MS && !idle->quiet_windows; tries++) {
        struct used before = used_by_others();
        usleep(WINDOW_MS * 1000);
        struct used after = used_by_others();
        idle->switches = after.switches - before.switches;
        idle->ticks = after.ticks - before.ticks;
        idle->threads_seen = after.threads;
        idle->quiet_windows += idle->switches == 0 && idle->ticks == 0;
    }
    for (int i = 0; i < FIBERS; i++)
        coir_cancel(idle->fibers[i]);
    return NULL;
}

static void *park(void *arg)
{
    struct idle *idle = arg;
    atomic_fetch_add(&idle->parked, 1);
    coir_sleep(atomic_load(&idle->parked) % 2 ? COIR_NEVER : COIR_SEC(3600));
    return NULL;
}

static void all_parked(void *arg)
{
    struct idle *idle = arg;
    const coir_attr spread = { .flags = COIR_SPREAD };
    pthread_t thread;
    for (int i = 0; i < 1000; i++) /* some work, so that there is something to give back */
        coir_detach(coir_spawn_with(&spread, kit_nothing, NULL));
    for (int i = 0; i < FIBERS; i++)
        idle->fibers[i] = coir_spawn_with(&spread, park, idle);
    pthread_create(&thread, NULL, watch, idle);
    for (int i = 0; i < FIBERS; i++)
        coir_join(idle->fibers[i], NULL);
    pthread_join(thread, NULL);
}

static void with_all_fibers_parked_no_thread_wakes_up(void **state)
{
    (void)state;
    if (TEST_TSAN)
        skip();
    for (const unsigned *w = test_workers; *w; w++) {
        struct idle idle = { .parked = 0 };
        assert_int_equal(fiber_test_run(*w, all_parked, &idle), 0);
        if (!idle.quiet_windows)
            print_error("%u workers: %lld switches and %lld clock ticks in the last window\n", *w,
                        idle.switches, idle.ticks);
        assert_true(idle.threads_seen >= (int)*w);
        assert_int_equal(idle.quiet_windows, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_all_fibers_parked_no_thread_wakes_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
