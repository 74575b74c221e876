/* tests/sched/guard_test.c - when the kernel can guard no more stacks: refuse, or go on without.
 * SPDX-License-Identifier: MIT
 *
 * Method: the policy makes this kernel one without MADV_GUARD_INSTALL, whose maps run out early. */
#include "kit.h"

#include "sched/stack.h"

enum { FIBERS = 400, MAPS_PER_GUARD = 2 };

struct crowd {
    unsigned flags;
    coir_fiber *fibers[FIBERS];
    _Atomic int started, ended;
    _Atomic bool go;
    int spawned, refused, wrong_errno, failed, again, maps;
};

static void *stay(void *arg)
{
    struct crowd *c = arg;
    atomic_fetch_add(&c->started, 1);
    while (!atomic_load(&c->go))
        coir_sleep(COIR_MS(1));
    atomic_fetch_add(&c->ended, 1);
    return NULL;
}

/* Spawn until it is refused on all workers, or all are there; let them go; spawn again. */
static void fill_up(void *arg)
{
    struct crowd *c = arg;
    const coir_attr attr = { .flags = c->flags };
    int workers = (int)coir__worker_self()->rt->config.workers;
    for (int tries = 0; c->spawned < FIBERS && c->refused < workers && tries < 20000; tries++) {
        coir_fiber *f = coir_spawn_with(&attr, stay, c);
        if (f) {
            c->fibers[c->spawned++] = f;
            c->refused = 0;
        } else {
            c->wrong_errno += errno != ENOMEM;
            c->refused++;
        }
        coir_sleep(COIR_US(50)); /* it starts, or is found to be without a stack */
    }
    c->maps = test_maps();
    atomic_store(&c->go, true);
    for (int i = 0; i < c->spawned; i++)
        c->failed += coir_join(c->fibers[i], NULL) != 0;
    for (int i = 0; i < 100; i++) {
        coir_fiber *f = NULL;
        KIT_UNTIL((f = coir_spawn_with(&attr, kit_nothing, NULL)) != NULL);
        c->again += f && coir_join(f, NULL) == 0;
    }
}

static int run_crowd(unsigned workers, unsigned flags, struct crowd *c)
{
    coir_options options = { .workers = workers, .flags = flags };
    return coir_run(fill_up, c, &options) < 0 ? errno : 0;
}

static struct coir__stack_policy usual;

static int limit_maps(void **state)
{
    (void)state;
    usual = coir__stack_policy;
    coir__stack_policy.guards = COIR__GUARDS_MAPPED;
    coir__stack_policy.guard_maps_max = 100 * MAPS_PER_GUARD;
    return 0;
}

static int no_limit(void **state)
{
    (void)state;
    coir__stack_policy = usual;
    return 0;
}

static void assert_all_went(const struct crowd *c)
{
    assert_int_equal(c->wrong_errno, 0);
    assert_int_equal(c->failed, 0);
    assert_int_equal(c->started, c->spawned);
    assert_int_equal(c->ended, c->spawned);
    assert_int_equal(c->again, 100);
}

static void assert_refused_at_the_limit(const struct crowd *c, int workers)
{
    assert_all_went(c);
    assert_int_equal(c->refused, workers);
    /* All guards were in use. A worker finds out when it starts a fiber, and has been given a few
     * more by then, which wait for a stack. */
    assert_in_range(c->spawned, 100 - 1 - 2 * workers, FIBERS - 1);
}

static void without_markers_stacks_are_guarded_by_mprotect(void **state)
{
    (void)state;
    coir__stack_policy.guard_maps_max = 100000;
    for (const unsigned *w = test_workers; *w; w++) {
        struct crowd c = { .flags = COIR_SPREAD };
        int before = test_maps();
        assert_int_equal(run_crowd(*w, 0, &c), 0);
        assert_all_went(&c);
        assert_int_equal(c.spawned, FIBERS);
        assert_true(c.maps - before >= FIBERS);
    }
}

static void at_the_limit_spawning_is_enomem_until_others_have_ended(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        for (int round = 0; round < 2; round++) { /* the limit counts only what is mapped now */
            struct crowd c = { .flags = COIR_SPREAD };
            assert_int_equal(run_crowd(*w, 0, &c), 0);
            assert_refused_at_the_limit(&c, (int)*w);
        }
}

static void with_the_option_it_goes_on_unguarded_in_that_run_only(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct crowd c = { .flags = COIR_SPREAD };
        assert_int_equal(run_crowd(*w, COIR_UNGUARDED, &c), 0);
        assert_all_went(&c);
        assert_int_equal(c.spawned, FIBERS);
        struct crowd again = { .flags = COIR_SPREAD };
        assert_int_equal(run_crowd(*w, 0, &again), 0);
        assert_refused_at_the_limit(&again, (int)*w);
    }
}

static void a_worker_that_can_have_no_stack_does_not_start(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct crowd c = { .flags = 0 };
        coir__stack_policy.guard_maps_max = MAPS_PER_GUARD; /* each worker wants one stack */
        fiber_test_run(*w, kit_empty, NULL);
        int before = test_maps(), threads = test_threads();
        int err = fiber_test_run(*w, kit_empty, NULL);
        assert_int_equal(err, *w > 1 ? ENOMEM : 0);
        assert_true(TEST_SANITIZED || test_maps() <= before + 3);
        assert_true(kit_threads_become(threads));
        coir__stack_policy.guard_maps_max = 100 * MAPS_PER_GUARD;
        assert_int_equal(run_crowd(*w, 0, &c), 0);
        assert_all_went(&c);
    }
}

/* What happens to a fiber that waits for a stack: those that yield go on, and it gets one as soon
 * as another ends, of whatever size. */
struct sizes {
    _Atomic int turns, done;
    _Atomic bool go;
    int wrong;
};

static void *turn(void *arg)
{
    struct sizes *s = arg;
    while (!atomic_load(&s->go)) {
        atomic_fetch_add(&s->turns, 1);
        coir_yield();
    }
    return NULL;
}

static void *be_done(void *arg)
{
    atomic_fetch_add(&((struct sizes *)arg)->done, 1);
    return NULL;
}

static void starve_one(void *arg)
{
    struct sizes *s = arg;
    const coir_attr large = { .stack_bytes = 1 << 20 };
    coir_fiber *first = coir_spawn(turn, s);
    KIT_UNTIL(s->turns > 0);
    coir_fiber *waits = coir_spawn_with(&large, be_done, s);
    s->wrong += waits == NULL;
    int turns = s->turns;
    s->wrong += !KIT_UNTIL(s->turns > turns + 100);
    s->wrong += s->done != 0;
    s->wrong += coir_spawn(be_done, s) != NULL || errno != ENOMEM;
    coir__stack_policy.guard_maps_max += MAPS_PER_GUARD; /* as if another program's maps had gone */
    s->wrong += !KIT_UNTIL(s->done == 1);
    s->wrong += coir_join(waits, NULL) != 0;
    coir_fiber *more = coir_spawn(be_done, s); /* and the one after it */
    s->wrong += !more;
    atomic_store(&s->go, true);
    s->wrong += coir_join(more, NULL) != 0;
    s->wrong += coir_join(first, NULL) != 0;
}

static void a_fiber_without_a_stack_waits_while_others_go_on(void **state)
{
    (void)state;
    coir__stack_policy.guard_maps_max = 2 * MAPS_PER_GUARD;
    struct sizes s = { .turns = 0 };
    assert_int_equal(fiber_test_run(1, starve_one, &s), 0);
    assert_int_equal(s.wrong, 0);
    assert_int_equal(s.done, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_markers_stacks_are_guarded_by_mprotect, limit_maps,
                                        no_limit),
        cmocka_unit_test_setup_teardown(at_the_limit_spawning_is_enomem_until_others_have_ended,
                                        limit_maps, no_limit),
        cmocka_unit_test_setup_teardown(with_the_option_it_goes_on_unguarded_in_that_run_only,
                                        limit_maps, no_limit),
        cmocka_unit_test_setup_teardown(a_worker_that_can_have_no_stack_does_not_start, limit_maps,
                                        no_limit),
        cmocka_unit_test_setup_teardown(a_fiber_without_a_stack_waits_while_others_go_on,
                                        limit_maps, no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
