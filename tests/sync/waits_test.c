/* tests/sync/waits_test.c - what holds for every wait: it ends once, by what it waits for, by its
 * deadline or by a cancel, and leaves nothing behind; and then the object may go.
 * SPDX-License-Identifier: MIT
 *
 * Method: all kinds of kinds.h in turn, fibers and plain threads as waiters, and rounds in which
 * the ends of a wait race with each other. An object at rest is all zero. */
#include "kinds.h"

enum { WAITERS = 12 };

struct wait {
    const struct kind *kind;
    union any *object;
    int64_t deadline_ns;
    _Atomic int *got_it; /* counts */
    bool frees;          /* the object, as soon as it has got it */
    struct kit_said said;
    int place;         /* the how manieth it was */
    coir_fiber *fiber; /* or */
    pthread_t thread;
};

static struct wait wait_for(const struct kind *k, union any *o, int64_t deadline_ns,
                            _Atomic int *got_it)
{
    return (struct wait){ .kind = k, .object = o, .deadline_ns = deadline_ns, .got_it = got_it };
}

static void *wait_once(void *arg)
{
    struct wait *w = arg;
    w->said = KIT_SAID(w->kind->wait(w->object, w->deadline_ns));
    if (w->said.result == 0) {
        w->place = atomic_fetch_add(w->got_it, 1);
        w->kind->used(w->object);
        if (w->frees)
            free(w->object);
    }
    return NULL;
}

static void start(struct wait *w, bool as_thread)
{
    coir_attr attr = { .flags = COIR_SPREAD };
    w->fiber = as_thread ? NULL : coir_spawn_with(&attr, wait_once, w);
    if (as_thread)
        pthread_create(&w->thread, NULL, wait_once, w);
}

/* A thread may wait for what a fiber of this worker has been handed: do not block it. */
static void join(struct wait *w)
{
    if (w->fiber)
        coir_join(w->fiber, NULL);
    else
        while (pthread_tryjoin_np(w->thread, NULL) != 0)
            kit_pause();
}

static bool is_parked(const struct wait *w)
{
    return coir__fiber_state(kit_record(w->fiber)) == COIR__PARKED;
}

static void give_to(const struct kind *k, union any *o, int n, _Atomic int *got_it)
{
    for (int i = 0; i < (k->gift == FOR_ALL ? 1 : n); i++) {
        k->give(o);
        while (k->gift == FOR_ONE_WHO_WAITS && *got_it <= i) {
            kit_pause();
            if (kind_is_waited_for(k, o))
                k->give(o);
        }
    }
}

/* One run for each kind and number of workers: fn asks kind, and counts what is wrong. */
struct per_kind {
    const struct kind *kind;
    int rounds, wrong;
};

static void for_each_kind(const unsigned *workers, void (*fn)(void *), int rounds)
{
    for (; *workers; workers++)
        for (int i = 0; i < KINDS; i++) {
            struct per_kind p = { .kind = &kinds[i], .rounds = rounds };
            assert_int_equal(fiber_test_run(*workers, fn, &p), 0);
            if (p.wrong)
                fail_msg("%s, %u workers: %d wrong", kinds[i].name, *workers, p.wrong);
        }
}

static void wait_in_turn(void *arg)
{
    struct per_kind *p = arg;
    const struct kind *k = p->kind;
    union any o;
    _Atomic int got_it = 0;
    struct wait w[WAITERS];
    k->init(&o);
    for (int i = 0; i < WAITERS; i++) {
        w[i] = wait_for(k, &o, COIR_NEVER, &got_it);
        start(&w[i], false);
        p->wrong += !KIT_UNTIL(is_parked(&w[i]));
    }
    give_to(k, &o, WAITERS, &got_it);
    for (int i = 0; i < WAITERS; i++) {
        join(&w[i]);
        p->wrong += w[i].said.result != 0 || w[i].place != i;
    }
    p->wrong += !kind_is_at_rest(k, &o, 0, 0);
}

static void waiters_are_served_in_the_order_of_arrival(void **state)
{
    const unsigned one[] = { 1, 0 };
    (void)state;
    for_each_kind(one, wait_in_turn, 0);
}

/* Every other waiter has a deadline; those go, the others stay, and get it. Half are threads. */
static void some_are_late(void *arg)
{
    struct per_kind *p = arg;
    const struct kind *k = p->kind;
    union any o;
    _Atomic int got_it = 0;
    struct wait w[WAITERS];
    k->init(&o);
    for (int i = 0; i < WAITERS; i++) {
        w[i] = wait_for(k, &o, i % 2 ? COIR_NEVER : coir_after(COIR_MS(2)), &got_it);
        start(&w[i], i >= WAITERS / 2);
    }
    for (int i = 0; i < WAITERS; i += 2) {
        join(&w[i]);
        p->wrong += w[i].said.err != ETIMEDOUT;
    }
    give_to(k, &o, WAITERS / 2, &got_it);
    for (int i = 1; i < WAITERS; i += 2) {
        join(&w[i]);
        p->wrong += w[i].said.result != 0;
    }
    p->wrong += !kind_is_at_rest(k, &o, 0, 0);
}

/* Nobody stays: then it is as if nobody had come. */
static void all_are_late(void *arg)
{
    struct per_kind *p = arg;
    const struct kind *k = p->kind;
    union any o, before;
    _Atomic int got_it = 0;
    struct wait w[WAITERS];
    k->init(&o);
    before = o;
    for (int i = 0; i < WAITERS; i++) {
        w[i] = wait_for(k, &o, coir_after(COIR_US(100 * i)), &got_it);
        start(&w[i], i % 3 == 0);
    }
    for (int i = 0; i < WAITERS; i++) {
        join(&w[i]);
        p->wrong += w[i].said.err != ETIMEDOUT;
    }
    p->wrong += memcmp(&o, &before, sizeof o) != 0;
}

static void a_wait_that_the_deadline_ends_leaves_no_trace(void **state)
{
    (void)state;
    for_each_kind(test_workers, all_are_late, 0);
    for_each_kind(test_workers, some_are_late, 0);
}

static void some_are_cancelled(void *arg)
{
    struct per_kind *p = arg;
    const struct kind *k = p->kind;
    union any o;
    _Atomic int got_it = 0;
    struct wait w[WAITERS];
    k->init(&o);
    for (int i = 0; i < WAITERS; i++) {
        w[i] = wait_for(k, &o, COIR_NEVER, &got_it);
        start(&w[i], false);
    }
    for (int i = 0; i < WAITERS; i += 2) {
        p->wrong += !KIT_UNTIL(is_parked(&w[i]));
        coir_cancel(w[i].fiber);
        join(&w[i]);
        p->wrong += w[i].said.err != ECANCELED;
    }
    give_to(k, &o, WAITERS / 2, &got_it);
    for (int i = 1; i < WAITERS; i += 2) {
        join(&w[i]);
        p->wrong += w[i].said.result != 0;
    }
    p->wrong += !kind_is_at_rest(k, &o, 0, 0);
}

static void a_wait_that_a_cancel_ends_leaves_no_trace(void **state)
{
    (void)state;
    for_each_kind(test_workers, some_are_cancelled, 0);
}

/* What is given, and a cancel or a deadline, come at the same time: one of them ends it. */
static void race(struct per_kind *p, int round, bool cancel)
{
    const struct kind *k = p->kind;
    union any o;
    _Atomic int got_it = 0;
    k->init(&o);
    int64_t deadline_ns = cancel ? COIR_NEVER : coir_after(COIR_US(round % 100));
    struct wait w = wait_for(k, &o, deadline_ns, &got_it);
    start(&w, !cancel && round % 2);
    if (cancel) {
        KIT_UNTIL(is_parked(&w));
        for (int i = 0; i < round % 7; i++)
            kit_pause();
        coir_cancel(w.fiber);
    }
    for (int i = 0; i < round % 3; i++)
        kit_pause();
    k->give(&o);
    join(&w);
    bool ended = w.said.err == (cancel ? ECANCELED : ETIMEDOUT);
    p->wrong += got_it != (w.said.result == 0) || (w.said.result != 0 && !ended);
    p->wrong += !kind_is_at_rest(k, &o, 1, got_it);
}

static void race_with_cancels(void *arg)
{
    struct per_kind *p = arg;
    for (int i = 0; i < p->rounds; i++)
        race(p, i, true);
}

static void race_with_deadlines(void *arg)
{
    struct per_kind *p = arg;
    for (int i = 0; i < p->rounds; i++)
        race(p, i, false);
}

static void a_cancel_and_a_gift_at_once_end_it_once(void **state)
{
    (void)state;
    for_each_kind(test_workers, race_with_cancels, test_scaled(1000, 20));
}

static void a_deadline_and_a_gift_at_once_end_it_once(void **state)
{
    (void)state;
    for_each_kind(test_workers, race_with_deadlines, test_scaled(300, 20));
}

/* The waiter frees the object while whoever gave it may still be on his way out. */
static void free_at_once(void *arg)
{
    struct per_kind *p = arg;
    const struct kind *k = p->kind;
    for (int i = 0; i < p->rounds; i++) {
        union any *o = malloc(sizeof *o);
        _Atomic int got_it = 0;
        struct wait w = wait_for(k, o, COIR_NEVER, &got_it);
        w.frees = true;
        k->init(o);
        start(&w, i % 8 == 0);
        if (i % 3 || k->gift == FOR_ONE_WHO_WAITS)
            KIT_UNTIL(kind_is_waited_for(k, o));
        k->give(o);
        join(&w);
        p->wrong += w.said.result != 0;
    }
}

static void the_object_may_be_freed_when_the_wait_has_ended(void **state)
{
    (void)state;
    for_each_kind(test_workers, free_at_once, test_scaled(2000, 50));
}

struct refused {
    const struct kind *kind;
    struct kit_said said;
    bool by_cancel, go;
};

static void *wait_when_it_would_not_wait(void *arg)
{
    struct refused *r = arg;
    const struct kind *k = r->kind;
    union any o;
    while (r->by_cancel && coir_check() == 0)
        coir_yield();
    if (!r->by_cancel)
        coir_deadline_set(coir_now());
    k->init(&o);
    if (k->gift != FOR_ONE_WHO_WAITS) /* there is nothing to get before the wait, then */
        k->give(&o);
    r->said = KIT_SAID(k->wait(&o, COIR_NEVER));
    coir_deadline_set(COIR_NEVER);
    r->go = kind_is_at_rest(k, &o, k->gift != FOR_ONE_WHO_WAITS, 0);
    return NULL;
}

static void be_refused(void *arg)
{
    struct refused *r = arg;
    coir_fiber *fiber = coir_spawn(wait_when_it_would_not_wait, r);
    if (r->by_cancel)
        coir_cancel(fiber);
    coir_join(fiber, NULL);
}

static void who_is_cancelled_or_late_fails_even_if_he_would_not_wait(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        struct refused cancelled = { .kind = &kinds[i], .by_cancel = true };
        struct refused late = { .kind = &kinds[i] }, thread = { .kind = &kinds[i] };
        assert_int_equal(fiber_test_run(1, be_refused, &cancelled), 0);
        assert_int_equal(fiber_test_run(1, be_refused, &late), 0);
        wait_when_it_would_not_wait(&thread);
        kit_assert_said(cancelled.said, -1, ECANCELED);
        kit_assert_said(late.said, -1, ETIMEDOUT);
        kit_assert_said(thread.said, -1, ETIMEDOUT);
        assert_true(cancelled.go && late.go && thread.go);
    }
}

struct twice_late {
    const struct kind *kind;
    union any object;
    int wrong;
};

/* The earlier of the two holds: the argument, and the caller's own. */
static void *wait_with_two_deadlines(void *arg)
{
    struct twice_late *t = arg;
    const struct kind *k = t->kind;
    coir_deadline_set(coir_after(COIR_MS(1)));
    struct kit_said said = KIT_SAID(k->wait(&t->object, COIR_NEVER));
    t->wrong += said.err != ETIMEDOUT;
    coir_deadline_set(coir_after(COIR_SEC(KIT_PATIENCE_S)));
    said = KIT_SAID(k->wait(&t->object, coir_after(COIR_MS(1))));
    t->wrong += said.err != ETIMEDOUT || coir_deadline_passed();
    const int64_t past_ns[] = { coir_now() - 1, 0, -1, INT64_MIN };
    for (int i = 0; i < 4; i++) {
        said = KIT_SAID(k->wait(&t->object, past_ns[i]));
        t->wrong += said.err != ETIMEDOUT;
    }
    coir_deadline_set(COIR_NEVER);
    return NULL;
}

static void wait_as_fiber_and_thread(void *arg)
{
    struct twice_late *t = arg;
    pthread_t thread;
    t->kind->init(&t->object);
    coir_join(coir_spawn(wait_with_two_deadlines, t), NULL);
    pthread_create(&thread, NULL, wait_with_two_deadlines, t);
    pthread_join(thread, NULL);
    t->kind->give(&t->object);
    t->wrong += !kind_is_at_rest(t->kind, &t->object, 1, 0);
}

static void the_earlier_of_two_deadlines_holds(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        struct twice_late t = { .kind = &kinds[i] };
        assert_int_equal(fiber_test_run(1, wait_as_fiber_and_thread, &t), 0);
        if (t.wrong)
            fail_msg("%s: %d wrong", kinds[i].name, t.wrong);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waiters_are_served_in_the_order_of_arrival),
        cmocka_unit_test(a_wait_that_the_deadline_ends_leaves_no_trace),
        cmocka_unit_test(a_wait_that_a_cancel_ends_leaves_no_trace),
        cmocka_unit_test(a_cancel_and_a_gift_at_once_end_it_once),
        cmocka_unit_test(a_deadline_and_a_gift_at_once_end_it_once),
        cmocka_unit_test(the_object_may_be_freed_when_the_wait_has_ended),
        cmocka_unit_test(who_is_cancelled_or_late_fails_even_if_he_would_not_wait),
        cmocka_unit_test(the_earlier_of_two_deadlines_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
