/* tests/sync/select_test.c - of several things one happens, and the others do not.
 * SPDX-License-Identifier: MIT
 *
 * What each kind of case reports, fairness, and what is never ready. Fibers of 1, 2 and 4 workers,
 * and plain threads; channels one by one are in ways.h. */
#include "support/expect.h"
#include "crowd.h"

static void everywhere(void (*fn)(void *))
{
    for (const unsigned *w = test_workers; *w; w++)
        assert_int_equal(fiber_test_run(*w, fn, NULL), 0);
    fn(NULL); /* a plain thread, and the runtime that starts by itself */
    assert_no_findings();
}

/* Select of one case more, which never happens, before it. */
static int select_one(coir_case *c, int64_t timeout_ns)
{
    coir_case cases[] = { COIR_CASE_RECV(NULL, NULL), *c };
    int index = coir_select(cases, 2, timeout_ns);
    *c = cases[1];
    EXPECT(index == 1 || index == -1);
    return index < 0 ? -1 : 0;
}

static void expect_case(coir_case c, int result, int error)
{
    EXPECT_EQ(select_one(&c, COIR_SEC(KIT_PATIENCE_S)), 0);
    EXPECT_EQ(c.result, result);
    EXPECT_EQ(c.error, error);
}

static void never(coir_case c)
{
    EXPECT_FAILS(select_one(&c, 0), ETIMEDOUT);
    EXPECT_FAILS(select_one(&c, COIR_US(50)), ETIMEDOUT);
    EXPECT_EQ(c.result, 0);
    EXPECT_EQ(c.error, 0);
}

static void *wait_for_go(void *arg)
{
    _Atomic int *go = arg;
    KIT_UNTIL(*go);
    return *go > 1 ? coir_fail(EDOM) : arg;
}

static void *yield_often(void *arg)
{
    for (int i = 0; i < 20; i++)
        coir_yield();
    return arg;
}

/* n of them have ended by now. */
static bool has_ended(coir_fiber *f)
{
    return KIT_UNTIL(coir__fiber_state(kit_record(f)) == COIR__ENDED);
}

static void join_cases(void *arg)
{
    _Atomic int go = 0, fail = 2;
    void *result = NULL;
    (void)arg;
    coir_fiber *f = crowd_spawn(wait_for_go, &go);
    never(COIR_CASE_JOIN(f, &result));
    go = 1;
    expect_case(COIR_CASE_JOIN(f, &result), 0, 0);
    EXPECT(result == &go);
    EXPECT_FAILS(coir_join(f, NULL), EINVAL); /* consumed */
    expect_case(COIR_CASE_JOIN(f, NULL), -1, EINVAL);

    f = crowd_spawn(wait_for_go, &fail);
    expect_case(COIR_CASE_JOIN(f, &result), -1, EDOM);
    EXPECT_FAILS(coir_join(f, NULL), EINVAL); /* this, too */
    f = crowd_spawn(kit_nothing, &go);
    has_ended(f);
    expect_case(COIR_CASE_JOIN(f, NULL), 0, 0);
    if (coir_self())
        expect_case(COIR_CASE_JOIN(coir_self(), NULL), -1, EDEADLK);
    never(COIR_CASE_JOIN(NULL, NULL));
    /* Twice the same: it is joined once. */
    f = crowd_spawn(yield_often, &go);
    coir_case twice[] = { COIR_CASE_JOIN(f, &result), COIR_CASE_JOIN(f, &result) };
    int i = coir_select(twice, 2, COIR_NEVER);
    EXPECT(i >= 0 && twice[i].result == 0);
    EXPECT_FAILS(coir_join(f, NULL), EINVAL);
}

static void a_join_reports_what_coir_join_would(void **state)
{
    (void)state;
    everywhere(join_cases);
}

static void timer_cases(void *arg)
{
    (void)arg;
    expect_case(COIR_CASE_TIMER(0), 0, 0);
    expect_case(COIR_CASE_TIMER(coir_now()), 0, 0);
    int64_t until_ns = coir_after(COIR_MS(1));
    expect_case(COIR_CASE_TIMER(until_ns), 0, 0);
    EXPECT(coir_now() >= until_ns);
    never(COIR_CASE_TIMER(COIR_NEVER));
    never(COIR_CASE_TIMER(coir_after(COIR_SEC(1000))));
    coir_case several[] = { COIR_CASE_TIMER(coir_after(COIR_SEC(1000))),
                            COIR_CASE_TIMER(coir_after(COIR_MS(1))), COIR_CASE_TIMER(COIR_NEVER) };
    EXPECT_EQ(coir_select(several, 3, COIR_SEC(2000)), 1);
    /* The caller's own deadline and the timeout are no cases. */
    coir_deadline_set(coir_after(COIR_MS(1)));
    EXPECT_FAILS(coir_select(several, 1, COIR_SEC(2000)), ETIMEDOUT);
    EXPECT_FAILS(coir_select(several + 1, 1, COIR_NEVER), ETIMEDOUT); /* passed, but so is that */
    coir_deadline_set(COIR_NEVER);
    EXPECT_FAILS(coir_select(several, 1, COIR_MS(1)), ETIMEDOUT);
}

static void a_moment_happens_when_it_has_come(void **state)
{
    (void)state;
    everywhere(timer_cases);
}

static void nothing_to_wait_for(void *arg)
{
    coir_case none[] = { COIR_CASE_SEND(NULL, NULL), COIR_CASE_RECV(NULL, NULL),
                         COIR_CASE_JOIN(NULL, NULL), COIR_CASE_AWAIT(NULL, NULL),
                         COIR_CASE_FD(-1, 1),        COIR_CASE_TIMER(COIR_NEVER) };
    (void)arg;
    for (size_t n = 0; n <= 6; n += 6) {
        int64_t before_ns = coir_now();
        EXPECT_FAILS(coir_select(none, n, 0), ETIMEDOUT);
        EXPECT_FAILS(coir_select(none, n, COIR_MS(2)), ETIMEDOUT);
        EXPECT(coir_now() - before_ns >= COIR_MS(2));
        for (int i = 0; i < 2; i++) {
            coir_deadline_set(coir_after(COIR_MS(1)));
            EXPECT_FAILS(coir_select(none, n, i ? -1 : COIR_NEVER), ETIMEDOUT);
            EXPECT(coir_deadline_passed());
        }
        coir_deadline_set(COIR_NEVER);
    }
    EXPECT_FAILS(coir_select(NULL, 0, 0), ETIMEDOUT);
}

static void what_never_happens_leaves_only_the_time(void **state)
{
    (void)state;
    everywhere(nothing_to_wait_for);
}

static void wrong_cases(void *arg)
{
    coir_chan *chan = coir_chan_new(0, 10);
    coir_case zero, good = COIR_CASE_SEND(chan, NULL);
    sigset_t set;
    int sig;
    (void)arg;
    memset(&zero, 0, sizeof zero);
    sigemptyset(&set);
    coir_case wrong[] = { zero, good, good, COIR_CASE_SIGNAL(&set, &sig) };
    wrong[1].kind = 99;
    wrong[2].reserved0 = 1;
    for (int i = 0; i < 4; i++) {
        coir_case cases[] = { good, wrong[i], good };
        EXPECT_FAILS(coir_select(cases, 3, 0), EINVAL);
    }
    EXPECT_FAILS(coir_select(&good, (size_t)1 << 31, 0), EINVAL);
    EXPECT_EQ(coir_chan_len(chan), 0); /* nothing has happened */
    coir_chan_free(chan);
}

static void a_wrong_case_is_refused_before_anything_happens(void **state)
{
    (void)state;
    everywhere(wrong_cases);
}

enum { CASES = 7, ROUNDS = 7000 };

/* Ready: the first two, the fourth and the last. The others never are. */
static void draw(int *drawn, coir_case *cases, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        int index = coir_select(cases, CASES, i % 2 ? COIR_NEVER : 0);
        if (EXPECT(index >= 0 && index < CASES))
            drawn[index]++;
    }
}

static void fair_cases(void *arg)
{
    static const int ready[] = { 1, 1, 0, 1, 0, 0, 1 };
    int drawn[CASES] = { 0 }, rounds = test_scaled(ROUNDS, 2000);
    (void)arg;
    coir_chan *room = coir_chan_new(0, SIZE_MAX), *closed = coir_chan_new(4, 0);
    coir_chan *idle = coir_chan_new(4, 0);
    int place;
    coir_chan_close(closed);
    coir_case cases[CASES] = { COIR_CASE_SEND(room, NULL),
                               COIR_CASE_RECV(closed, &place),
                               COIR_CASE_RECV(idle, &place),
                               COIR_CASE_TIMER(0),
                               COIR_CASE_SEND(idle, &place),
                               COIR_CASE_JOIN(NULL, NULL),
                               COIR_CASE_SEND(room, NULL) };
    draw(drawn, cases, rounds);
    /* Each a quarter; six standard deviations of that are less than 0.06 of 2000. */
    for (int i = 0; i < CASES; i++) {
        int share = drawn[i] * 100 / rounds;
        EXPECT(ready[i] ? share >= 19 && share <= 31 : drawn[i] == 0);
    }
    coir_chan_free(room);
    coir_chan_free(closed);
    coir_chan_free(idle);
}

static void ready_cases_share_alike(void **state)
{
    (void)state;
    everywhere(fair_cases);
}

static void same_channel(void *arg)
{
    int in = 5, out[3] = { 0 };
    (void)arg;
    coir_chan *chan = coir_chan_new(sizeof(int), 0);
    coir_case both[] = { COIR_CASE_SEND(chan, &in), COIR_CASE_RECV(chan, &out[0]),
                         COIR_CASE_RECV(chan, &out[1]), COIR_CASE_SEND(chan, &in) };
    EXPECT_FAILS(coir_select(both, 4, 0), ETIMEDOUT); /* it does not meet itself */
    EXPECT_FAILS(coir_select(both, 4, COIR_MS(1)), ETIMEDOUT);
    EXPECT_FAILS(coir_chan_trysend(chan, &in), EAGAIN); /* and leaves nothing behind */
    EXPECT_FAILS(coir_chan_tryrecv(chan, &out[2]), EAGAIN);
    EXPECT_EQ(out[0] + out[1] + out[2], 0);
    coir_chan_free(chan);
}

static void a_select_does_not_meet_itself(void **state)
{
    (void)state;
    everywhere(same_channel);
}

struct pair {
    coir_chan *chan;
    _Atomic int sent, received;
};

static void *both_at_once(void *arg)
{
    struct pair *p = arg;
    for (int i = 0; i < 100; i++) {
        int in = 3, out = 0;
        coir_case both[] = { COIR_CASE_SEND(p->chan, &in), COIR_CASE_RECV(p->chan, &out) };
        int index = coir_select(both, 2, COIR_NEVER);
        if (EXPECT(index >= 0) && index == 0)
            atomic_fetch_add(&p->sent, 1);
        else if (EXPECT_EQ(out, 3))
            atomic_fetch_add(&p->received, 1);
    }
    return NULL;
}

static void same_cases_meet(void *arg)
{
    (void)arg;
    struct pair p = { .chan = coir_chan_new(sizeof(int), 0) };
    coir_fiber *a = crowd_spawn(both_at_once, &p), *b = crowd_spawn(both_at_once, &p);
    coir_join(a, NULL);
    coir_join(b, NULL);
    EXPECT_EQ(p.sent, 100);
    EXPECT_EQ(p.received, 100);
    coir_chan_free(p.chan);
}

static void two_that_would_both_do_either_meet(void **state)
{
    (void)state;
    everywhere(same_cases_meet);
}

enum { MANY = 1000 };

struct many {
    coir_chan *chans[MANY];
    coir_case cases[MANY];
    int places[MANY];
};

static void *send_to_some(void *arg)
{
    struct many *m = arg;
    for (int i = 0; i < MANY; i += 37)
        EXPECT_EQ(coir_chan_send(m->chans[i], &i), 0);
    return NULL;
}

static void many_cases(void *arg)
{
    struct many *m = calloc(1, sizeof *m);
    (void)arg;
    for (int i = 0; i < MANY; i++) {
        m->chans[i] = coir_chan_new(sizeof(int), 0);
        m->cases[i] = COIR_CASE_RECV(m->chans[i], &m->places[i]);
    }
    coir_fiber *f = crowd_spawn(send_to_some, m);
    for (int i = 0; i < MANY; i += 37) {
        EXPECT_EQ(coir_select(m->cases, MANY, COIR_NEVER), i);
        EXPECT_EQ(m->places[i], i);
    }
    coir_join(f, NULL);
    for (int i = 0; i < MANY; i++) {
        EXPECT_FAILS(coir_chan_trysend(m->chans[i], &i), EAGAIN);
        coir_chan_free(m->chans[i]);
    }
    free(m);
}

static void a_thousand_cases_are_no_trouble(void **state)
{
    (void)state;
    everywhere(many_cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_join_reports_what_coir_join_would),
        cmocka_unit_test(a_moment_happens_when_it_has_come),
        cmocka_unit_test(what_never_happens_leaves_only_the_time),
        cmocka_unit_test(a_wrong_case_is_refused_before_anything_happens),
        cmocka_unit_test(ready_cases_share_alike),
        cmocka_unit_test(a_select_does_not_meet_itself),
        cmocka_unit_test(two_that_would_both_do_either_meet),
        cmocka_unit_test(a_thousand_cases_are_no_trouble),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
