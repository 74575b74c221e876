/* tests/sched/end_test.c - how coir_run ends: what it waits for, what it cancels, what it leaves.
 * SPDX-License-Identifier: MIT
 *
 * Method: fn returns while others are in every state; what they noted afterwards tells. */
#include "kit.h"

struct end {
    unsigned workers;
    _Atomic int ran, ended, cancelled, turns;
    _Atomic bool go;
    struct kit_said said[3];
    coir_fiber *handles[8];
    int64_t left_ns, first_turn_ns;
    struct coir__fiber *record;
    int rounds, wrong;
};

static const coir_attr detached = { .flags = COIR_DETACHED };
static const coir_attr detached_spread = { .flags = COIR_DETACHED | COIR_SPREAD };
static const coir_attr spread = { .flags = COIR_SPREAD };

static int run_with(unsigned workers, int64_t drain_ns, void (*fn)(void *), void *arg)
{
    coir_options options = { .workers = workers, .drain_ns = drain_ns };
    return coir_run(fn, arg, &options);
}

static void *work_a_while(void *arg)
{
    struct end *e = arg;
    for (int i = 0; i < 20; i++)
        coir_sleep(COIR_MS(1));
    atomic_fetch_add(&e->ended, 1);
    return NULL;
}

static void *spawn_more(void *arg)
{
    coir_sleep(COIR_MS(2));
    for (int i = 0; i < 4; i++)
        coir_spawn_with(&spread, work_a_while, arg);
    return work_a_while(arg);
}

static void leave_workers_behind(void *arg)
{
    struct end *e = arg;
    for (int i = 0; i < 4; i++)
        e->handles[i] = coir_spawn_with(&spread, spawn_more, e);
    coir_detach(coir_spawn_with(&spread, spawn_more, e));
    e->left_ns = coir_now();
}

static void fibers_that_are_not_detached_are_waited_for(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct end e = { .ran = 0 };
        assert_int_equal(run_with(*w, 0, leave_workers_behind, &e), 0);
        assert_true(e.ended >= 4 * 5);
        for (int i = 0; i < 4; i++) {
            kit_assert_said(KIT_SAID(coir_join(e.handles[i], NULL)), -1, EINVAL);
            kit_assert_said(KIT_SAID(coir_detach(e.handles[i])), -1, EINVAL);
            kit_assert_said(KIT_SAID(coir_cancel(e.handles[i])), -1, EINVAL);
        }
    }
}

static void *sleep_till_cancelled(void *arg)
{
    struct end *e = arg;
    atomic_fetch_add(&e->ran, 1);
    if (coir_sleep(COIR_SEC(3600)) < 0 && errno == ECANCELED)
        atomic_fetch_add(&e->cancelled, 1);
    COIR_SHIELD(COIR_SEC(KIT_PATIENCE_S))
        coir_sleep(COIR_MS(20)); /* it may clean up, within drain_ns */
    atomic_fetch_add(&e->ended, 1);
    return NULL;
}

static void leave_sleepers_behind(void *arg)
{
    struct end *e = arg;
    for (int i = 0; i < 8; i++)
        coir_spawn_with(&detached_spread, sleep_till_cancelled, e);
    KIT_UNTIL(e->ran >= 4);
    for (int i = 0; i < 8; i++) /* and these have not started yet */
        coir_spawn_with(&detached, sleep_till_cancelled, e);
    e->left_ns = coir_now();
}

static void detached_fibers_are_cancelled_and_reaped_and_each_has_run(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct end e = { .ran = 0 };
        assert_int_equal(run_with(*w, COIR_SEC(KIT_PATIENCE_S), leave_sleepers_behind, &e), 0);
        assert_true(coir_now() - e.left_ns < COIR_SEC(KIT_PATIENCE_S));
        assert_int_equal(e.ran, 16);
        assert_int_equal(e.cancelled, 16);
        assert_int_equal(e.ended, 16);
    }
}

static void drain_without_end_waits_for_them(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct end e = { .ran = 0 };
        assert_int_equal(run_with(*w, COIR_NEVER, leave_sleepers_behind, &e), 0);
        assert_int_equal(e.ended, 16);
    }
}

static void *yield_for_ever(void *arg)
{
    struct end *e = arg;
    e->record = kit_record(coir_self());
    for (;;) {
        atomic_fetch_add(&e->turns, 1);
        coir_yield();
    }
    return NULL;
}

static void *sleep_for_ever(void *arg)
{
    struct end *e = arg;
    atomic_fetch_add(&e->ran, 1);
    for (;;)
        COIR_SHIELD(COIR_SEC(3600))
            coir_sleep(COIR_SEC(3600));
    return NULL;
}

static void leave_the_stubborn_behind(void *arg)
{
    struct end *e = arg;
    coir_spawn_with(&detached_spread, sleep_for_ever, e);
    coir_spawn_with(&detached_spread, yield_for_ever, e);
    KIT_UNTIL(e->ran && e->turns);
    e->left_ns = coir_now();
}

static void the_stubborn_get_drain_ns_and_never_run_again(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct end e = { .ran = 0 };
        assert_int_equal(run_with(*w, COIR_MS(50), leave_the_stubborn_behind, &e), 0);
        int64_t took_ns = coir_now() - e.left_ns;
        assert_true(took_ns >= COIR_MS(50));
        assert_true(took_ns < COIR_SEC(KIT_PATIENCE_S));
        int turns = e.turns;
        assert_int_equal(run_with(*w, COIR_MS(1), leave_workers_behind, &e), 0);
        assert_int_equal(e.turns, turns);
        /* Its record stays its own. */
        assert_int_equal(coir__fiber_state(e.record), COIR__READY);
        assert_null(e.record->home);
    }
}

/* A fiber's spawns while the runtime ends either fail, or the new fiber runs. */
static void *spawn_in_the_end(void *arg)
{
    struct end *e = arg;
    int spawned = 0;
    atomic_fetch_add(&e->ran, 1);
    coir_sleep(COIR_SEC(3600));
    for (int i = 0; i < 100; i++) {
        coir_fiber *f = coir_spawn_with(i % 2 ? &spread : &detached, kit_nothing, NULL);
        if (f)
            spawned++;
        else if (errno != EAGAIN)
            e->wrong++;
        COIR_SHIELD(COIR_SEC(KIT_PATIENCE_S))
            coir_sleep(COIR_US(10));
    }
    e->said[0].result = spawned;
    e->said[1].result = coir_spawn(kit_nothing, NULL) ? 0 : errno;
    atomic_fetch_add(&e->ended, 1);
    return NULL;
}

static void leave_a_spawner_behind(void *arg)
{
    struct end *e = arg;
    coir_spawn_with(&detached_spread, spawn_in_the_end, e);
    KIT_UNTIL(e->ran == 1);
}

static void spawning_while_the_runtime_ends_is_eagain(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct end e = { .ran = 0 };
        assert_int_equal(run_with(*w, COIR_SEC(KIT_PATIENCE_S), leave_a_spawner_behind, &e), 0);
        assert_int_equal(e.ended, 1);
        assert_int_equal(e.wrong, 0);
        assert_int_equal(e.said[0].result, 0);
        assert_int_equal(e.said[1].result, EAGAIN);
    }
}

static void *meet_and_end(void *arg)
{
    struct end *e = arg;
    atomic_fetch_add(&e->ran, 1);
    while (!atomic_load(&e->go))
        sched_yield();
    for (int i = e->rounds % 64; i > 0; i--)
        coir__arch_pause();
    return NULL;
}

/* The next COIR_SPREAD shall not come to this worker, if there is another. */
static void skip_this_worker(void)
{
    struct coir__worker *w = coir__worker_self();
    if (atomic_load(&w->rt->next_worker) % w->rt->config.workers == w->index)
        atomic_fetch_add(&w->rt->next_worker, 1);
}

/* fn and fibers of other workers end at the same moment: somebody must notice that it is over. */
static void end_together(void *arg)
{
    struct end *e = arg;
    int others = (int)e->workers - 1;
    for (int i = 0; i < others; i++) {
        skip_this_worker();
        coir_spawn_with(e->rounds % 2 ? &detached_spread : &spread, meet_and_end, e);
    }
    while (atomic_load(&e->ran) < others)
        sched_yield();
    atomic_store(&e->go, true);
    for (int i = e->rounds / 64 % 64; i > 0; i--)
        coir__arch_pause();
}

static void ends_on_all_workers_at_once_are_noticed(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        for (int round = 0; round < test_scaled(2000, 50); round++) {
            struct end e = { .workers = *w, .rounds = round };
            int64_t begun_ns = coir_now();
            assert_int_equal(run_with(*w, COIR_SEC(2 * KIT_PATIENCE_S), end_together, &e), 0);
            assert_true(coir_now() - begun_ns < COIR_SEC(KIT_PATIENCE_S));
        }
}

static void *meet_and_detach(void *arg)
{
    struct end *e = arg;
    atomic_fetch_add(&e->ran, 1);
    while (!atomic_load(&e->go))
        kit_pause();
    for (int i = e->rounds % 64; i > 0; i--)
        coir__arch_pause();
    coir_detach(e->handles[0]);
    return NULL;
}

static void *sleep_once(void *arg)
{
    struct end *e = arg;
    atomic_fetch_add(&e->ran, 1);
    coir_sleep(COIR_SEC(3600));
    atomic_fetch_add(&e->ended, 1);
    return NULL;
}

/* The last fiber that the runtime waits for is given up by another worker, in that very moment. */
static void detach_the_last(void *arg)
{
    struct end *e = arg;
    e->handles[0] = coir_spawn(sleep_once, e);
    skip_this_worker();
    coir_spawn_with(&detached_spread, meet_and_detach, e);
    KIT_UNTIL(atomic_load(&e->ran) == 2);
    atomic_store(&e->go, true);
}

static void detaching_the_last_fiber_ends_the_run(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        for (int round = 0; round < test_scaled(400, 20); round++) {
            struct end e = { .workers = *w, .rounds = round };
            assert_int_equal(run_with(*w, COIR_SEC(KIT_PATIENCE_S), detach_the_last, &e), 0);
            assert_int_equal(e.ended, 1);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fibers_that_are_not_detached_are_waited_for),
        cmocka_unit_test(detached_fibers_are_cancelled_and_reaped_and_each_has_run),
        cmocka_unit_test(drain_without_end_waits_for_them),
        cmocka_unit_test(the_stubborn_get_drain_ns_and_never_run_again),
        cmocka_unit_test(spawning_while_the_runtime_ends_is_eagain),
        cmocka_unit_test(ends_on_all_workers_at_once_are_noticed),
        cmocka_unit_test(detaching_the_last_fiber_ends_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
