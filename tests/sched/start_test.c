/* tests/sched/start_test.c - starting, failing to start, and starting again: nothing may be left.
 * SPDX-License-Identifier: MIT
 *
 * Method: count descriptors, threads and memory maps, and look at the signal handlers, before and
 * after; the fake engine fails on demand. */
#include "kit.h"

#include "support/fake_engine.h"

#include <malloc.h>
#include <signal.h>

enum { KB_MORE_MAX = 1024 };

struct things {
    int fds, threads, maps;
    long size_kb; /* of the address space */
    void *segv, *bus;
    int alt_flags;
};

static long address_space_kb(void)
{
    long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (!statm || fscanf(statm, "%ld", &pages) != 1)
        pages = -1;
    if (statm)
        fclose(statm);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static struct things look(void)
{
    struct things t = { .fds = test_fds_open(), .threads = test_threads(), .maps = test_maps() };
    struct sigaction segv, bus;
    stack_t alt;
    sigaction(SIGSEGV, NULL, &segv);
    sigaction(SIGBUS, NULL, &bus);
    sigaltstack(NULL, &alt);
    memcpy(&t.segv, &segv.sa_handler, sizeof t.segv);
    memcpy(&t.bus, &bus.sa_handler, sizeof t.bus);
    t.alt_flags = alt.ss_flags;
    t.size_kb = address_space_kb();
    return t;
}

/* The C library keeps the stacks of ended threads for new ones, and an arena for each that ever
 * called malloc: so a few maps may come in the first runs. */
static void assert_same(struct things a, struct things b, int maps_more)
{
    assert_int_equal(b.fds, a.fds);
    assert_true(kit_threads_become(a.threads));
    assert_ptr_equal(b.segv, a.segv);
    assert_ptr_equal(b.bus, a.bus);
    assert_int_equal(b.alt_flags, a.alt_flags);
    if (test_qemu() || TEST_SANITIZED)
        return;
    if (b.maps > a.maps + maps_more)
        print_error("memory maps: %d before, %d after\n", a.maps, b.maps);
    assert_true(b.maps <= a.maps + maps_more);
    if (b.size_kb > a.size_kb + KB_MORE_MAX)
        print_error("address space: %ld KiB before, %ld after\n", a.size_kb, b.size_kb);
    assert_true(b.size_kb <= a.size_kb + KB_MORE_MAX);
}

struct count {
    _Atomic int ran;
};

static void *add_one(void *arg)
{
    struct count *c = arg;
    coir_sleep(COIR_US(10));
    atomic_fetch_add(&c->ran, 1);
    return NULL;
}

static void a_bit_of_everything(void *arg)
{
    const coir_attr attrs[] = { { .flags = 0 },
                                { .flags = COIR_SPREAD },
                                { .flags = COIR_DETACHED | COIR_SPREAD },
                                { .stack_bytes = 1 << 20 },
                                { .stack_bytes = 16384, .flags = COIR_SAVE_FPU } };
    coir_fiber *fibers[100];
    for (int i = 0; i < 100; i++)
        fibers[i] = coir_spawn_with(&attrs[i % 5], add_one, arg);
    for (int i = 0; i < 50; i++)
        if (i % 5 != 2)
            coir_join(fibers[i], NULL);
}

static void runs_again_and_again_leave_nothing(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct count c = { 0 };
        for (int i = 0; i < 3; i++)
            assert_int_equal(fiber_test_run(*w, a_bit_of_everything, &c), 0);
        struct things before = look();
        int n = test_scaled(100, 10);
        for (int i = 0; i < n; i++)
            assert_int_equal(fiber_test_run(*w, a_bit_of_everything, &c), 0);
        assert_same(before, look(), 3);
        assert_int_equal(c.ran, 100 * (n + 3));
    }
}

static void must_not_run(void *arg)
{
    ((struct count *)arg)->ran = -1000;
}

/* Start with an engine that cannot on worker `index`. */
static void fail_on(int index, int err)
{
    for (const unsigned *w = test_workers; *w; w++) {
        struct count c = { 0 };
        assert_int_equal(fiber_test_run(*w, a_bit_of_everything, &c), 0);
        if (!kit_fake())
            skip();
        if (index >= (int)*w)
            continue;
        c.ran = 0;
        fake_engine_fail_init(index, -err);
        fiber_test_run(*w, must_not_run, &c);
        struct things before = look();
        for (int i = 0; i < test_scaled(50, 5); i++)
            assert_int_equal(fiber_test_run(*w, must_not_run, &c), err);
        assert_same(before, look(), 3);
        assert_int_equal(c.ran, 0);
        fake_engine_fail_init(index, 0);
        assert_int_equal(fiber_test_run(*w, a_bit_of_everything, &c), 0);
        assert_int_equal(c.ran, 100);
    }
}

static int let_it_start(void **state)
{
    (void)state;
    fake_engine_fail_init(0, 0);
    return 0;
}

/* Far more workers than CPUs start, and end, without getting in each other's way. */
static void hundreds_of_workers_start_and_end(void **state)
{
    (void)state;
    struct things before = look();
    assert_int_equal(fiber_test_run((unsigned)test_scaled(512, 16), kit_empty, NULL), 0);
    assert_int_equal(test_fds_open(), before.fds);
    assert_true(kit_threads_become(before.threads));
}

static void a_start_that_fails_on_the_first_worker_leaves_nothing(void **state)
{
    (void)state;
    fail_on(0, ENOSYS);
}

static void a_start_that_fails_on_the_second_leaves_nothing(void **state)
{
    (void)state;
    fail_on(1, EPERM);
}

static void a_start_that_fails_on_the_last_worker_leaves_nothing(void **state)
{
    (void)state;
    fail_on(3, ENOMEM);
}

static void a_start_that_fails_on_all_workers_leaves_nothing(void **state)
{
    (void)state;
    fail_on(-1, ENOSYS);
}

/* The runtime that starts by itself: its failure is the spawn's, and the next one tries again. */
static int spawn_with_a_failing_engine(void *arg)
{
    (void)arg;
    alarm(KIT_PATIENCE_S);
    for (int index = -1; index < 1; index++) {
        fake_engine_fail_init(index, -EACCES);
        for (int i = 0; i < 5; i++) {
            errno = 0;
            if (coir_spawn(kit_nothing, NULL) || errno != EACCES)
                return 1;
        }
        if (!kit_threads_become(1))
            return 2;
    }
    fake_engine_fail_init(0, 0);
    coir_fiber *f = coir_spawn(kit_nothing, NULL);
    return f && coir_join(f, NULL) == 0 ? 0 : 3;
}

static void a_runtime_that_cannot_start_by_itself_is_the_spawns_error(void **state)
{
    char text[256];
    (void)state;
    assert_int_equal(fiber_test_run(1, kit_empty, NULL), 0);
    if (!kit_fake())
        skip();
    assert_int_equal(test_child(spawn_with_a_failing_engine, NULL, text, sizeof text), 0);
}

int main(void)
{
#ifdef M_ARENA_MAX
    mallopt(M_ARENA_MAX, 1); /* else each new thread may reserve 64 MiB for itself */
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_again_and_again_leave_nothing),
        cmocka_unit_test(hundreds_of_workers_start_and_end),
        cmocka_unit_test_setup_teardown(a_start_that_fails_on_the_first_worker_leaves_nothing, NULL,
                                        let_it_start),
        cmocka_unit_test_setup_teardown(a_start_that_fails_on_the_second_leaves_nothing, NULL,
                                        let_it_start),
        cmocka_unit_test_setup_teardown(a_start_that_fails_on_the_last_worker_leaves_nothing, NULL,
                                        let_it_start),
        cmocka_unit_test_setup_teardown(a_start_that_fails_on_all_workers_leaves_nothing, NULL,
                                        let_it_start),
        cmocka_unit_test(a_runtime_that_cannot_start_by_itself_is_the_spawns_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
