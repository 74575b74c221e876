/* tests/sched/late_cancel_test.c - a cancel that comes as its fiber ends does no harm to the next
 * one in the same record.
 * SPDX-License-Identifier: MIT */
#include "support/fiber_test.h"

enum { CROWD = 8, PATIENCE_S = 20 };

struct probe {
    int rounds;
    int lost; /* fibers that were spawned and never ran, or whose join never ended */
};

static void *run_shortly(void *arg)
{
    *(int *)arg = 1;
    coir_yield();
    return NULL;
}

static void one_round(struct probe *p, unsigned flags)
{
    int ran[CROWD] = { 0 };
    coir_fiber *fibers[CROWD];
    const coir_attr attr = { .flags = flags };
    for (int i = 0; i < CROWD; i++)
        fibers[i] = coir_spawn_with(&attr, run_shortly, &ran[i]);
    for (int i = 0; i < CROWD; i++)
        coir_cancel(fibers[i]);
    COIR_TIMEOUT(COIR_SEC(PATIENCE_S))
    {
        for (int i = 0; i < CROWD; i++)
            p->lost += coir_join(fibers[i], NULL) < 0 || !ran[i];
    }
}

static void spawn_cancel_join(void *arg)
{
    struct probe *p = arg;
    for (int i = 0; i < p->rounds && !p->lost; i++)
        one_round(p, COIR_SPREAD);
}

/* Goal: the mail of a cancel that is read while its fiber is joined does not stay with the record.
 * Method: fibers on other workers that end right when they are cancelled, over and over. */
static void a_late_cancel_does_not_stop_the_next_fiber(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct probe p = { .rounds = test_scaled(20000, 500) };
        assert_int_equal(fiber_test_run(*w, spawn_cancel_join, &p), 0);
        assert_int_equal(p.lost, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_cancel_does_not_stop_the_next_fiber),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
