/* tests/sync/mutex_test.c - one at a time, and never lost.
 * SPDX-License-Identifier: MIT
 *
 * What holds for every wait is in waits_test.c. */
#include "crowd.h"

struct counted {
    coir_mutex mutex;
    long value, each;
    _Atomic int inside, together;
    _Atomic long got_it;
};

static void count_inside(struct counted *c, long i)
{
    if (atomic_fetch_add(&c->inside, 1))
        atomic_fetch_add(&c->together, 1);
    c->value++;
    c->got_it++;
    if (i % 3 == 0)
        kit_pause();
    atomic_fetch_sub(&c->inside, 1);
}

static void *count_up(void *arg)
{
    struct counted *c = arg;
    for (long i = 0; i < c->each; i++) {
        coir_mutex_lock(&c->mutex);
        count_inside(c, i);
        coir_mutex_unlock(&c->mutex);
    }
    return NULL;
}

static void count_together(void *arg)
{
    crowd_run(count_up, arg);
}

static void only_one_has_it_at_a_time(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct counted c = { .each = test_scaled(1000, 50) };
        assert_int_equal(fiber_test_run(*w, count_together, &c), 0);
        assert_int_equal(c.together, 0);
        assert_int_equal(c.value, CROWD * c.each);
    }
}

/* In every way that there is, with deadlines that are short enough to pass. */
static void *count_by_all_means(void *arg)
{
    struct counted *c = arg;
    unsigned seed = (unsigned)(uintptr_t)&seed;
    for (long i = 0; i < c->each; i++) {
        unsigned way = crowd_pick(&seed, 4);
        if (way == 0)
            coir_mutex_lock(&c->mutex);
        else if (way == 1
                     ? coir_mutex_trylock(&c->mutex) < 0
                     : coir_mutex_timedlock(&c->mutex, coir_after(crowd_pick(&seed, 20000))) < 0)
            continue;
        count_inside(c, i);
        coir_mutex_unlock(&c->mutex);
    }
    return NULL;
}

static void count_and_cancel(void *arg)
{
    coir_fiber *fibers[CROWD_FIBERS];
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < CROWD_FIBERS; i++)
            fibers[i] = crowd_spawn(count_by_all_means, arg);
        for (int i = 0; i < CROWD_FIBERS; i += 2) {
            coir_sleep(COIR_US(100));
            coir_cancel(fibers[i]);
        }
        for (int i = 0; i < CROWD_FIBERS; i++)
            coir_join(fibers[i], NULL);
    }
    crowd_run(count_by_all_means, arg);
}

static void it_is_not_lost_by_those_who_stop_waiting(void **state)
{
    const coir_mutex zero = COIR_MUTEX_INIT;
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct counted c = { .each = test_scaled(300, 20) };
        assert_int_equal(fiber_test_run(*w, count_and_cancel, &c), 0);
        assert_int_equal(c.together, 0);
        assert_int_equal(c.value, c.got_it);
        assert_memory_equal(&c.mutex, &zero, sizeof zero);
    }
}

struct tried {
    coir_mutex mutex;
    coir_fiber *waiter;
    struct kit_said taken, handed_over, free, late;
    bool got_it;
};

static void *lock_once(void *arg)
{
    struct tried *t = arg;
    coir_mutex_lock(&t->mutex);
    t->got_it = true;
    coir_mutex_unlock(&t->mutex);
    return NULL;
}

static void unlock_and_try(void *arg)
{
    struct tried *t = arg;
    coir_mutex_lock(&t->mutex);
    t->taken = KIT_SAID(coir_mutex_trylock(&t->mutex));
    t->waiter = coir_spawn(lock_once, t);
    crowd_is_parked(t->waiter);
    coir_mutex_unlock(&t->mutex);
    t->handed_over = KIT_SAID(coir_mutex_trylock(&t->mutex));
    coir_join(t->waiter, NULL);
    t->free = KIT_SAID(coir_mutex_trylock(&t->mutex));
    coir_mutex_unlock(&t->mutex);
    t->late = KIT_SAID(coir_mutex_timedlock(&t->mutex, coir_now() - 1));
}

static void unlock_hands_it_to_the_waiter_and_not_to_who_comes_first(void **state)
{
    struct tried t = { .got_it = false };
    (void)state;
    assert_int_equal(fiber_test_run(1, unlock_and_try, &t), 0);
    kit_assert_said(t.taken, -1, EBUSY);
    kit_assert_said(t.handed_over, -1, EBUSY);
    assert_true(t.got_it);
    kit_assert_said(t.free, 0, 0);
    kit_assert_said(t.late, 0, 0); /* it was free */
}

/* One waits on another worker, while those here pass the mutex on to each other. */
enum { LOCALS = 6, PASSED_MAX = 16000 };

struct passed {
    coir_mutex mutex;
    long taken, taken_before; /* by those here; when the other got it */
    uint32_t stamp;            /* the time here: in the future, where it stands still; */
    long late_at;              /* when so many have taken it, it goes on; 0: never */
    _Atomic bool got_it;
    int elsewhere;
};

static void *wait_elsewhere(void *arg)
{
    struct passed *p = arg;
    p->elsewhere = coir__worker_self()->index != 0;
    coir_mutex_lock(&p->mutex);
    p->taken_before = p->taken;
    p->got_it = true;
    coir_mutex_unlock(&p->mutex);
    return NULL;
}

static void *take_turns_here(void *arg)
{
    struct passed *p = arg;
    while (!p->got_it && p->taken < 100000) {
        coir_mutex_lock(&p->mutex);
        p->taken++;
        coir_yield();
        p->stamp += p->taken == p->late_at ? 3 : 0;
        coir__worker_self()->stamp = p->stamp;
        coir_mutex_unlock(&p->mutex);
    }
    return NULL;
}

static void pass_it_on(void *arg)
{
    struct passed *p = arg;
    coir_fiber *here[LOCALS];
    kit_nobody_steals();
    coir__worker_self()->rt->next_worker = 1;
    coir_mutex_lock(&p->mutex);
    coir_fiber *elsewhere = crowd_spawn(wait_elsewhere, p);
    KIT_UNTIL(coir__fiber_state(kit_record(elsewhere)) == COIR__PARKED);
    for (int i = 0; i < LOCALS; i++)
        here[i] = coir_spawn(take_turns_here, p);
    KIT_UNTIL(coir__fiber_state(kit_record(here[LOCALS - 1])) == COIR__PARKED);
    p->stamp = coir__worker_self()->stamp += 1000 * 1000;
    coir_mutex_unlock(&p->mutex);
    for (int i = 0; i < LOCALS; i++)
        coir_join(here[i], NULL);
    coir_join(elsewhere, NULL);
}

static void who_waits_elsewhere_is_passed_so_many_times_at_most(void **state)
{
    (void)state;
    struct passed p = { .taken = 0 };
    assert_int_equal(fiber_test_run(2, pass_it_on, &p), 0);
    assert_true(p.elsewhere);
    assert_int_equal(p.taken_before, PASSED_MAX);
}

static void who_waits_elsewhere_is_passed_for_some_milliseconds_at_most(void **state)
{
    (void)state;
    struct passed p = { .late_at = 100 };
    assert_int_equal(fiber_test_run(2, pass_it_on, &p), 0);
    assert_true(p.elsewhere);
    assert_int_equal(p.taken_before, p.late_at);
}

/* One waits on another worker, while two here have the mutex for long, again and again. */
enum { HOLD_NS = 8 * 1000 * 1000 };

struct held {
    coir_mutex mutex;
    _Atomic bool asked, got_it;
    int passes; /* by who came later */
};

static void *ask_elsewhere(void *arg)
{
    struct held *h = arg;
    h->asked = true;
    coir_mutex_lock(&h->mutex);
    h->got_it = true;
    coir_mutex_unlock(&h->mutex);
    return NULL;
}

static void *hold_for_long(void *arg)
{
    struct held *h = arg;
    while (!h->got_it && h->passes < 100) {
        bool later = h->asked;
        coir_mutex_lock(&h->mutex);
        h->passes += later && !h->got_it;
        for (int64_t end_ns = coir_now() + HOLD_NS; coir_now() < end_ns;)
            ;
        coir_mutex_unlock(&h->mutex);
    }
    return NULL;
}

static void hold_and_ask(void *arg)
{
    struct held *h = arg;
    kit_nobody_steals();
    coir__worker_self()->rt->next_worker = 1;
    coir_mutex_lock(&h->mutex);
    coir_fiber *elsewhere = crowd_spawn(ask_elsewhere, h);
    KIT_UNTIL(coir__fiber_state(kit_record(elsewhere)) == COIR__PARKED);
    coir_fiber *here[2] = { coir_spawn(hold_for_long, h), coir_spawn(hold_for_long, h) };
    KIT_UNTIL(coir__fiber_state(kit_record(here[1])) == COIR__PARKED);
    coir_mutex_unlock(&h->mutex);
    coir_join(here[0], NULL);
    coir_join(here[1], NULL);
    coir_join(elsewhere, NULL);
}

/* Twice: what was waiting as the time began, and who had it as the time was over. */
static void long_holders_pass_only_while_it_is_early(void **state)
{
    struct held h = { .passes = 0 };
    (void)state;
    assert_int_equal(fiber_test_run(2, hold_and_ask, &h), 0);
    assert_true(h.got_it);
    assert_in_range(h.passes, 0, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_one_has_it_at_a_time),
        cmocka_unit_test(it_is_not_lost_by_those_who_stop_waiting),
        cmocka_unit_test(unlock_hands_it_to_the_waiter_and_not_to_who_comes_first),
        cmocka_unit_test(who_waits_elsewhere_is_passed_so_many_times_at_most),
        cmocka_unit_test(who_waits_elsewhere_is_passed_for_some_milliseconds_at_most),
        cmocka_unit_test(long_holders_pass_only_while_it_is_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
