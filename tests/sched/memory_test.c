/* tests/sched/memory_test.c - out of memory: spawning says ENOMEM, and all that was promised holds.
 * SPDX-License-Identifier: MIT
 *
 * Method: a child process limits its address space to a little more than it has, spawns until it is
 * refused, lets all go, and does it again: what was lost would be missing in later rounds. With one
 * worker the rounds are alike; with more, chance divides the memory into records and stacks. */
#include "kit.h"

enum { FIBERS_MAX = 1000000, ROUNDS = 5, NO_LIMIT_HERE = 77, FAILED = 10 };

struct crowd {
    unsigned workers;
    bool start; /* let each start, so that stacks run out; else records do */
    coir_fiber **fibers;
    long spawned, wrong;
    _Atomic long started, ended;
    _Atomic bool go;
};

static void *stay(void *arg)
{
    struct crowd *c = arg;
    atomic_fetch_add(&c->started, 1);
    while (!atomic_load(&c->go))
        coir_sleep(COIR_SEC(KIT_PATIENCE_S));
    atomic_fetch_add(&c->ended, 1);
    return c;
}

static void exhaust(void *arg)
{
    struct crowd *c = arg;
    const coir_attr spread = { .flags = COIR_SPREAD };
    unsigned refused = 0;
    c->spawned = 0;
    atomic_store(&c->go, false);
    while (c->spawned < FIBERS_MAX && refused < c->workers) {
        coir_fiber *f = coir_spawn_with(&spread, stay, c);
        if (f) {
            c->fibers[c->spawned++] = f;
            refused = 0;
        } else {
            c->wrong += errno != ENOMEM;
            refused++;
        }
        if (c->start && c->spawned % 16 == 0)
            coir_sleep(COIR_US(20));
    }
    atomic_store(&c->go, true);
    for (long i = 0; i < c->spawned; i++)
        coir_cancel(c->fibers[i]);
    for (long i = 0; i < c->spawned; i++) {
        void *result = NULL;
        c->wrong += coir_join(c->fibers[i], &result) != 0 || result != c;
    }
    c->wrong += atomic_exchange(&c->started, 0) != c->spawned;
    c->wrong += atomic_exchange(&c->ended, 0) != c->spawned;
}

static int run_out_of_memory(void *arg)
{
    struct crowd *c = arg;
    const coir_options options = { .workers = c->workers };
    alarm(2 * KIT_PATIENCE_S);
    c->fibers = malloc(FIBERS_MAX * sizeof *c->fibers);
    if (!c->fibers || coir_run(kit_empty, NULL, &options) < 0)
        return FAILED;
    if (!kit_limit_memory(96 * 1024))
        return NO_LIMIT_HERE;
    long enough = 100;
    for (int round = 0; round < ROUNDS; round++) {
        if (coir_run(exhaust, c, &options) < 0)
            return FAILED + 1 + round;
        if (c->wrong)
            return FAILED + 10;
        if (c->spawned < enough || c->spawned == FIBERS_MAX)
            return FAILED + 11;
        if (c->workers == 1)
            enough = c->spawned * 19 / 20;
    }
    return 0;
}

static void check_crowd(bool start)
{
    if (TEST_SANITIZED || TEST_VALGRIND)
        skip(); /* they live in the same process, and die of the limit themselves */
    for (const unsigned *w = test_workers; *w; w++) {
        struct crowd c = { .workers = *w, .start = start };
        char text[512];
        int status = test_child(run_out_of_memory, &c, text, sizeof text);
        if (WIFEXITED(status) && WEXITSTATUS(status) == NO_LIMIT_HERE)
            skip();
        if (status)
            print_error("child: status 0x%x: %s\n", status, text);
        assert_int_equal(status, 0);
    }
}

static void when_stacks_run_out_spawning_fails_and_the_others_run(void **state)
{
    (void)state;
    check_crowd(true);
}

static void when_records_run_out_spawning_fails_and_the_others_run(void **state)
{
    (void)state;
    check_crowd(false);
}

/* Not enough for a runtime: coir_run says so, and works when there is enough again. */
static int start_without_memory(void *arg)
{
    const coir_options options = { .workers = *(unsigned *)arg };
    const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };
    int failures = 0, maps = 0;
    alarm(2 * KIT_PATIENCE_S);
    if (coir_run(kit_empty, NULL, &options) < 0)
        return FAILED;
    int fds = test_fds_open();
    for (long more_kb = 0; more_kb < 256 * 1024; more_kb += more_kb / 4 + 64) {
        if (!kit_limit_memory(more_kb))
            return NO_LIMIT_HERE;
        int result = coir_run(kit_empty, NULL, &options), err = errno;
        setrlimit(RLIMIT_AS, &none);
        failures += result < 0;
        if (result < 0 && err != ENOMEM && err != EAGAIN)
            return FAILED + 1;
        if (!kit_threads_become(1))
            return FAILED + 2;
        if (test_fds_open() != fds)
            return FAILED + 3;
        if (more_kb == 0)
            maps = test_maps();
        if (test_maps() > maps + 12)
            return FAILED + 4;
    }
    if (coir_run(kit_empty, NULL, &options) < 0)
        return FAILED + 5;
    return failures ? 0 : FAILED + 6;
}

static void a_start_without_memory_is_an_error_and_leaves_nothing(void **state)
{
    (void)state;
    if (TEST_SANITIZED || TEST_VALGRIND)
        skip();
    for (const unsigned *w = test_workers; *w; w++) {
        unsigned workers = *w;
        char text[512];
        int status = test_child(start_without_memory, &workers, text, sizeof text);
        if (WIFEXITED(status) && WEXITSTATUS(status) == NO_LIMIT_HERE)
            skip();
        if (status)
            print_error("child: status 0x%x: %s\n", status, text);
        assert_int_equal(status, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(when_stacks_run_out_spawning_fails_and_the_others_run),
        cmocka_unit_test(when_records_run_out_spawning_fails_and_the_others_run),
        cmocka_unit_test(a_start_without_memory_is_an_error_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
