/* tests/sync/barrier_test.c - all or none, and one of them is told.
 * SPDX-License-Identifier: MIT
 *
 * Method: many rounds, in which nobody may be ahead of anybody; and rounds in which one of the
 * parties leaves while the last one comes. */
#include "crowd.h"

struct rounds {
    coir_barrier barrier;
    _Atomic int nth, ahead, behind, firsts, others, failed;
    _Atomic int in_round[CROWD + 1];
    int each;
};

/* When the barrier lets me go, everybody is in my round at least, and nobody is further than the
 * next. */
static void *go_round(void *arg)
{
    struct rounds *r = arg;
    int me = r->nth++;
    for (int i = 1; i <= r->each; i++) {
        r->in_round[me] = i;
        int result = coir_barrier_wait(&r->barrier);
        r->failed += result < 0;
        r->firsts += result == 1;
        r->others += result == 0;
        for (int k = 0; k < CROWD; k++) {
            r->behind += r->in_round[k] < i;
            r->ahead += r->in_round[k] > i + 1;
        }
        if ((i + me) % 5 == 0)
            kit_pause();
    }
    return NULL;
}

static void go_rounds(void *arg)
{
    struct rounds *r = arg;
    coir_barrier_init(&r->barrier, CROWD);
    crowd_run(go_round, r);
}

static void all_go_on_together_and_one_is_told(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct rounds r = { .each = test_scaled(500, 20) };
        assert_int_equal(fiber_test_run(*w, go_rounds, &r), 0);
        assert_int_equal(r.behind, 0);
        assert_int_equal(r.ahead, 0);
        assert_int_equal(r.failed, 0);
        assert_int_equal(r.firsts, r.each);
        assert_int_equal(r.others, (CROWD - 1) * r.each);
        assert_int_equal(r.barrier.opaque[0], 0);
        assert_int_equal(r.barrier.opaque[1], 0);
    }
}

struct party {
    coir_barrier *barrier;
    int64_t deadline_ns;
    struct kit_said said;
    coir_fiber *fiber;
    pthread_t thread;
    bool frees; /* the barrier, when it is told */
};

static void *arrive(void *arg)
{
    struct party *p = arg;
    coir_deadline_set(p->deadline_ns);
    p->said = KIT_SAID(coir_barrier_wait(p->barrier));
    coir_deadline_set(COIR_NEVER);
    if (p->frees && p->said.result == 1)
        free(p->barrier);
    return NULL;
}

static void party_start(struct party *p, coir_barrier *barrier, bool as_thread)
{
    int64_t deadline_ns = p->deadline_ns ? p->deadline_ns : COIR_NEVER;
    *p = (struct party){ .barrier = barrier, .deadline_ns = deadline_ns, .frees = p->frees };
    if (as_thread)
        pthread_create(&p->thread, NULL, arrive, p);
    else
        p->fiber = crowd_spawn(arrive, p);
}

static void party_join(struct party *p)
{
    if (p->fiber)
        coir_join(p->fiber, NULL);
    else
        pthread_join(p->thread, NULL);
}

struct parties {
    coir_barrier barrier;
    struct party p[4];
    int rounds, wrong, left;
};

/* Of three parties one is about to leave when the last one comes. If it does, the other two wait
 * for a fourth, in its place. */
static void one_leaves(struct parties *s, int round, bool cancel)
{
    int leaver = round % 2, told = 0;
    bool as_thread = !cancel && round % 3 == 0;
    coir_barrier_init(&s->barrier, 3);
    memset(s->p, 0, sizeof s->p);
    if (!cancel)
        s->p[leaver].deadline_ns = coir_after(COIR_US(round % 150));
    for (int i = 0; i < 2; i++)
        party_start(&s->p[i], &s->barrier, as_thread && i == leaver);
    if (cancel) {
        crowd_is_parked(s->p[0].fiber);
        crowd_is_parked(s->p[1].fiber);
    }
    if (cancel && round % 4 < 2)
        coir_cancel(s->p[leaver].fiber);
    if (cancel && round % 4 == 0) /* it has left before the last one comes */
        KIT_UNTIL(coir__fiber_state(kit_record(s->p[leaver].fiber)) == COIR__ENDED);
    party_start(&s->p[2], &s->barrier, round % 5 == 0);
    for (int i = 0; i < round % 7; i++)
        kit_pause();
    if (cancel)
        coir_cancel(s->p[leaver].fiber);
    party_join(&s->p[leaver]);
    bool left = s->p[leaver].said.result < 0;
    s->left += left;
    s->wrong += left && s->p[leaver].said.err != (cancel ? ECANCELED : ETIMEDOUT);
    if (left)
        party_start(&s->p[3], &s->barrier, round % 11 == 0);
    for (int i = 0; i < (left ? 4 : 3); i++) {
        if (i != leaver)
            party_join(&s->p[i]);
        told += s->p[i].said.result == 1;
        s->wrong += i != leaver && s->p[i].said.result < 0;
    }
    s->wrong += told != 1 || s->barrier.opaque[0] || s->barrier.opaque[1];
}

static void some_are_cancelled(void *arg)
{
    struct parties *s = arg;
    for (int i = 0; i < s->rounds && !s->wrong; i++)
        one_leaves(s, i, true);
}

static void some_are_late(void *arg)
{
    struct parties *s = arg;
    for (int i = 0; i < s->rounds && !s->wrong; i++)
        one_leaves(s, i, false);
}

static void who_leaves_does_not_count_and_the_others_wait_on(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct parties cancelled = { .rounds = test_scaled(1500, 40) };
        struct parties late = { .rounds = test_scaled(1000, 40) };
        assert_int_equal(fiber_test_run(*w, some_are_cancelled, &cancelled), 0);
        assert_int_equal(cancelled.wrong, 0);
        assert_true(cancelled.left > 0);
        assert_int_equal(fiber_test_run(*w, some_are_late, &late), 0);
        assert_int_equal(late.wrong, 0);
        assert_true(late.left > 0);
    }
}

enum { MANY = 3000 };

struct crowded {
    coir_barrier barrier;
    struct party *p; /* MANY of them */
    struct party thread;
    _Atomic bool go;
    int round, wrong, rounds, ended;
};

/* The newest first: then it has left, and the oldest is reserved, when the last party finds out
 * that it is not the last. */
static void *cancel_first_and_last(void *arg)
{
    struct crowded *c = arg;
    while (!c->go)
        ;
    coir_cancel(c->p[MANY - 1].fiber);
    coir_cancel(c->p[0].fiber);
    return NULL;
}

static bool is_done(const struct party *p)
{
    return coir__fiber_state(kit_record(p->fiber)) == COIR__ENDED && p->said.result < 0;
}

static void wait_for_too_few(struct crowded *c)
{
    struct kit_said said;
    pthread_t canceller;
    c->go = false;
    coir_barrier_init(&c->barrier, MANY + 2);
    memset(c->p, 0, MANY * sizeof *c->p);
    c->thread = (struct party){ .deadline_ns = coir_after(COIR_MS(5) + COIR_US(10 * c->round)) };
    party_start(&c->thread, &c->barrier, true);
    for (int i = 0; i < MANY; i++)
        party_start(&c->p[i], &c->barrier, false);
    for (int i = 0; i < MANY; i++)
        crowd_is_parked(c->p[i].fiber);
    pthread_create(&canceller, NULL, cancel_first_and_last, c);
    c->go = true;
    for (volatile int i = 0; i < 200 * (c->round % 32); i++)
        ;
    COIR_TIMEOUT(COIR_MS(1))
        said = KIT_SAID(coir_barrier_wait(&c->barrier));
    pthread_join(canceller, NULL);
    bool ended = said.result >= 0;
    if (!ended) /* the cancels were not lost, and nobody else has gone */
        c->wrong += !KIT_UNTIL(is_done(&c->p[0]) && is_done(&c->p[MANY - 1]));
    for (int i = 0; i < MANY; i++)
        coir_cancel(c->p[i].fiber);
    party_join(&c->thread);
    for (int i = 0; i < MANY; i++) {
        party_join(&c->p[i]);
        c->wrong += (c->p[i].said.result >= 0) != ended;
    }
    c->wrong += (c->thread.said.result >= 0) != ended;
    c->wrong += c->barrier.opaque[0] || c->barrier.opaque[1];
    c->ended += ended;
}

static void wait_for_too_few_often(void *arg)
{
    struct crowded *c = arg;
    c->p = malloc(MANY * sizeof *c->p);
    for (c->round = 0; c->round < c->rounds && !c->wrong; c->round++)
        wait_for_too_few(c);
    free(c->p);
}

static void a_round_that_was_begun_to_end_and_cannot_leaves_all_as_they_were(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct crowded c = { .rounds = test_scaled(60, 2) };
        assert_int_equal(fiber_test_run(*w, wait_for_too_few_often, &c), 0);
        assert_int_equal(c.wrong, 0);
    }
}

/* Whoever is told frees it, while others are still on their way out, or have just been cancelled:
 * they were in the round. */
static void free_barriers(void *arg)
{
    struct parties *s = arg;
    for (int i = 0; i < s->rounds; i++) {
        coir_barrier *barrier = malloc(sizeof *barrier);
        coir_barrier_init(barrier, 3);
        memset(s->p, 0, sizeof s->p);
        for (int k = 0; k < 3; k++) {
            s->p[k].frees = true;
            party_start(&s->p[k], barrier, i % 4 == 0 && k == 2);
        }
        for (int k = 0; k < 3; k++) {
            party_join(&s->p[k]);
            s->wrong += s->p[k].said.result < 0;
        }
    }
}

static void who_is_told_may_free_it(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct parties s = { .rounds = test_scaled(2000, 50) };
        assert_int_equal(fiber_test_run(*w, free_barriers, &s), 0);
        assert_int_equal(s.wrong, 0);
    }
}

/* The cancel of one party and the arrival of the last: when it is told, nobody of its round looks
 * at the barrier any more, also not the one whose cancel has come too late. */
static void free_and_cancel(void *arg)
{
    struct parties *s = arg;
    for (int i = 0; i < s->rounds; i++) {
        coir_barrier *barrier = malloc(sizeof *barrier);
        coir_barrier_init(barrier, 2);
        memset(s->p, 0, sizeof s->p);
        party_start(&s->p[0], barrier, false);
        crowd_is_parked(s->p[0].fiber);
        s->p[1].deadline_ns = coir_after(COIR_SEC(KIT_PATIENCE_S));
        s->p[1].frees = true;
        party_start(&s->p[1], barrier, false);
        for (int k = 0; k < i % 5; k++)
            kit_pause();
        coir_cancel(s->p[0].fiber);
        party_join(&s->p[0]);
        if (s->p[0].said.result < 0)
            coir_cancel(s->p[1].fiber);
        party_join(&s->p[1]);
        if (s->p[0].said.result < 0)
            free(barrier);
        s->wrong += (s->p[0].said.result < 0) != (s->p[1].said.result < 0);
    }
}

static void nobody_of_an_ended_round_looks_at_it_again(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct parties s = { .rounds = test_scaled(2000, 50) };
        assert_int_equal(fiber_test_run(*w, free_and_cancel, &s), 0);
        assert_int_equal(s.wrong, 0);
    }
}

struct alone {
    struct kit_said said[2];
    bool cancel, began;
};

static void *arrive_alone(void *arg)
{
    struct alone *a = arg;
    coir_barrier barrier;
    coir_barrier_init(&barrier, 1);
    a->said[0] = KIT_SAID(coir_barrier_wait(&barrier));
    a->began = true;
    while (a->cancel && coir_check() == 0)
        coir_yield();
    if (!a->cancel)
        coir_deadline_set(coir_now());
    a->said[1] = KIT_SAID(coir_barrier_wait(&barrier));
    coir_deadline_set(COIR_NEVER);
    return NULL;
}

static void arrive_cancelled(void *arg)
{
    struct alone *a = arg;
    coir_fiber *fiber = coir_spawn(arrive_alone, a);
    KIT_UNTIL(a->began);
    if (a->cancel)
        coir_cancel(fiber);
    coir_join(fiber, NULL);
}

static void one_party_goes_on_at_once_unless_it_is_cancelled_or_late(void **state)
{
    struct alone cancelled = { .cancel = true }, late = { .cancel = false }, thread = late;
    (void)state;
    assert_int_equal(fiber_test_run(1, arrive_cancelled, &cancelled), 0);
    assert_int_equal(fiber_test_run(1, arrive_cancelled, &late), 0);
    arrive_alone(&thread);
    kit_assert_said(cancelled.said[0], 1, 0);
    kit_assert_said(cancelled.said[1], -1, ECANCELED);
    kit_assert_said(late.said[1], -1, ETIMEDOUT);
    kit_assert_said(thread.said[0], 1, 0);
    kit_assert_said(thread.said[1], -1, ETIMEDOUT);
}

static void there_is_no_barrier_of_nobody(void **state)
{
    coir_barrier barrier;
    (void)state;
    assert_int_equal(coir_barrier_init(&barrier, 0), -1);
    assert_int_equal(errno, EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_go_on_together_and_one_is_told),
        cmocka_unit_test(who_leaves_does_not_count_and_the_others_wait_on),
        cmocka_unit_test(a_round_that_was_begun_to_end_and_cannot_leaves_all_as_they_were),
        cmocka_unit_test(who_is_told_may_free_it),
        cmocka_unit_test(nobody_of_an_ended_round_looks_at_it_again),
        cmocka_unit_test(one_party_goes_on_at_once_unless_it_is_cancelled_or_late),
        cmocka_unit_test(there_is_no_barrier_of_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
