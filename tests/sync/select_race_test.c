/* tests/sync/select_race_test.c - when several cases of a select happen at once, one does, and the
 * others leave nothing behind; selects that wait for each other come through.
 * SPDX-License-Identifier: MIT
 *
 * Method: rounds on 1, 2 and 4 workers, with fibers and plain threads, of things that happen at the
 * same time; afterwards all that did not happen is still there to be had. */
#include "support/expect.h"
#include "crowd.h"

static void on_all_workers(void (*fn)(void *))
{
    for (const unsigned *w = test_workers; *w; w++)
        assert_int_equal(fiber_test_run(*w, fn, NULL), 0);
    assert_no_findings();
}

enum { CROSSERS = 4, THREADS = 2 };

struct crossing {
    coir_chan *a, *b;
    long each;
    _Atomic long sent_a, sent_b, got_a, got_b, nth;
};

/* Sends on one channel and receives from the other, in one select. */
static void *cross(void *arg)
{
    struct crossing *x = arg;
    bool sends_a = atomic_fetch_add(&x->nth, 1) % 2;
    coir_chan *out = sends_a ? x->a : x->b, *in = sends_a ? x->b : x->a;
    for (long sent = 0, got = 0, value = 1, place; sent < x->each || got < x->each; value++) {
        coir_case cases[] = { COIR_CASE_SEND(sent < x->each ? out : NULL, &value),
                              COIR_CASE_RECV(got < x->each ? in : NULL, &place) };
        int i = coir_select(cases, 2, COIR_NEVER);
        if (!EXPECT(i >= 0) || !EXPECT_EQ(cases[i].result, 0))
            break;
        if (i == 0) {
            sent++;
            atomic_fetch_add(sends_a ? &x->sent_a : &x->sent_b, value);
        } else {
            got++;
            atomic_fetch_add(sends_a ? &x->got_b : &x->got_a, place);
        }
    }
    return NULL;
}

static void crossing_main(void *arg)
{
    struct crossing x = { .each = test_scaled(2000, 50) };
    coir_fiber *fibers[CROSSERS];
    pthread_t threads[THREADS];
    (void)arg;
    x.a = coir_chan_new(sizeof(long), 0);
    x.b = coir_chan_new(sizeof(long), 0);
    for (int i = 0; i < CROSSERS; i++)
        fibers[i] = crowd_spawn(cross, &x);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, cross, &x);
    for (int i = 0; i < CROSSERS; i++)
        coir_join(fibers[i], NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    EXPECT_EQ(x.got_a, x.sent_a);
    EXPECT_EQ(x.got_b, x.sent_b);
    coir_chan_free(x.a);
    coir_chan_free(x.b);
}

static void crossing_selects_all_come_through(void **state)
{
    (void)state;
    on_all_workers(crossing_main);
}

/* All that one select waits for. */
struct all {
    coir_chan *in, *out, *closes, *room;
    int sent, received;
    coir_fiber *fiber;
    _Atomic int go, tried;
    coir_case cases[4];
    int index;
    _Atomic bool ended;
};

enum { RECV, SEND, CLOSE, JOIN };

static void *select_all(void *arg)
{
    struct all *a = arg;
    a->sent = 1;
    a->received = 0;
    a->cases[RECV] = COIR_CASE_RECV(a->in, &a->received);
    a->cases[SEND] = COIR_CASE_SEND(a->out, &a->sent);
    a->cases[CLOSE] = COIR_CASE_RECV(a->closes, NULL);
    a->cases[JOIN] = COIR_CASE_JOIN(a->fiber, NULL);
    a->index = coir_select(a->cases, 4, COIR_NEVER);
    a->ended = true;
    return NULL;
}

static void *end_soon(void *arg)
{
    struct all *a = arg;
    KIT_UNTIL(a->go);
    return arg;
}

/* Each happens from somewhere else. */
static void *do_recv(void *arg)
{
    struct all *a = arg;
    KIT_UNTIL(a->go);
    int two = 2;
    return coir_chan_trysend(a->in, &two) == 0 ? arg : NULL;
}

static void *do_send(void *arg)
{
    struct all *a = arg;
    int got = 0;
    KIT_UNTIL(a->go);
    return coir_chan_tryrecv(a->out, &got) == 0 && got == 1 ? arg : NULL;
}

static void *do_close(void *arg)
{
    struct all *a = arg;
    KIT_UNTIL(a->go);
    coir_chan_close(a->closes);
    return NULL;
}

/* What happened did, and what did not is still there. */
static void look_at_all(struct all *a, bool received, bool sent)
{
    EXPECT_EQ(received, a->index == RECV);
    EXPECT_EQ(sent, a->index == SEND);
    EXPECT_EQ(a->received, a->index == RECV ? 2 : 0);
    if (EXPECT(a->index >= 0)) {
        EXPECT_EQ(a->cases[a->index].result, a->index == CLOSE ? -1 : 0);
        EXPECT_EQ(a->cases[a->index].error, a->index == CLOSE ? EPIPE : 0);
    }
    if (a->index == JOIN)
        EXPECT_FAILS(coir_join(a->fiber, NULL), EINVAL);
    else
        EXPECT_EQ(coir_join(a->fiber, NULL), 0);
    EXPECT_FAILS(coir_chan_trysend(a->in, &a->sent), EAGAIN);
    EXPECT_FAILS(coir_chan_tryrecv(a->out, &a->sent), EAGAIN);
}

static void all_at_once(int round)
{
    struct all a = { .in = coir_chan_new(sizeof(int), 0),
                     .out = coir_chan_new(sizeof(int), 0),
                     .closes = coir_chan_new(0, 0) };
    void *received, *sent;
    pthread_t thread;
    a.fiber = crowd_spawn(end_soon, &a);
    coir_fiber *selecter = round % 4 ? crowd_spawn(select_all, &a) : NULL;
    if (!selecter)
        pthread_create(&thread, NULL, select_all, &a);
    coir_fiber *doers[] = { crowd_spawn(do_recv, &a), crowd_spawn(do_send, &a),
                            crowd_spawn(do_close, &a) };
    if (selecter && round % 3)
        crowd_is_parked(selecter);
    a.go = 1;
    coir_join(doers[0], &received);
    coir_join(doers[1], &sent);
    coir_join(doers[2], NULL);
    KIT_UNTIL(a.ended);
    if (selecter)
        coir_join(selecter, NULL);
    else
        pthread_join(thread, NULL);
    look_at_all(&a, received, sent);
    coir_chan_free(a.in);
    coir_chan_free(a.out);
    coir_chan_free(a.closes);
}

static void all_main(void *arg)
{
    (void)arg;
    for (int i = 0; i < test_scaled(600, 20); i++)
        all_at_once(i);
}

static void of_all_that_happens_at_once_one_does(void **state)
{
    (void)state;
    on_all_workers(all_main);
}

/* Nothing happens but a cancel or a deadline, or one thing at the same time. */
static void ended(int round, bool cancel, int thing)
{
    struct all a = { .in = coir_chan_new(sizeof(int), 0),
                     .out = coir_chan_new(sizeof(int), 0),
                     .closes = coir_chan_new(0, 0) };
    a.fiber = crowd_spawn(end_soon, &a);
    coir_deadline_set(cancel ? COIR_NEVER : coir_after(COIR_US(100 + round % 100)));
    coir_fiber *selecter = crowd_spawn(select_all, &a); /* inherits that */
    coir_deadline_set(COIR_NEVER);
    int two = 2, got = 0;
    bool received = false, sent = false;
    KIT_UNTIL(a.ended || coir__fiber_state(kit_record(selecter)) == COIR__PARKED);
    for (int i = 0; i < round % 5; i++)
        kit_pause();
    if (cancel)
        coir_cancel(selecter);
    for (int i = 0; i < round % 3; i++)
        kit_pause();
    if (thing == RECV)
        received = coir_chan_trysend(a.in, &two) == 0;
    else if (thing == SEND)
        sent = coir_chan_tryrecv(a.out, &got) == 0;
    else if (thing == CLOSE)
        coir_chan_close(a.closes);
    a.go = thing == JOIN;
    coir_join(selecter, NULL);
    a.go = 1;
    if (a.index < 0)
        EXPECT(!received && !sent && a.received == 0);
    else
        EXPECT_EQ(a.index, thing);
    if (a.index >= 0)
        look_at_all(&a, received, sent);
    else
        EXPECT_EQ(coir_join(a.fiber, NULL), 0);
    EXPECT_FAILS(coir_chan_trysend(a.in, &two), EAGAIN);
    EXPECT_FAILS(coir_chan_tryrecv(a.out, &two), EAGAIN);
    coir_chan_free(a.in);
    coir_chan_free(a.out);
    coir_chan_free(a.closes);
}

static void ended_main(void *arg)
{
    (void)arg;
    for (int i = 0; i < test_scaled(100, 4); i++)
        for (int thing = RECV; thing <= JOIN + 1; thing++) {
            ended(i, true, thing);
            ended(i, false, thing);
        }
}

static void a_select_that_is_cancelled_or_late_leaves_no_trace(void **state)
{
    (void)state;
    on_all_workers(ended_main);
}

/* Two selects want the same fiber's end, and so does a join: one gets it. */
struct joiners {
    coir_fiber *fiber;
    _Atomic int go, got, refused;
};

static void *join_by_select(void *arg)
{
    struct joiners *j = arg;
    coir_case c = COIR_CASE_JOIN(j->fiber, NULL);
    EXPECT_EQ(coir_select(&c, 1, COIR_NEVER), 0);
    EXPECT(c.result == 0 || c.error == EINVAL);
    atomic_fetch_add(c.result == 0 ? &j->got : &j->refused, 1);
    return NULL;
}

static void *join_by_join(void *arg)
{
    struct joiners *j = arg;
    int result = coir_join(j->fiber, NULL);
    EXPECT(result == 0 || errno == EINVAL);
    atomic_fetch_add(result == 0 ? &j->got : &j->refused, 1);
    return NULL;
}

static void *end_when_told(void *arg)
{
    struct joiners *j = arg;
    KIT_UNTIL(j->go);
    return arg;
}

static void joiners_main(void *arg)
{
    (void)arg;
    for (int i = 0; i < test_scaled(300, 10); i++) {
        struct joiners j = { .go = i % 2 };
        coir_fiber *fibers[4];
        j.fiber = crowd_spawn(end_when_told, &j);
        for (int k = 0; k < 4; k++)
            fibers[k] = crowd_spawn(k % 2 ? join_by_join : join_by_select, &j);
        for (int k = 0; k < i % 7; k++)
            kit_pause();
        j.go = 1;
        for (int k = 0; k < 4; k++)
            coir_join(fibers[k], NULL);
        EXPECT_EQ(j.got, 1);
        EXPECT_EQ(j.refused, 3);
    }
}

static void one_of_several_joiners_gets_the_fiber(void **state)
{
    (void)state;
    on_all_workers(joiners_main);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crossing_selects_all_come_through),
        cmocka_unit_test(of_all_that_happens_at_once_one_does),
        cmocka_unit_test(a_select_that_is_cancelled_or_late_leaves_no_trace),
        cmocka_unit_test(one_of_several_joiners_gets_the_fiber),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
