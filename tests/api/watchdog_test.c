/* tests/api/watchdog_test.c - COIR_WATCHDOG: who holds a worker is named, and nobody else.
 * SPDX-License-Identifier: MIT
 *
 * Method: child processes with the variable set; their stderr is read. */
#include "../sched/kit.h"
#include "dump_kit.h"

#include <dirent.h>

static char text[1 << 16];

static int times_said(const char *what)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        n++;
    return n;
}

static int64_t thread_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

__attribute__((noinline, used, visibility("default"))) void *computes(void *ms)
{
    int64_t until_ns = thread_cpu_ns() + COIR_MS((intptr_t)ms);
    while (thread_cpu_ns() < until_ns)
        for (volatile int i = 0; i < 1000000; i++)
            ; /* so that it is found here, and not in libc */
    return NULL;
}

__attribute__((noinline, used, visibility("default"))) void *blocks(void *ms)
{
    struct timespec t = { (intptr_t)ms / 1000, (intptr_t)ms % 1000 * 1000000 };
    while (nanosleep(&t, &t) < 0)
        ;
    return NULL;
}

/* Never holds its worker for long, but keeps it busy. */
static void *behaves(void *arg)
{
    int64_t until_ns = coir_now() + COIR_MS((intptr_t)arg);
    while (coir_now() < until_ns)
        coir_yield();
    return NULL;
}

static void *waits(void *arg)
{
    coir_sleep(COIR_MS((intptr_t)arg));
    return NULL;
}

struct offence {
    const char *limit;
    unsigned workers;
    void *(*fn)(void *);
    intptr_t ms;
    void *(*others)(void *);
};

static void commit(void *arg)
{
    const struct offence *o = arg;
    coir_attr attr = { .name = "culprit", .flags = COIR_SPREAD };
    coir_fiber *fibers[5];
    for (int i = 0; i < 4; i++)
        fibers[i] = coir_spawn(o->others, (void *)(o->ms / 2));
    fibers[4] = coir_spawn_with(&attr, o->fn, (void *)o->ms);
    for (int i = 0; i < 5; i++)
        coir_join(fibers[i], NULL);
}

static int run_watched(void *arg)
{
    const struct offence *o = arg;
    setenv("COIR_WATCHDOG", o->limit, 1);
    int threads = test_threads();
    int err = fiber_test_run(o->workers, commit, arg);
    return err || !kit_threads_become(threads);
}

static void check(const struct offence *o)
{
    int status = test_child(run_watched, (void *)(uintptr_t)o, text, sizeof text);
    if (status)
        print_error("0x%x\n%s", status, text);
    assert_int_equal(status, 0);
}

static void who_computes_for_too_long_is_named_with_its_backtrace(void **state)
{
    (void)state;
    if (TEST_TSAN)
        skip();
    for (const unsigned *w = test_workers; *w; w++) {
        const struct offence o = { "50", *w, computes, 400, waits };
        check(&o);
        dump_assert(text, "coir: fiber 0x* \"culprit\" has held worker * for * ms\n    ");
        dump_assert(text, "computes+0x");
        assert_in_range(times_said(" has held worker "), 1, 4); /* 50, 100, 200, 400 */
        assert_int_equal(times_said("\"culprit\" has held worker "), times_said(" has held "));
    }
}

static void so_is_who_blocks_its_worker_in_a_system_call(void **state)
{
    const struct offence o = { "50", 2, blocks, 400, waits };
    (void)state;
    if (TEST_TSAN)
        skip();
    check(&o);
    dump_assert(text, "coir: fiber 0x* \"culprit\" has held worker * for * ms\n    ");
    if (TEST_GLIBC) /* others have no unwind information of what makes the call */
        dump_assert(text, "blocks+0x");
    assert_int_equal(times_said("\"culprit\" has held worker "), times_said(" has held "));
}

static void nobody_is_named_who_parks_in_time(void **state)
{
    const struct offence cases[] = {
        { "300", 1, behaves, 1000, waits }, { "300", 2, behaves, 1000, behaves },
        { "300", 2, waits, 1000, waits },   { "300", 1, computes, 20, behaves },
        { "0", 1, computes, 400, waits },   { "", 1, computes, 400, waits },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check(&cases[i]);
        assert_string_equal(text, "");
    }
}

/* The whole process stops meanwhile; somebody has to let it go on. */
static void *is_stopped(void *arg)
{
    pid_t me = getpid(), other = fork();
    if (other == 0) {
        usleep(700 * 1000);
        kill(me, SIGCONT);
        _exit(0);
    }
    raise(SIGSTOP);
    waitpid(other, NULL, 0);
    return arg;
}

static void time_in_which_its_thread_could_not_run_does_not_count(void **state)
{
    const struct offence o = { "300", 1, is_stopped, 100, waits };
    (void)state;
    if (TEST_TSAN)
        skip();
    check(&o);
    assert_string_equal(text, "");
}

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

/* A runtime that starts by itself, with this thread outside it. */
static int watch_an_idle_runtime(void *arg)
{
    struct timespec settle = { 3, 0 }, watch = { 1, 0 };
    (void)arg;
    setenv("COIR_WATCHDOG", "20", 1);
    setenv("COIR_DUMP_SIGNAL", "QUIT", 1);
    setenv("COIR_WORKERS", "2", 1);
    coir_spawn(waits, (void *)3600000);
    nanosleep(&settle, NULL);
    long before = switches_of_others();
    nanosleep(&watch, NULL);
    return (int)(switches_of_others() - before);
}

static void it_sleeps_while_all_workers_sleep(void **state)
{
    (void)state;
    if (TEST_TSAN)
        skip();
    int status = test_child(watch_an_idle_runtime, NULL, text, sizeof text);
    assert_int_equal(status, 0);
    assert_string_equal(text, "");
}

static void wrong_values_are_reported_and_ignored(void **state)
{
    static const char *const wrong[] = { "-1", "3600001", "fast", "1.5", "10ms" };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const struct offence o = { wrong[i], 1, waits, 1, waits };
        char line[128];
        check(&o);
        snprintf(line, sizeof line, "coir: COIR_WATCHDOG=%s is ignored: it wants milliseconds, "
                                    "from 1 to 3600000\n", wrong[i]);
        assert_string_equal(text, line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_computes_for_too_long_is_named_with_its_backtrace),
        cmocka_unit_test(so_is_who_blocks_its_worker_in_a_system_call),
        cmocka_unit_test(nobody_is_named_who_parks_in_time),
        cmocka_unit_test(time_in_which_its_thread_could_not_run_does_not_count),
        cmocka_unit_test(it_sleeps_while_all_workers_sleep),
        cmocka_unit_test(wrong_values_are_reported_and_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
