/* tests/api/fpu_test.c - COIR_SAVE_FPU: rounding mode and its like, per fiber or per worker.
 * SPDX-License-Identifier: MIT */
#include "support/fiber_test.h"

#include <fenv.h>
#include <sched.h>

enum { ROUNDS = 50 };

struct rounder {
    int mode;
    unsigned flags;
    int changed; /* how often it found another mode after a park than it had set */
    int at_start;
};

static const int modes[] = { FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO, FE_TONEAREST };

static void *keep_rounding(void *arg)
{
    struct rounder *r = arg;
    r->at_start = fegetround();
    fesetround(r->mode);
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 2)
            coir_yield();
        else
            coir_sleep(COIR_US(10));
        r->changed += fegetround() != r->mode;
    }
    return NULL;
}

static void run_rounders(void *arg)
{
    struct rounder *r = arg;
    coir_fiber *f[4];
    for (int i = 0; i < 4; i++) {
        coir_attr attr = { .flags = r[i].flags };
        f[i] = coir_spawn_with(&attr, keep_rounding, &r[i]);
    }
    for (int i = 0; i < 4; i++)
        coir_join(f[i], NULL);
}

static void make(struct rounder *r, unsigned flags)
{
    for (int i = 0; i < 4; i++)
        r[i] = (struct rounder){ .mode = modes[i], .flags = flags };
}

static void each_fiber_keeps_its_rounding_mode(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct rounder r[4];
        make(r, COIR_SAVE_FPU);
        assert_int_equal(fiber_test_run(*w, run_rounders, r), 0);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(r[i].changed, 0);
            assert_int_equal(r[i].at_start, FE_TONEAREST);
        }
        assert_int_equal(fegetround(), FE_TONEAREST);
    }
}

struct mixed {
    struct rounder saver;
    int seen;
};

static void *look_at_mode(void *arg)
{
    struct mixed *m = arg;
    for (int i = 0; i < ROUNDS; i++) {
        m->seen += fegetround() != FE_TONEAREST;
        coir_yield();
    }
    return NULL;
}

static void run_mixed(void *arg)
{
    struct mixed *m = arg;
    coir_attr attr = { .flags = COIR_SAVE_FPU };
    coir_fiber *a = coir_spawn_with(&attr, keep_rounding, &m->saver);
    coir_fiber *b = coir_spawn(look_at_mode, m);
    coir_join(a, NULL);
    coir_join(b, NULL);
    m->seen += fegetround() != FE_TONEAREST;
}

/* Goal: what a fiber with the flag sets is not seen by fibers without it. */
static void the_others_do_not_see_it(void **state)
{
    struct mixed m = { .saver = { .mode = FE_UPWARD } };
    (void)state;
    assert_int_equal(fiber_test_run(1, run_mixed, &m), 0);
    assert_int_equal(m.saver.changed, 0);
    assert_int_equal(m.seen, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fiber_keeps_its_rounding_mode),
        cmocka_unit_test(the_others_do_not_see_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
