/* tests/sched/many_test.c - many fibers: every one runs, once, and none is left over.
 * SPDX-License-Identifier: MIT
 *
 * Method: a hundred thousand (scaled) at once, in waves and detached, from fibers and with
 * COIR_SPREAD; sums of their numbers prove that each ran once. */
#include "kit.h"

struct crowd {
    int n;
    _Atomic long sum;
    _Atomic int ended;
    coir_fiber **fibers;
    long joined;
    int failed;
    unsigned flags;
    int in_use;
};

struct one {
    struct crowd *crowd;
    long number;
};

static void *add_up(void *arg)
{
    struct one *one = arg;
    atomic_fetch_add(&one->crowd->sum, one->number);
    if (one->number % 3 == 0)
        coir_yield();
    atomic_fetch_add(&one->crowd->ended, 1);
    return one;
}

static void count_record(struct coir__fiber *f, void *arg)
{
    (void)f;
    ++*(int *)arg;
}

/* Spawn numbers from..to, then join them in the order that step gives. */
static void wave(struct crowd *c, struct one *ones, int from, int to)
{
    coir_attr attr = { .flags = c->flags };
    for (int i = from; i < to; i++) {
        ones[i] = (struct one){ c, i };
        c->fibers[i] = coir_spawn_with(&attr, add_up, &ones[i]);
        if (!c->fibers[i])
            c->failed++;
    }
    if (c->flags & COIR_DETACHED) {
        if (!KIT_UNTIL(atomic_load(&c->ended) == to))
            c->failed++;
        return;
    }
    for (int i = to; i-- > from;) {
        void *result = NULL;
        if (coir_join(c->fibers[i], &result) < 0 || result != &ones[i])
            c->failed++;
        else
            c->joined += ((struct one *)result)->number;
    }
}

static void run_crowd(struct crowd *c, int wave_len)
{
    struct one *ones = calloc((size_t)c->n, sizeof *ones);
    c->fibers = calloc((size_t)c->n, sizeof *c->fibers);
    for (int from = 0; from < c->n; from += wave_len)
        wave(c, ones, from, from + wave_len < c->n ? from + wave_len : c->n);
    /* The records of detached fibers are free once their ends are counted. */
    struct coir__runtime *rt = coir__worker_self()->rt;
    KIT_UNTIL((c->in_use = 0, coir__record_each(rt, count_record, &c->in_use), c->in_use == 1));
    free(c->fibers);
    free(ones);
}

static void at_once(void *arg)
{
    struct crowd *c = arg;
    run_crowd(c, c->n);
}

static void in_waves(void *arg)
{
    run_crowd(arg, 1000);
}

static void one_by_one(void *arg)
{
    run_crowd(arg, 1);
}

static void check_crowd(unsigned workers, void (*fn)(void *), int n, unsigned flags)
{
    struct crowd c = { .n = n, .flags = flags };
    long sum = (long)n * (n - 1) / 2;
    assert_int_equal(fiber_test_run(workers, fn, &c), 0);
    assert_int_equal(c.failed, 0);
    assert_int_equal(c.ended, n);
    assert_int_equal(c.sum, sum);
    assert_int_equal(c.joined, flags & COIR_DETACHED ? 0 : sum);
    assert_int_equal(c.in_use, 1);
}

static void a_hundred_thousand_at_once(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        check_crowd(*w, at_once, test_scaled(100000, 2000), 0);
}

static void a_hundred_thousand_at_once_on_all_workers(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        check_crowd(*w, at_once, test_scaled(100000, 2000), COIR_SPREAD);
}

static void a_hundred_thousand_in_waves(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        check_crowd(*w, in_waves, test_scaled(100000, 2000), 0);
        check_crowd(*w, in_waves, test_scaled(100000, 2000), COIR_SPREAD);
    }
}

static void detached_ones_all_run_and_leave_nothing(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        check_crowd(*w, in_waves, test_scaled(50000, 2000), COIR_DETACHED);
        check_crowd(*w, in_waves, test_scaled(50000, 2000), COIR_DETACHED | COIR_SPREAD);
    }
}

static void one_after_the_other(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        check_crowd(*w, one_by_one, test_scaled(50000, 2000), 0);
}

/* A fiber that spawns two, and so on: joined from the leaves up. */
static void *tree(void *arg)
{
    intptr_t depth = (intptr_t)arg;
    if (depth == 0)
        return (void *)1;
    coir_attr attr = { .flags = depth % 2 ? COIR_SPREAD : 0 };
    coir_fiber *left = coir_spawn_with(&attr, tree, (void *)(depth - 1));
    coir_fiber *right = coir_spawn(tree, (void *)(depth - 1));
    void *a = NULL, *b = NULL;
    coir_join(left, &a);
    coir_join(right, &b);
    return (void *)((intptr_t)a + (intptr_t)b);
}

struct forest {
    intptr_t depth;
    void *leaves;
};

static void grow(void *arg)
{
    struct forest *f = arg;
    coir_join(coir_spawn(tree, (void *)f->depth), &f->leaves);
}

static void a_tree_of_fibers_over_all_workers(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct forest f = { .depth = test_scaled(100, 50) > 50 ? 14 : 9 };
        assert_int_equal(fiber_test_run(*w, grow, &f), 0);
        assert_int_equal((intptr_t)f.leaves, 1 << f.depth);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hundred_thousand_at_once),
        cmocka_unit_test(a_hundred_thousand_at_once_on_all_workers),
        cmocka_unit_test(a_hundred_thousand_in_waves),
        cmocka_unit_test(detached_ones_all_run_and_leave_nothing),
        cmocka_unit_test(one_after_the_other),
        cmocka_unit_test(a_tree_of_fibers_over_all_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
