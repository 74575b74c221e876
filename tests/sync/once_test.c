/* tests/sync/once_test.c - once, and nobody goes on before it is done.
 * SPDX-License-Identifier: MIT */
#include "crowd.h"

enum { FLAGS = 200 };

static coir_once_flag flags[FLAGS];
static _Atomic int calls[FLAGS], done[FLAGS], early, current;

static void do_it(void)
{
    int i = current;
    calls[i]++;
    for (int k = 0; k < 3; k++)
        kit_pause();
    if (i % 10 == 0 && coir_self())
        coir_sleep(COIR_US(100));
    errno = EDOM;
    done[i] = 1;
}

static coir_barrier all_here;

/* They meet at every flag, so that many come at once. */
static void *do_each_once(void *arg)
{
    for (int i = 0; i < FLAGS; i++) {
        if (coir_barrier_wait(&all_here) == 1)
            current = i;
        if (coir_barrier_wait(&all_here) < 0)
            abort();
        errno = ERANGE;
        coir_once(&flags[i], do_it);
        early += !done[i] || errno != ERANGE;
        coir_once(&flags[i], do_it);
    }
    return arg;
}

static void do_all_once(void *arg)
{
    (void)arg;
    memset(flags, 0, sizeof flags);
    memset(calls, 0, sizeof calls);
    memset(done, 0, sizeof done);
    coir_barrier_init(&all_here, CROWD);
    crowd_run(do_each_once, NULL);
}

static void it_is_done_once_before_anybody_goes_on(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        early = 0;
        assert_int_equal(fiber_test_run(*w, do_all_once, NULL), 0);
        assert_int_equal(early, 0);
        for (int i = 0; i < FLAGS; i++)
            assert_int_equal(calls[i], 1);
    }
}

static coir_once_flag slow;
static coir_sem go_on = COIR_SEM_INIT(0);
static _Atomic int slow_calls, slow_done, waited;
static struct kit_said in_fn;

static void do_slowly(void)
{
    slow_calls++;
    while (coir_check() == 0)
        coir_yield();
    in_fn = KIT_SAID(coir_sem_wait(&go_on));
    COIR_SHIELD(COIR_SEC(KIT_PATIENCE_S))
        crowd_ignore(coir_sem_wait(&go_on));
    slow_done = 1;
}

static void *wait_for_slow(void *arg)
{
    coir_once(&slow, do_slowly);
    waited += slow_done;
    return arg;
}

static void cancel_all(void *arg)
{
    coir_fiber *fibers[4];
    (void)arg;
    for (int i = 0; i < 4; i++) {
        fibers[i] = crowd_spawn(wait_for_slow, NULL);
        KIT_UNTIL(slow_calls);
    }
    for (int i = 1; i < 4; i++)
        crowd_is_parked(fibers[i]);
    for (int i = 0; i < 4; i++)
        coir_cancel(fibers[i]);
    coir_sleep(COIR_MS(1));
    coir_sem_post(&go_on);
    for (int i = 0; i < 4; i++)
        coir_join(fibers[i], NULL);
}

static void a_cancel_ends_neither_it_nor_the_wait_for_it(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        memset(&slow, 0, sizeof slow);
        slow_calls = slow_done = waited = 0;
        assert_int_equal(fiber_test_run(*w, cancel_all, NULL), 0);
        assert_int_equal(slow_calls, 1);
        assert_int_equal(waited, 4);
        kit_assert_said(in_fn, -1, ECANCELED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_done_once_before_anybody_goes_on),
        cmocka_unit_test(a_cancel_ends_neither_it_nor_the_wait_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
