/* tests/sched/place_test.c - where fibers run, and that none is forgotten there.
 * SPDX-License-Identifier: MIT
 *
 * Method: fibers note the worker and the thread that run them; endless ones in one queue must not
 * keep those in the other from their turn. */
#include "kit.h"

#include <sys/syscall.h>

enum { FIBERS = 64, WORKERS_MAX = 4 };

struct place {
    unsigned flags;
    _Atomic int on_worker[WORKERS_MAX];
    _Atomic int moved, turns, links, ended;
    int turns_wanted, links_wanted;
    int failed;
};

static _Thread_local int of_thread;

/* Through all kinds of park: the same worker, the same thread-locals, before and after. */
static void *wander(void *arg)
{
    struct place *p = arg;
    struct coir__worker *w = coir__worker_self();
    long tid = syscall(SYS_gettid);
    int *local = &of_thread;
    atomic_fetch_add(&p->on_worker[w->index], 1);
    for (int i = 0; i < 20; i++) {
        if (i % 4 == 0)
            coir_sleep(COIR_US(100));
        else if (i % 4 == 1)
            coir_join(coir_spawn(kit_nothing, NULL), NULL);
        else
            coir_yield();
        if (coir__worker_self() != w || syscall(SYS_gettid) != tid || local != &of_thread)
            atomic_fetch_add(&p->moved, 1);
    }
    return NULL;
}

static void scatter(void *arg)
{
    struct place *p = arg;
    coir_attr attr = { .flags = p->flags };
    coir_fiber *fibers[FIBERS];
    kit_nobody_steals();
    for (int i = 0; i < FIBERS; i++)
        fibers[i] = coir_spawn_with(&attr, wander, p);
    for (int i = 0; i < FIBERS; i++)
        coir_join(fibers[i], NULL);
}

static void spread_reaches_every_worker_in_equal_parts(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct place p = { .flags = COIR_SPREAD };
        assert_int_equal(fiber_test_run(*w, scatter, &p), 0);
        for (unsigned i = 0; i < *w; i++)
            assert_int_equal(p.on_worker[i], FIBERS / *w);
        assert_int_equal(p.moved, 0);
    }
}

static void a_started_fiber_stays_on_its_worker(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct place p = { .flags = 0 };
        assert_int_equal(fiber_test_run(*w, scatter, &p), 0);
        assert_int_equal(p.moved, 0);
    }
}

static bool over(struct place *p)
{
    return p->turns >= p->turns_wanted && p->links >= p->links_wanted;
}

static void *take_turns(void *arg)
{
    struct place *p = arg;
    int64_t until_ns = coir_after(COIR_SEC(KIT_PATIENCE_S));
    while (!over(p) && coir_now() < until_ns) {
        atomic_fetch_add(&p->turns, 1);
        coir_yield();
    }
    atomic_fetch_add(&p->ended, 1);
    return NULL;
}

/* Each fiber spawns the next, so that there is always a fresh one. */
static void *link_on(void *arg)
{
    struct place *p = arg;
    const coir_attr attr = { .flags = COIR_DETACHED };
    atomic_fetch_add(&p->links, 1);
    if (over(p) || !coir_spawn_with(&attr, link_on, p))
        atomic_fetch_add(&p->ended, 1);
    return NULL;
}

static void compete(void *arg)
{
    struct place *p = arg;
    const coir_attr attr = { .flags = COIR_DETACHED };
    for (int i = 0; i < 3; i++) {
        coir_spawn_with(&attr, link_on, p);
        coir_spawn_with(&attr, take_turns, p);
    }
    /* Not KIT_UNTIL: it would give away this worker's CPU in each of its rounds. */
    int64_t until_ns = coir_after(COIR_SEC(KIT_PATIENCE_S));
    while (p->ended < 6 && coir_now() < until_ns)
        coir_sleep(COIR_MS(1));
    p->failed = p->ended < 6;
}

static void fresh_and_yielding_fibers_both_go_on(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        int n = *w == 1 ? test_scaled(20000, 1000) : 20000;
        struct place p = { .turns_wanted = n, .links_wanted = n };
        assert_int_equal(fiber_test_run(*w, compete, &p), 0);
        assert_int_equal(p.failed, 0);
        /* Neither had to wait until the other had done a hundred times its share. Of several
         * workers one may have no CPU for longer than a small share takes, so there it is large.
         * Under qemu-user threads wait for each other whenever memory is mapped. */
        int most = test_qemu() ? 2000 : 100;
        assert_true(p.turns < most * n && p.links < most * n);
    }
}

/* While others never stop being ready, timers and what other workers bring are looked at, too. */
static void *sleep_often(void *arg)
{
    struct place *p = arg;
    for (int i = 0; i < p->links_wanted; i++) {
        coir_sleep(COIR_US(50));
        atomic_fetch_add(&p->links, 1);
    }
    return NULL;
}

static void busy_and_sleepy(void *arg)
{
    struct place *p = arg;
    const coir_attr spread = { .flags = COIR_SPREAD };
    coir_fiber *fibers[6];
    for (int i = 0; i < 6; i++)
        fibers[i] = coir_spawn_with(&spread, i % 2 ? sleep_often : take_turns, p);
    for (int i = 0; i < 6; i++)
        coir_join(fibers[i], NULL);
}

static void sleepers_wake_among_the_busy(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct place p = { .turns_wanted = 1000, .links_wanted = 200 };
        assert_int_equal(fiber_test_run(*w, busy_and_sleepy, &p), 0);
        assert_true(p.links >= p.links_wanted);
    }
}

/* What a review would have decided. */
static void send_all_away(void)
{
    struct coir__worker *w = coir__worker_self(), *all = w->rt->workers;
    w->steal.place_to = &all[(w->index + 1) % w->rt->config.workers];
    w->steal.excess = 4;
    w->place_left = 4;
}

/* Whoever is joined before it has begun is locked while the joiner leaves; all of a worker's fresh
 * ones are to be sent away just then. */
static void *join_where_all_are_sent_away(void *arg)
{
    struct place *p = arg;
    for (int i = 0; i < p->turns_wanted; i++) {
        const coir_attr attr = { .flags = p->flags };
        coir_fiber *mine = coir_spawn(kit_nothing, NULL);
        coir_fiber *anywhere = coir_spawn_with(&attr, kit_nothing, NULL);
        send_all_away();
        coir_join(i % 2 ? anywhere : mine, NULL);
        send_all_away();
        coir_join(i % 2 ? mine : anywhere, NULL);
        coir__worker_self()->place_left = 0;
        atomic_fetch_add(&p->turns, 1);
    }
    return NULL;
}

static void join_on_two_workers(void *arg)
{
    struct place *p = arg;
    const coir_attr spread = { .flags = COIR_SPREAD };
    coir_fiber *fibers[WORKERS_MAX];
    kit_nobody_steals();
    for (int i = 0; i < WORKERS_MAX; i++)
        fibers[i] = coir_spawn_with(&spread, join_where_all_are_sent_away, p);
    for (int i = 0; i < WORKERS_MAX; i++)
        coir_join(fibers[i], NULL);
}

static void who_is_joined_may_be_about_to_be_placed(void **state)
{
    (void)state;
    for (int spread = 0; spread < 2; spread++) {
        struct place p = { .flags = spread ? COIR_SPREAD : 0,
                           .turns_wanted = test_scaled(2000, 100) };
        assert_int_equal(fiber_test_run(2, join_on_two_workers, &p), 0);
        assert_int_equal(p.turns, WORKERS_MAX * p.turns_wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spread_reaches_every_worker_in_equal_parts),
        cmocka_unit_test(a_started_fiber_stays_on_its_worker),
        cmocka_unit_test(fresh_and_yielding_fibers_both_go_on),
        cmocka_unit_test(sleepers_wake_among_the_busy),
        cmocka_unit_test(who_is_joined_may_be_about_to_be_placed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
