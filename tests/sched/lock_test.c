/* tests/sched/lock_test.c - the lock of a fiber's record keeps its home worker and everybody else
 * apart, also in the moment in which the first of the others comes.
 * SPDX-License-Identifier: MIT
 *
 * Method: a counter that is no atomic, raised under the lock by a fiber of the home worker, which
 * begins alone, and by plain threads and fibers of other workers, which come while it is at it. A
 * new fiber, whose lock is biased again, for each round. */
#include "kit.h"

#include "io/seccomp.h"
#include "sched/lock.h"

enum { OTHERS = 2, TURNS = 40, AT_HOME = 400 };

struct arena {
    struct coir__fiber *target;
    volatile long counter;
    _Atomic int round; /* others wait for it; -1: go home */
    _Atomic int begun, finished;
    _Atomic bool leave;
    int rounds, wrong;
    int biased; /* rounds that began so */
};

/* Some stay long: longer than it takes to have everybody pass a barrier. */
static void count_up(struct arena *a, int turn)
{
    int loops = turn % 16 ? 1 : 3000;
    coir__fiber_lock(a->target, coir__fiber_generation(a->target));
    long value = a->counter;
    for (int i = 0; i < loops; i++)
        coir__arch_pause();
    a->counter = value + 1;
    coir__fiber_unlock(a->target);
}

static void *count_as_other(void *arg)
{
    struct arena *a = arg;
    for (int seen = 0;;) {
        while (atomic_load(&a->round) == seen)
            kit_pause();
        seen = atomic_load(&a->round);
        if (seen < 0)
            return NULL;
        for (int i = 0; i < TURNS; i++)
            count_up(a, i);
        atomic_fetch_add(&a->finished, 1);
    }
}

static void *stay(void *arg)
{
    struct arena *a = arg;
    while (!atomic_load(&a->leave))
        coir_yield();
    return NULL;
}

/* The others start at some point of home's turns, a different one in each round. */
static void one_round(struct arena *a, int round)
{
    a->leave = false;
    a->counter = 0;
    a->finished = 0;
    coir_fiber *handle = coir_spawn(stay, a);
    a->target = kit_record(handle);
    a->biased += !(a->target->ident & COIR__REVOKED);
    for (int i = 0; i < AT_HOME; i++) {
        count_up(a, i);
        if (i == round % 50)
            atomic_store(&a->round, round + 1);
    }
    a->wrong += !KIT_UNTIL(atomic_load(&a->finished) == OTHERS);
    a->wrong += a->counter != AT_HOME + OTHERS * TURNS;
    atomic_store(&a->leave, true);
    coir_join(handle, NULL);
}

static void with_threads(void *arg)
{
    struct arena *a = arg;
    pthread_t threads[OTHERS];
    for (int i = 0; i < OTHERS; i++)
        pthread_create(&threads[i], NULL, count_as_other, a);
    for (int round = 0; round < a->rounds; round++)
        one_round(a, round);
    atomic_store(&a->round, -1);
    for (int i = 0; i < OTHERS; i++)
        pthread_join(threads[i], NULL);
}

static void threads_and_home_exclude_each_other(void **state)
{
    (void)state;
    struct arena a = { .rounds = test_scaled(1000, 20) };
    assert_int_equal(fiber_test_run(1, with_threads, &a), 0);
    assert_int_equal(a.wrong, 0);
    assert_int_equal(a.biased, coir__lock_biased ? a.rounds : 0);
}

static void with_fibers(void *arg)
{
    struct arena *a = arg;
    const coir_attr spread = { .flags = COIR_SPREAD };
    coir_fiber *fibers[OTHERS];
    for (int i = 0; i < OTHERS;) {
        atomic_store(&a->round, 0);
        fibers[i] = coir_spawn_with(&spread, count_as_other, a);
        if (kit_record(fibers[i])->home != coir__worker_self()) {
            i++;
            continue;
        }
        /* It is no other; and on this worker it would not get its turn. */
        atomic_store(&a->round, -1);
        for (int k = 0; k <= i; k++)
            coir_join(fibers[k], NULL);
        i = 0;
    }
    for (int round = 0; round < a->rounds; round++)
        one_round(a, round);
    atomic_store(&a->round, -1);
    for (int i = 0; i < OTHERS; i++)
        coir_join(fibers[i], NULL);
}

static void workers_exclude_each_other(void **state)
{
    (void)state;
    struct arena a = { .rounds = test_scaled(300, 10) };
    assert_int_equal(fiber_test_run(4, with_fibers, &a), 0);
    assert_int_equal(a.wrong, 0);
    /* The others may be stealing the target meanwhile. */
    assert_true(coir__lock_biased ? a.biased > 0 : a.biased == 0);
}

/* A fiber that begins away from its spawner has a joiner on another worker from the start. */
static void what_begins_elsewhere_is_not_biased(void **state)
{
    (void)state;
    coir_fiber *f = coir_spawn(kit_nothing, NULL);
    struct coir__fiber *record = kit_record(f);
    assert_non_null(record);
    assert_true(record->ident & COIR__REVOKED);
    assert_int_equal(coir_join(f, NULL), 0);
}

struct recycling {
    _Atomic(coir_fiber *) stale, fresh;
    _Atomic long joined;
    _Atomic bool leave, over;
    int wrong;
};

static void *cancel_stale_ones(void *arg)
{
    struct recycling *r = arg;
    while (!atomic_load(&r->over))
        coir_cancel(atomic_load(&r->stale)); /* EINVAL, or the fiber that is about to be joined */
    return NULL;
}

static void *join_fresh_ones(void *arg)
{
    struct recycling *r = arg;
    while (!atomic_load(&r->over)) {
        coir_fiber *f = atomic_exchange(&r->fresh, NULL);
        if (!f) {
            kit_pause();
            continue;
        }
        r->wrong += coir_join(f, NULL) != 0;
        atomic_fetch_add(&r->joined, 1);
    }
    return NULL;
}

static void *until_told(void *arg)
{
    struct recycling *r = arg;
    while (!atomic_load(&r->leave))
        coir_yield();
    return NULL;
}

static void recycle(void *arg)
{
    struct recycling *r = arg;
    pthread_t threads[2];
    int rounds = test_scaled(3000, 200);
    pthread_create(&threads[0], NULL, cancel_stale_ones, r);
    pthread_create(&threads[1], NULL, join_fresh_ones, r);
    for (int i = 0; i < rounds && !r->wrong; i++) {
        coir_fiber *f = coir_spawn(kit_nothing, NULL);
        atomic_store(&r->stale, f);
        coir_yield();
        r->wrong += coir_join(f, NULL) != 0;
        r->leave = false;
        atomic_store(&r->fresh, coir_spawn(until_told, r)); /* on the same record */
        for (int k = 0; k < i % 4; k++)
            coir_yield();
        atomic_store(&r->leave, true);
        r->wrong += !KIT_UNTIL(atomic_load(&r->joined) == i + 1);
    }
    atomic_store(&r->over, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

/* Goal: who comes with the handle of a fiber that was joined does not disturb the lock of the one
 * that has its record now. */
static void stale_handles_leave_the_next_fiber_alone(void **state)
{
    (void)state;
    struct recycling r = { .over = false };
    assert_int_equal(fiber_test_run(1, recycle, &r), 0);
    assert_int_equal(r.wrong, 0);
}

static void without_membarrier(void *arg)
{
    if (refuse(SYS_membarrier, EPERM) == 0)
        recycle(arg);
    else
        ((struct recycling *)arg)->wrong = NO_SECCOMP;
}

static int refused_later(void *arg)
{
    struct recycling r = { .over = false };
    (void)arg;
    if (fiber_test_run(1, without_membarrier, &r))
        return 100;
    return r.wrong ? r.wrong : coir__lock_biased; /* no more, from now on */
}

/* A program may put a filter in place when the runtime is up. */
static void membarrier_may_be_refused_later(void **state)
{
    (void)state;
    run_filtered(refused_later, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First: TSan does not follow into a child what the parent's fibers did. */
        cmocka_unit_test(membarrier_may_be_refused_later),
        cmocka_unit_test(threads_and_home_exclude_each_other),
        cmocka_unit_test(workers_exclude_each_other),
        cmocka_unit_test(what_begins_elsewhere_is_not_biased),
        cmocka_unit_test(stale_handles_leave_the_next_fiber_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
