/* tests/sync/waitgroup_test.c - nobody goes on before all is done, and then everybody does.
 * SPDX-License-Identifier: MIT
 *
 * What holds for every wait is in waits_test.c. */
#include "crowd.h"

struct work {
    coir_waitgroup wg;
    _Atomic int done, early, failed;
    int each;
};

static void *do_work(void *arg)
{
    struct work *w = arg;
    for (int i = 0; i < w->each; i++) {
        if (i % 7 == 0)
            kit_pause();
        w->done++;
        coir_waitgroup_done(&w->wg);
    }
    return NULL;
}

static void *wait_for_work(void *arg)
{
    struct work *w = arg;
    w->failed += coir_waitgroup_wait(&w->wg) != 0;
    w->early += w->done != CROWD * w->each;
    w->failed += coir_waitgroup_wait(&w->wg) != 0; /* again */
    return NULL;
}

static void work_and_wait(void *arg)
{
    struct work *w = arg;
    coir_fiber *waiters[CROWD_FIBERS];
    pthread_t thread;
    for (int round = 0; round < 10; round++) {
        w->done = 0;
        coir_waitgroup_add(&w->wg, (unsigned)(CROWD * w->each - 1));
        coir_waitgroup_add(&w->wg, 1);
        for (int i = 0; i < CROWD_FIBERS; i++)
            waiters[i] = crowd_spawn(wait_for_work, w);
        pthread_create(&thread, NULL, wait_for_work, w);
        crowd_run(do_work, w);
        for (int i = 0; i < CROWD_FIBERS; i++)
            coir_join(waiters[i], NULL);
        pthread_join(thread, NULL);
    }
}

static void all_who_wait_go_on_when_all_is_done(void **state)
{
    const coir_waitgroup zero = COIR_WAITGROUP_INIT;
    (void)state;
    for (const unsigned *n = test_workers; *n; n++) {
        struct work w = { .each = test_scaled(100, 10) };
        assert_int_equal(fiber_test_run(*n, work_and_wait, &w), 0);
        assert_int_equal(w.early, 0);
        assert_int_equal(w.failed, 0);
        assert_memory_equal(&w.wg, &zero, sizeof zero);
    }
}

/* On the stack of who waits: it is gone at once, however late the last one comes back from
 * coir_waitgroup_done. */
static void *be_done(void *arg)
{
    coir_waitgroup_done(arg);
    return NULL;
}

static __attribute__((noinline)) int wait_for_three(int round)
{
    coir_waitgroup *wg = malloc(sizeof *wg);
    coir_attr attr = { .flags = COIR_SPREAD | COIR_DETACHED };
    memset(wg, 0, sizeof *wg);
    coir_waitgroup_add(wg, 3);
    for (int i = 0; i < 3; i++)
        coir_spawn_with(&attr, be_done, wg);
    for (int i = 0; i < round % 5; i++)
        kit_pause();
    int result = coir_waitgroup_wait(wg);
    memset(wg, 0xff, sizeof *wg);
    free(wg);
    return result;
}

static void wait_for_many(void *arg)
{
    struct work *w = arg;
    for (int i = 0; i < w->each; i++)
        w->failed += wait_for_three(i) != 0;
}

static void it_may_be_freed_as_soon_as_the_wait_returns(void **state)
{
    (void)state;
    for (const unsigned *n = test_workers; *n; n++) {
        struct work w = { .each = test_scaled(3000, 50) };
        assert_int_equal(fiber_test_run(*n, wait_for_many, &w), 0);
        assert_int_equal(w.failed, 0);
    }
}

struct early {
    coir_waitgroup wg;
    struct kit_said late, again;
};

static void wait_twice(void *arg)
{
    struct early *e = arg;
    coir_waitgroup_add(&e->wg, 2);
    COIR_TIMEOUT(COIR_MS(1))
        e->late = KIT_SAID(coir_waitgroup_wait(&e->wg));
    coir_waitgroup_done(&e->wg);
    coir_fiber *fiber = coir_spawn(be_done, &e->wg);
    e->again = KIT_SAID(coir_waitgroup_wait(&e->wg));
    coir_join(fiber, NULL);
}

static void who_returned_early_may_wait_again(void **state)
{
    struct early e = { .wg = COIR_WAITGROUP_INIT };
    (void)state;
    assert_int_equal(fiber_test_run(1, wait_twice, &e), 0);
    kit_assert_said(e.late, -1, ETIMEDOUT);
    kit_assert_said(e.again, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_who_wait_go_on_when_all_is_done),
        cmocka_unit_test(it_may_be_freed_as_soon_as_the_wait_returns),
        cmocka_unit_test(who_returned_early_may_wait_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
