/* tests/sync/select_hammer_test.c - what happens while a select is on its way in or out is seen.
 * SPDX-License-Identifier: MIT
 *
 * Method: selects over many channels take their time, so that most of what others do to these
 * channels falls into it. What was sent, by call or by try, adds up to what was received; and when
 * all channels have been closed, the selects end. */
#include "support/expect.h"
#include "ways.h"

enum { CHANS = 30, SELECTERS = 3, SENDERS = 5 };

struct hammer {
    coir_chan *chans[CHANS], *stop;
    int each;
    bool selects_send; /* who selects sends, and the others receive */
    _Atomic unsigned nth;
    _Atomic long sent, received, sum_sent, sum_received;
};

static void count(struct hammer *h, bool sent, long elem)
{
    atomic_fetch_add(sent ? &h->sent : &h->received, 1);
    atomic_fetch_add(sent ? &h->sum_sent : &h->sum_received, elem);
}

/* Until all are closed. */
static void *select_all(void *arg)
{
    struct hammer *h = arg;
    coir_case cases[CHANS + 1];
    long elems[CHANS];
    for (int i = 0; i < CHANS; i++) {
        elems[i] = i + 1;
        cases[i] = h->selects_send ? COIR_CASE_SEND(h->chans[i], &elems[i])
                                   : COIR_CASE_RECV(h->chans[i], &elems[i]);
    }
    cases[CHANS] = COIR_CASE_RECV(h->stop, NULL);
    for (int open = CHANS; open;) {
        int i = coir_select(cases, CHANS + 1, COIR_NEVER);
        if (!EXPECT(i >= 0 && i < CHANS))
            break;
        if (cases[i].result == 0) {
            count(h, h->selects_send, elems[i]);
            continue;
        }
        EXPECT_EQ(cases[i].error, EPIPE);
        cases[i] = COIR_CASE_RECV(NULL, NULL);
        open--;
    }
    return NULL;
}

/* The other end of one channel, and another, by call and by try. */
static void *use_one_by_one(void *arg)
{
    struct hammer *h = arg;
    unsigned seed = atomic_fetch_add(&h->nth, 1);
    for (int i = 0; i < h->each; i++) {
        coir_chan *chan = h->chans[crowd_pick(&seed, CHANS)];
        bool try = crowd_pick(&seed, 3);
        long elem = i;
        int result;
        if (h->selects_send)
            result = try ? coir_chan_tryrecv(chan, &elem) : coir_chan_recv(chan, &elem);
        else
            result = try ? coir_chan_trysend(chan, &elem) : coir_chan_send(chan, &elem);
        if (result == 0)
            count(h, !h->selects_send, elem);
        else
            EXPECT_EQ(errno, try ? EAGAIN : 0);
        if (i % 16 == 0 && coir_self())
            coir_yield();
    }
    return NULL;
}

static void hammer(struct hammer *h)
{
    coir_fiber *selecters[SELECTERS], *users[SENDERS];
    pthread_t threads[2];
    for (int i = 0; i < CHANS; i++)
        h->chans[i] = coir_chan_new(sizeof(long), i % 3 ? 0 : 2);
    h->stop = coir_chan_new(0, 0);
    pthread_create(&threads[0], NULL, select_all, h);
    pthread_create(&threads[1], NULL, use_one_by_one, h);
    for (int i = 0; i < SELECTERS; i++)
        selecters[i] = crowd_spawn(select_all, h);
    for (int i = 0; i < SENDERS; i++)
        users[i] = crowd_spawn(use_one_by_one, h);
    for (int i = 0; i < SENDERS; i++)
        coir_join(users[i], NULL);
    pthread_join(threads[1], NULL);
    for (int i = 0; i < CHANS; i++) {
        coir_chan_close(h->chans[i]);
        if (i % 4 == 0)
            kit_pause();
    }
    for (int i = 0; i < SELECTERS; i++)
        coir_join(selecters[i], NULL);
    pthread_join(threads[0], NULL);
    for (int i = 0; i < CHANS; i++) {
        EXPECT(way_is_at_rest(h->chans[i]));
        for (long elem; coir_chan_tryrecv(h->chans[i], &elem) == 0;)
            count(h, false, elem);
        coir_chan_free(h->chans[i]);
    }
    EXPECT(way_is_at_rest(h->stop));
    coir_chan_free(h->stop);
    EXPECT_EQ(h->sent, h->received);
    EXPECT_EQ(h->sum_sent, h->sum_received);
}

static void hammer_both_ways(void *arg)
{
    (void)arg;
    for (int i = 0; i < test_scaled(10, 1); i++)
        for (int sends = 0; sends < 2; sends++) {
            struct hammer h = { .each = test_scaled(500, 50), .selects_send = sends };
            hammer(&h);
        }
}

static void what_happens_meanwhile_is_neither_missed_nor_done_twice(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        assert_int_equal(fiber_test_run(*w, hammer_both_ways, NULL), 0);
    assert_no_findings();
}

enum { ROUNDS = 3000 };

struct duel {
    coir_chan *mine, *theirs;
    _Atomic int round, done;
    _Atomic bool theirs_sent;
};

static void *send_theirs(void *arg)
{
    struct duel *d = arg;
    for (int i = 1; i <= ROUNDS; i++) {
        while (d->round < i)
            ;
        d->theirs_sent = coir_chan_trysend(d->theirs, NULL) == 0;
        d->done = i;
    }
    return NULL;
}

static void *select_both(void *arg)
{
    struct duel *d = arg;
    coir_case cases[] = { COIR_CASE_RECV(d->mine, NULL), COIR_CASE_RECV(d->theirs, NULL) };
    int index = coir_select(cases, 2, COIR_NEVER);
    return (void *)(intptr_t)index;
}

/* At home and elsewhere somebody has something for the same select. */
static void duel(void *arg)
{
    struct duel d = { .mine = coir_chan_new(0, 0), .theirs = coir_chan_new(0, 0) };
    pthread_t thread;
    (void)arg;
    pthread_create(&thread, NULL, send_theirs, &d);
    for (int i = 1; i <= ROUNDS; i++) {
        void *index;
        coir_fiber *f = coir_spawn(select_both, &d);
        KIT_UNTIL(coir__fiber_state(kit_record(f)) == COIR__PARKED);
        d.round = i;
        for (int k = 0; k < i % 40; k++)
            coir__arch_pause();
        bool sent = coir_chan_trysend(d.mine, NULL) == 0;
        KIT_UNTIL(d.done == i);
        EXPECT_EQ(sent + d.theirs_sent, 1);
        coir_join(f, &index);
        EXPECT_EQ((intptr_t)index, sent ? 0 : 1);
    }
    pthread_join(thread, NULL);
    coir_chan_free(d.mine);
    coir_chan_free(d.theirs);
}

static void only_one_of_two_serves_a_select(void **state)
{
    (void)state;
    assert_int_equal(fiber_test_run(1, duel, NULL), 0);
    assert_no_findings();
}

struct closing {
    coir_chan *_Atomic chan;
    _Atomic bool over;
};

static void *close_each(void *arg)
{
    struct closing *c = arg;
    for (int i = 0; !c->over; i++) {
        coir_chan *chan = NULL;
        while (!c->over && !(chan = atomic_exchange(&c->chan, NULL)))
            ;
        for (int k = 0; k < i % 150; k++)
            coir__arch_pause();
        if (chan)
            coir_chan_close(chan);
    }
    return NULL;
}

/* Nothing else happens: if the select misses it, it waits for ever. */
static void close_on_the_way(void *arg)
{
    struct closing c = { .chan = NULL };
    coir_case cases[CHANS];
    coir_chan *idle[CHANS];
    pthread_t thread;
    (void)arg;
    pthread_create(&thread, NULL, close_each, &c);
    for (int i = 0; i < CHANS; i++)
        idle[i] = coir_chan_new(0, 0);
    for (int i = 0; i < test_scaled(ROUNDS, 300); i++) {
        coir_chan *chan = coir_chan_new(0, 0);
        for (int k = 0; k < CHANS; k++)
            cases[k] = COIR_CASE_RECV(k == i % CHANS ? chan : idle[k], NULL);
        c.chan = chan;
        EXPECT_EQ(coir_select(cases, CHANS, COIR_SEC(KIT_PATIENCE_S)), i % CHANS);
        EXPECT_EQ(cases[i % CHANS].error, EPIPE);
        coir_chan_free(chan);
    }
    c.over = true;
    pthread_join(thread, NULL);
    for (int i = 0; i < CHANS; i++) {
        EXPECT(way_is_at_rest(idle[i]));
        coir_chan_free(idle[i]);
    }
}

static void a_close_on_the_way_in_is_seen(void **state)
{
    (void)state;
    assert_int_equal(fiber_test_run(1, close_on_the_way, NULL), 0);
    close_on_the_way(NULL);
    assert_no_findings();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_happens_meanwhile_is_neither_missed_nor_done_twice),
        cmocka_unit_test(only_one_of_two_serves_a_select),
        cmocka_unit_test(a_close_on_the_way_in_is_seen),
    };
    return cmocka_run_group_tests(tests, way_setup, way_teardown);
}
