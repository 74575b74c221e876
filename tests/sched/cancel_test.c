/* tests/sched/cancel_test.c - coir_cancel: in every state, from everywhere, until the end.
 * SPDX-License-Identifier: MIT
 *
 * Method: a victim is brought into a state, which is checked; then it is cancelled from a fiber of
 * the same worker, of another worker, or from a plain thread. It notes what its calls said. */
#include "kit.h"

enum { CALLS = 6 };

enum from { SAME_WORKER, OTHER_WORKER, THREAD, FROM_END };

struct victim {
    enum from from;
    coir_fiber *handle, *other;
    _Atomic int at;  /* how far it has come */
    _Atomic bool go; /* it may go on */
    struct kit_said said[CALLS], cancelled, joined;
    int failed;
};

/* Every call that may park fails now, and goes on failing; yield and what does not park works. */
static void try_everything(struct victim *v, int first)
{
    coir_yield();
    if (first < 1)
        v->said[0] = KIT_SAID(coir_sleep(COIR_SEC(KIT_PATIENCE_S)));
    v->said[1] = KIT_SAID(coir_sleep(0));
    v->said[2] = KIT_SAID(coir_check());
    v->said[3] = KIT_SAID(coir_join(v->other, NULL));
    v->said[4] = KIT_SAID(coir_sleep(1));
    coir_yield();
    v->said[5] = KIT_SAID(coir_sleep(-1));
}

static void assert_all_cancelled(const struct victim *v)
{
    assert_int_equal(v->failed, 0);
    kit_assert_said(v->cancelled, 0, 0);
    for (int i = 0; i < CALLS; i++)
        kit_assert_said(v->said[i], -1, ECANCELED);
    kit_assert_said(v->joined, 0, 0);
}

static void *cancel_it(void *arg)
{
    struct victim *v = arg;
    v->cancelled = KIT_SAID(coir_cancel(v->handle));
    return NULL;
}

static void cancel_from(struct victim *v)
{
    struct coir__worker *w = coir__worker_self();
    coir_attr attr = { .flags = COIR_SPREAD };
    pthread_t thread;
    switch (v->from) {
    case OTHER_WORKER:
        if (atomic_load(&w->rt->next_worker) % w->rt->config.workers == w->index)
            atomic_fetch_add(&w->rt->next_worker, 1);
        coir_join(coir_spawn_with(&attr, cancel_it, v), NULL);
        break;
    case THREAD:
        pthread_create(&thread, NULL, cancel_it, v);
        v->failed += !KIT_UNTIL(pthread_tryjoin_np(thread, NULL) == 0);
        break;
    default:
        cancel_it(v);
    }
}

static void expect_state(struct victim *v, enum coir__state state)
{
    v->failed += !KIT_UNTIL(coir__fiber_state(kit_record(v->handle)) == state);
}

static void *wait_here(void *arg)
{
    struct victim *v = arg;
    KIT_UNTIL(atomic_load(&v->go));
    return NULL;
}

/* Each of these prepares, cancels and joins its victim, and leaves v->other to be cleaned up. */
static void *started_late(void *arg)
{
    struct victim *v = arg;
    atomic_store(&v->at, 1);
    try_everything(v, 0);
    return NULL;
}

static void cancel_fresh(struct victim *v)
{
    v->handle = coir_spawn(started_late, v);
    v->failed += coir__fiber_state(kit_record(v->handle)) != COIR__FRESH || v->at;
    if (v->from == OTHER_WORKER) {
        cancel_it(v); /* to go elsewhere is to let it start */
        return;
    }
    if (v->from == THREAD) {
        pthread_t thread;
        pthread_create(&thread, NULL, cancel_it, v);
        pthread_join(thread, NULL); /* blocks the worker: it stays fresh */
    } else {
        cancel_it(v);
    }
    v->failed += v->at;
}

static void *always_ready(void *arg)
{
    struct victim *v = arg;
    atomic_store(&v->at, 1);
    v->failed += !KIT_UNTIL(coir_check() < 0);
    try_everything(v, 0);
    return NULL;
}

static void cancel_ready(struct victim *v)
{
    v->handle = coir_spawn(always_ready, v);
    expect_state(v, COIR__READY);
    cancel_from(v);
}

static void *always_running(void *arg)
{
    struct victim *v = arg;
    atomic_store(&v->at, 1);
    int64_t until_ns = coir_after(COIR_SEC(KIT_PATIENCE_S));
    while (coir_check() == 0 && coir_now() < until_ns)
        ;
    try_everything(v, 0);
    return NULL;
}

/* It runs on another worker, or, when there is none, is cancelled from a thread. */
static void cancel_running(struct victim *v)
{
    struct coir__runtime *rt = coir__worker_self()->rt;
    coir_attr attr = { .flags = COIR_SPREAD };
    if (rt->config.workers == 1) {
        v->handle = coir_spawn(always_running, v);
        pthread_t thread;
        pthread_create(&thread, NULL, cancel_it, v);
        KIT_UNTIL(pthread_tryjoin_np(thread, NULL) == 0);
        return;
    }
    if (atomic_load(&rt->next_worker) % rt->config.workers == coir__worker_self()->index)
        atomic_fetch_add(&rt->next_worker, 1);
    v->handle = coir_spawn_with(&attr, always_running, v);
    v->failed += !KIT_UNTIL(v->at == 1);
    if (v->from == OTHER_WORKER)
        cancel_it(v); /* the canceller must not queue up behind it */
    else
        cancel_from(v);
}

static void *sleeps(void *arg)
{
    struct victim *v = arg;
    v->said[0] = KIT_SAID(coir_sleep(COIR_SEC(KIT_PATIENCE_S)));
    try_everything(v, 1);
    return NULL;
}

static void cancel_sleeping(struct victim *v)
{
    v->handle = coir_spawn(sleeps, v);
    expect_state(v, COIR__PARKED);
    cancel_from(v);
}

static void *joins(void *arg)
{
    struct victim *v = arg;
    v->said[0] = KIT_SAID(coir_join(v->other, NULL));
    try_everything(v, 1);
    return NULL;
}

static void cancel_joining(struct victim *v)
{
    v->handle = coir_spawn(joins, v);
    expect_state(v, COIR__PARKED);
    cancel_from(v);
}

static void cancel_sleeping_elsewhere(struct victim *v)
{
    coir_attr attr = { .flags = COIR_SPREAD };
    v->handle = coir_spawn_with(&attr, sleeps, v);
    expect_state(v, COIR__PARKED);
    cancel_from(v);
}

static void *cancels_itself(void *arg)
{
    struct victim *v = arg;
    v->handle = coir_self();
    cancel_it(v);
    try_everything(v, 0);
    return NULL;
}

static void cancel_self(struct victim *v)
{
    v->handle = coir_spawn(cancels_itself, v);
}

typedef void way(struct victim *);

static way *const ways[] = { cancel_fresh,    cancel_ready,   cancel_running,           cancel_self,
                             cancel_sleeping, cancel_joining, cancel_sleeping_elsewhere };

struct visit {
    struct victim *victim;
    way *way;
};

static void one_victim(void *arg)
{
    struct visit *visit = arg;
    struct victim *v = visit->victim;
    kit_nobody_steals(); /* what is to be fresh stays so */
    v->other = coir_spawn(wait_here, v);
    visit->way(v);
    v->joined = KIT_SAID(coir_join(v->handle, NULL));
    atomic_store(&v->go, true);
    coir_join(v->other, NULL);
}

static void a_cancel_reaches_every_state_from_everywhere(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
            for (enum from from = SAME_WORKER; from < FROM_END; from++) {
                struct victim v = { .from = from };
                struct visit visit = { &v, ways[i] };
                assert_int_equal(fiber_test_run(*w, one_victim, &visit), 0);
                assert_all_cancelled(&v);
            }
}

static void cancel_ended(void *arg)
{
    struct victim *v = arg;
    v->handle = coir_spawn(kit_nothing, v);
    expect_state(v, COIR__ENDED);
    cancel_from(v);
    void *result = NULL;
    v->joined = KIT_SAID(coir_join(v->handle, &result));
    v->failed += result != v;
    v->said[0] = KIT_SAID(coir_cancel(v->handle));
}

static void cancelling_an_ended_fiber_changes_nothing(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        for (enum from from = SAME_WORKER; from < FROM_END; from++) {
            struct victim v = { .from = from };
            assert_int_equal(fiber_test_run(*w, cancel_ended, &v), 0);
            assert_int_equal(v.failed, 0);
            kit_assert_said(v.cancelled, 0, 0);
            kit_assert_said(v.joined, 0, 0);
            kit_assert_said(v.said[0], -1, EINVAL);
        }
}

/* Spawned by the cancelled: not cancelled itself. */
static void *child_sleeps(void *arg)
{
    struct victim *v = arg;
    v->said[1] = KIT_SAID(coir_sleep(COIR_MS(2)));
    return NULL;
}

static void *cancelled_parent(void *arg)
{
    struct victim *v = arg;
    v->other = coir_spawn(child_sleeps, v);
    v->said[0] = KIT_SAID(coir_sleep(COIR_SEC(KIT_PATIENCE_S)));
    return NULL;
}

static void cancel_a_parent(void *arg)
{
    struct victim *v = arg;
    v->handle = coir_spawn(cancelled_parent, v);
    expect_state(v, COIR__PARKED);
    cancel_it(v);
    v->joined = KIT_SAID(coir_join(v->handle, NULL));
    v->said[2] = KIT_SAID(coir_join(v->other, NULL));
}

static void what_the_cancelled_spawned_is_not_cancelled(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct victim v = { .failed = 0 };
        assert_int_equal(fiber_test_run(*w, cancel_a_parent, &v), 0);
        assert_int_equal(v.failed, 0);
        kit_assert_said(v.said[0], -1, ECANCELED);
        kit_assert_said(v.said[1], 0, 0);
        kit_assert_said(v.said[2], 0, 0);
    }
}

/* Many sleeps and cancels at the same moment: each sleep says one or the other, none hangs. */
struct duel {
    int rounds, slept, cancelled, wrong;
    _Atomic int canceller_at;
};

static void *short_sleep(void *arg)
{
    struct duel *d = arg;
    struct kit_said said = KIT_SAID(coir_sleep(COIR_US(30)));
    if (said.result == 0)
        d->slept++;
    else if (said.err == ECANCELED)
        d->cancelled++;
    else
        d->wrong++;
    return NULL;
}

static void *cancel_in_a_moment(void *arg)
{
    for (int i = 0; i < 2000; i++)
        coir__arch_pause();
    coir_cancel(arg);
    return NULL;
}

static void duels(void *arg)
{
    struct duel *d = arg;
    coir_attr attr = { .flags = COIR_SPREAD };
    for (int i = 0; i < d->rounds; i++) {
        coir_fiber *sleeper = coir_spawn(short_sleep, d);
        coir_fiber *canceller = coir_spawn_with(&attr, cancel_in_a_moment, sleeper);
        if (i % 2) {
            coir_join(canceller, NULL);
            coir_join(sleeper, NULL);
        } else {
            coir_join(sleeper, NULL); /* the cancel may come when the handle is used up */
            coir_join(canceller, NULL);
        }
    }
}

static void a_sleep_ends_by_time_or_by_cancel(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct duel d = { .rounds = test_scaled(5000, 200) };
        assert_int_equal(fiber_test_run(*w, duels, &d), 0);
        assert_int_equal(d.wrong, 0);
        assert_int_equal(d.slept + d.cancelled, d.rounds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancel_reaches_every_state_from_everywhere),
        cmocka_unit_test(cancelling_an_ended_fiber_changes_nothing),
        cmocka_unit_test(what_the_cancelled_spawned_is_not_cancelled),
        cmocka_unit_test(a_sleep_ends_by_time_or_by_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
