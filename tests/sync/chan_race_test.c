/* tests/sync/chan_race_test.c - an element, a cancel, a deadline and a close at the same time: the
 * wait ends once, and no element is lost or doubled; and then the channel may go.
 * SPDX-License-Identifier: MIT
 *
 * Method: rounds, in every way of ways.h, of one call that something else may end; what has become
 * of the element is seen from the other end. */
#include "support/expect.h"
#include "ways.h"

enum { CANCEL, DEADLINE, ENDS };

static void pauses(int n)
{
    for (int i = 0; i < n; i++)
        kit_pause();
}

/* One waits, something ends that, and at the same time the other end tries. */
static void race(const struct way *way, int round, bool sends, int end)
{
    coir_chan *chan = coir_chan_new(sizeof(long), 0);
    struct way_call call = sends ? way_to_send(way, chan, round) : way_to_recv(way, chan);
    long elem = sends ? -1 : round;
    int err = end == CANCEL ? ECANCELED : ETIMEDOUT;
    if (end == DEADLINE)
        call.deadline_ns = coir_after(COIR_US(round % 60));
    if (end == DEADLINE && round % 4 == 0)
        way_start_thread(&call);
    else
        way_start(&call);
    if (end == CANCEL) {
        KIT_UNTIL(coir__fiber_state(kit_record(call.fiber)) == COIR__PARKED);
        pauses(round % 5);
        coir_cancel(call.fiber);
    }
    pauses(round % 3);
    bool met = (sends ? coir_chan_tryrecv(chan, &elem) : coir_chan_trysend(chan, &elem)) == 0;
    if (!met)
        EXPECT_EQ(errno, EAGAIN);
    way_join(&call);
    EXPECT_EQ(call.said.result, met ? 0 : -1);
    EXPECT_EQ(call.said.err, met ? 0 : err);
    EXPECT_EQ(sends ? elem : call.elem, met ? round : -1);
    EXPECT(way_is_at_rest(chan)); /* it has left no trace */
    coir_chan_free(chan);
}

static void race_all(void *way)
{
    for (int i = 0; i < test_scaled(400, 20); i++)
        for (int end = 0; end < ENDS; end++) {
            race(way, i, false, end);
            race(way, i, true, end);
        }
}

static void an_element_and_a_cancel_or_deadline_at_once_end_it_once(void **state)
{
    (void)state;
    way_run_each(race_all);
    assert_no_findings();
}

/* Who has been cancelled, but has not run since, is still on the list, and gets nothing: the one
 * behind him does. */
static void pass_over(const struct way *way, bool send)
{
    coir_chan *chan = coir_chan_new(sizeof(long), 0);
    struct way_call calls[3];
    long elem = 7;
    for (int i = 0; i < 3; i++) {
        calls[i] = send ? way_to_send(way, chan, 7) : way_to_recv(way, chan);
        way_start(&calls[i]);
        EXPECT(crowd_is_parked(calls[i].fiber));
    }
    for (int i = 0; i < 2; i++)
        coir_cancel(calls[i].fiber);
    for (int i = 0; i < 2; i++)
        KIT_UNTIL(coir__fiber_state(kit_record(calls[i].fiber)) != COIR__PARKED);
    EXPECT_EQ(send ? coir_chan_recv(chan, &elem) : coir_chan_send(chan, &elem), 0);
    for (int i = 0; i < 3; i++) {
        way_join(&calls[i]);
        EXPECT_EQ(calls[i].said.err, i == 2 ? 0 : ECANCELED);
    }
    EXPECT_EQ(send ? elem : calls[2].elem, 7);
    EXPECT(way_is_at_rest(chan));
    coir_chan_free(chan);
}

static void pass_over_all(void *way)
{
    pass_over(way, false);
    pass_over(way, true);
}

static void who_was_cancelled_before_he_was_served_is_passed_over(void **state)
{
    (void)state;
    way_run_each(pass_over_all);
    assert_no_findings();
}

struct hurry {
    const struct way *way;
    coir_chan *chan;
    int rounds;
    _Atomic unsigned nth;
    _Atomic long sent, received, sum_sent, sum_received;
    _Atomic bool over;
};

/* Send or receive, sometimes with little time, and sometimes cancelled. */
static void *hurry(void *arg)
{
    struct hurry *h = arg;
    unsigned me = atomic_fetch_add(&h->nth, 1), seed = me;
    bool sends = me % 2;
    for (int i = 0; i < h->rounds; i++) {
        long elem = (long)crowd_pick(&seed, 1000) + 1;
        coir_deadline_set(coir_after(COIR_US(crowd_pick(&seed, 50) + 1)));
        if (sends && h->way->send(h->chan, &elem) == 0) {
            atomic_fetch_add(&h->sent, 1);
            atomic_fetch_add(&h->sum_sent, elem);
        } else if (!sends && h->way->recv(h->chan, &elem) == 0) {
            atomic_fetch_add(&h->received, 1);
            atomic_fetch_add(&h->sum_received, elem);
        } else if (errno == ECANCELED) {
            break;
        } else {
            EXPECT_EQ(errno, ETIMEDOUT);
        }
        if (crowd_pick(&seed, 400) == 0 && coir_self())
            coir_cancel(coir_self());
    }
    coir_deadline_set(COIR_NEVER);
    return NULL;
}

static void all_in_a_hurry(void *way)
{
    for (size_t capacity = 0; capacity < 4; capacity += 3) {
        struct hurry h = { .way = way, .rounds = test_scaled(400, 20) };
        h.chan = coir_chan_new(sizeof(long), capacity);
        crowd_run(hurry, &h);
        long left = (long)coir_chan_len(h.chan), elem, sum = 0;
        while (coir_chan_tryrecv(h.chan, &elem) == 0)
            sum += elem;
        EXPECT_EQ(h.sent, h.received + left);
        EXPECT_EQ(h.sum_sent, h.sum_received + sum);
        EXPECT(way_is_at_rest(h.chan));
        coir_chan_free(h.chan);
    }
}

static void what_was_sent_by_many_in_a_hurry_was_received(void **state)
{
    (void)state;
    way_run_each(all_in_a_hurry);
    assert_no_findings();
}

/* Until it is closed. */
static void *go_on(void *arg)
{
    struct hurry *h = arg;
    bool sends = atomic_fetch_add(&h->nth, 1) % 2;
    long elem = 1;
    while ((sends ? h->way->send(h->chan, &elem) : h->way->recv(h->chan, &elem)) == 0)
        atomic_fetch_add(sends ? &h->sent : &h->received, 1);
    EXPECT_EQ(errno, EPIPE);
    return NULL;
}

static void *close_it(void *arg)
{
    struct hurry *h = arg;
    KIT_UNTIL(h->received > 20);
    coir_chan_close(h->chan);
    return NULL;
}

static void close_in_between(void *way)
{
    for (int i = 0; i < test_scaled(30, 3); i++) {
        struct hurry h = { .way = way, .chan = coir_chan_new(sizeof(long), (size_t)i % 3) };
        coir_fiber *closer = crowd_spawn(close_it, &h);
        crowd_run(go_on, &h);
        coir_join(closer, NULL);
        EXPECT_EQ(h.sent, h.received);
        EXPECT(way_is_at_rest(h.chan));
        coir_chan_free(h.chan);
    }
}

static void what_was_sent_before_a_close_was_received(void **state)
{
    (void)state;
    way_run_each(close_in_between);
    assert_no_findings();
}

enum { BY_RECEIVER, BY_SENDER, BY_WHO_IS_CLOSED, LASTS };

/* The one who waits frees the channel when his call returns: the other may still be on his way out.
 * Without room the sender may do so, too: both have met. */
static void free_it(const struct way *way, int round, int last)
{
    coir_chan *chan = coir_chan_new(sizeof(long), last == BY_RECEIVER ? (size_t)round % 2 : 0);
    struct way_call call =
        last == BY_SENDER ? way_to_send(way, chan, round) : way_to_recv(way, chan);
    long elem = round;
    call.frees = true;
    if (round % 8 == 0)
        way_start_thread(&call);
    else
        way_start(&call);
    if (round % 3)
        pauses(round % 4);
    if (last == BY_RECEIVER)
        EXPECT_EQ(way->send(chan, &elem), 0);
    else if (last == BY_SENDER)
        EXPECT_EQ(way->recv(chan, &elem), 0);
    else
        EXPECT_EQ(coir_chan_close(chan), 0);
    way_join(&call);
    EXPECT_EQ(call.said.err, last == BY_WHO_IS_CLOSED ? EPIPE : 0);
    EXPECT_EQ(elem, round);
}

static void free_all(void *way)
{
    for (int i = 0; i < test_scaled(600, 30); i++)
        for (int last = 0; last < LASTS; last++)
            free_it(way, i, last);
}

static void the_channel_may_be_freed_when_the_last_call_has_returned(void **state)
{
    (void)state;
    way_run_each(free_all);
    assert_no_findings();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_element_and_a_cancel_or_deadline_at_once_end_it_once),
        cmocka_unit_test(who_was_cancelled_before_he_was_served_is_passed_over),
        cmocka_unit_test(what_was_sent_by_many_in_a_hurry_was_received),
        cmocka_unit_test(what_was_sent_before_a_close_was_received),
        cmocka_unit_test(the_channel_may_be_freed_when_the_last_call_has_returned),
    };
    return cmocka_run_group_tests(tests, way_setup, way_teardown);
}
