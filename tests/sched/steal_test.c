/* tests/sched/steal_test.c - fresh fibers go where there is time for them, started ones stay.
 * SPDX-License-Identifier: MIT
 *
 * Method: a fiber that never parks keeps its worker busy; whatever it spawned runs elsewhere or not
 * at all. Each fiber notes on which worker it was, and counts itself. */
#include "kit.h"

enum { FIBERS_MAX = 5000 };

struct thief {
    coir_fiber *fibers[FIBERS_MAX];
    _Atomic int ran[FIBERS_MAX];
    _Atomic int all, cancelled, moved, elsewhere;
    struct coir__worker *home;
    int n, wrong, joined;
};

static struct thief *thief_new(int n)
{
    struct thief *t = calloc(1, sizeof *t);
    t->n = n;
    return t;
}

struct piece {
    struct thief *thief;
    int number;
};

static void *count_me(void *arg)
{
    struct piece *p = arg;
    struct thief *t = p->thief;
    atomic_fetch_add(&t->ran[p->number], 1);
    atomic_fetch_add(&t->elsewhere, coir__worker_self() != t->home);
    atomic_fetch_add(&t->all, 1);
    return p;
}

/* Not by KIT_UNTIL, which yields. */
static bool spin_until(_Atomic int *value, int wanted)
{
    int64_t until_ns = coir_now() + COIR_SEC(KIT_PATIENCE_S);
    while (atomic_load(value) < wanted && coir_now() < until_ns)
        sched_yield();
    return atomic_load(value) >= wanted;
}

static void spin_for(int64_t ns)
{
    for (int64_t until_ns = coir_now() + ns; coir_now() < until_ns;)
        coir__arch_pause();
}

static void join_all(struct thief *t, const struct piece *pieces)
{
    for (int i = 0; i < t->n; i++) {
        void *result = NULL;
        t->joined += coir_join(t->fibers[i], &result) == 0;
        t->wrong += result != &pieces[i] || atomic_load(&t->ran[i]) != 1;
    }
}

static void spawn_and_spin(void *arg)
{
    struct thief *t = arg;
    struct piece *pieces = calloc((size_t)t->n, sizeof *pieces);
    t->home = coir__worker_self();
    for (int i = 0; i < t->n; i++) {
        pieces[i] = (struct piece){ t, i };
        t->fibers[i] = coir_spawn(count_me, &pieces[i]);
    }
    t->wrong += !spin_until(&t->all, t->n);
    t->wrong += atomic_load(&t->elsewhere) != t->n;
    join_all(t, pieces);
    free(pieces);
}

static void what_a_busy_worker_does_not_start_others_do(void **state)
{
    static const int counts[] = { 1, 2, 3, 600, FIBERS_MAX };
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        for (int i = 0; *w > 1 && i < 5; i++) {
            struct thief *t = thief_new(test_scaled(counts[i], counts[i] < 100 ? counts[i] : 100));
            assert_int_equal(fiber_test_run(*w, spawn_and_spin, t), 0);
            assert_int_equal(t->wrong, 0);
            assert_int_equal(t->joined, t->n);
            free(t);
        }
}

/* The first spawn comes when the others have been asleep for long, again and again. */
static void spawn_one_now_and_then(void *arg)
{
    struct thief *t = arg;
    struct piece piece = { t, 0 };
    t->home = coir__worker_self();
    for (int i = 1; i <= t->n; i++) {
        coir_sleep(COIR_MS(i % 4 ? 0 : 15));
        coir_fiber *f = coir_spawn(count_me, &piece);
        t->wrong += !spin_until(&t->all, i);
        t->joined += coir_join(f, NULL) == 0;
    }
}

static void no_single_fiber_is_overlooked(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct thief *t = thief_new(test_scaled(200, 20));
        if (*w > 1)
            assert_int_equal(fiber_test_run(*w, spawn_one_now_and_then, t), 0);
        assert_int_equal(t->wrong, 0);
        assert_int_equal(t->joined, *w > 1 ? t->n : 0);
        free(t);
    }
}

static void *stay_here(void *arg)
{
    struct piece *p = arg;
    struct coir__worker *at_first = coir__worker_self();
    for (int i = 0; i < 20; i++) {
        if (i % 3)
            coir_yield();
        else
            coir_sleep(COIR_US(10));
        atomic_fetch_add(&p->thief->moved, coir__worker_self() != at_first);
    }
    return count_me(arg);
}

static void spawn_stayers(void *arg)
{
    struct thief *t = arg;
    struct piece *pieces = calloc((size_t)t->n, sizeof *pieces);
    for (int i = 0; i < t->n; i++) {
        pieces[i] = (struct piece){ t, i };
        t->fibers[i] = coir_spawn(stay_here, &pieces[i]);
        if (i % 100 == 0)
            spin_for(COIR_US(100)); /* somebody has time to steal */
    }
    join_all(t, pieces);
    free(pieces);
}

static void who_has_started_stays(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct thief *t = thief_new(test_scaled(2000, 100));
        assert_int_equal(fiber_test_run(*w, spawn_stayers, t), 0);
        assert_int_equal(t->moved, 0);
        assert_int_equal(t->wrong, 0);
        free(t);
    }
}

static void *note_cancel(void *arg)
{
    struct piece *p = arg;
    if (coir_sleep(COIR_SEC(KIT_PATIENCE_S)) < 0 && errno == ECANCELED)
        atomic_fetch_add(&p->thief->cancelled, 1);
    return count_me(arg);
}

/* Mail for a fiber comes while it is being stolen. */
static void cancel_the_stolen(void *arg)
{
    struct thief *t = arg;
    struct piece *pieces = calloc((size_t)t->n, sizeof *pieces);
    for (int i = 0; i < t->n; i++) {
        pieces[i] = (struct piece){ t, i };
        t->fibers[i] = coir_spawn(note_cancel, &pieces[i]);
        if (i % 3 == 0)
            t->wrong += coir_cancel(t->fibers[i]) != 0;
    }
    for (int i = 0; i < t->n; i++) {
        t->wrong += coir_cancel(t->fibers[i]) != 0;
        if (i % 100 == 0)
            spin_for(COIR_US(100));
    }
    join_all(t, pieces);
    free(pieces);
}

static void a_cancel_finds_the_stolen_fiber(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        for (int i = 0; i < test_scaled(20, 2); i++) {
            struct thief *t = thief_new(test_scaled(3000, 200));
            assert_int_equal(fiber_test_run(*w, cancel_the_stolen, t), 0);
            assert_int_equal(t->wrong, 0);
            assert_int_equal(t->cancelled, t->n);
            free(t);
        }
}

/* Long-lived fibers, one after the other, each started at once: like the connections of a server.
 * Nobody has to steal them, yet they do not all stay with the one that accepts. */
static void accept_many(void *arg)
{
    struct thief *t = arg;
    struct piece *pieces = calloc((size_t)t->n, sizeof *pieces);
    t->home = coir__worker_self();
    for (int i = 0; i < t->n; i++) {
        pieces[i] = (struct piece){ t, i };
        t->fibers[i] = coir_spawn(note_cancel, &pieces[i]);
        coir_sleep(COIR_US(20));
    }
    for (int i = 0; i < t->n; i++)
        coir_cancel(t->fibers[i]);
    join_all(t, pieces);
    free(pieces);
}

static void long_lived_fibers_are_spread(void **state)
{
    (void)state;
    struct thief *t = thief_new(test_scaled(1000, 400));
    assert_int_equal(fiber_test_run(2, accept_many, t), 0);
    assert_int_equal(t->wrong, 0);
    assert_true(t->elsewhere >= t->n * 4 / 10 && t->elsewhere <= t->n * 6 / 10);
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_busy_worker_does_not_start_others_do),
        cmocka_unit_test(no_single_fiber_is_overlooked),
        cmocka_unit_test(who_has_started_stays),
        cmocka_unit_test(a_cancel_finds_the_stolen_fiber),
        cmocka_unit_test(long_lived_fibers_are_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
