/* tests/sync/chan_test.c - what goes in comes out, once, and in order; and what ends a channel.
 * SPDX-License-Identifier: MIT
 *
 * Method: every way of ways.h, on 1, 2 and 4 workers. "Is waiting" is seen by the fiber's state. */
#include "support/expect.h"
#include "ways.h"

enum { SENDERS = 4, RECEIVERS = 4, WAITERS = 6 };

struct crowd {
    coir_chan *chan;
    size_t capacity;
    long each;
    _Atomic long received, sum;
    _Atomic int out_of_order, nth;
};

struct message {
    int32_t sender, number;
};

/* The one is as good as the other: each sender and receiver has his own way. */
static void *send_each(void *arg)
{
    struct crowd *c = arg;
    int32_t me = atomic_fetch_add(&c->nth, 1);
    for (int i = 1; i <= c->each; i++) {
        struct message m = { me, i };
        EXPECT_EQ(ways[me % WAYS].send(c->chan, &m), 0);
    }
    coir_chan_close(c->chan);
    return NULL;
}

/* One receiver sees the messages of one sender in the order of sending. */
static void *receive_all(void *arg)
{
    struct crowd *c = arg;
    const struct way *way = &ways[atomic_load(&c->received) % WAYS];
    struct message m;
    int last[SENDERS] = { 0 };
    while (way->recv(c->chan, &m) == 0) {
        if (m.number <= last[m.sender])
            atomic_fetch_add(&c->out_of_order, 1);
        last[m.sender] = m.number;
        way = &ways[atomic_fetch_add(&c->received, 1) % WAYS];
        atomic_fetch_add(&c->sum, m.number);
    }
    EXPECT_EQ(errno, EPIPE);
    return NULL;
}

static void crowd_main(void *arg)
{
    struct crowd *c = arg;
    coir_fiber *fibers[SENDERS + RECEIVERS];
    pthread_t threads[2];
    c->chan = coir_chan_new(sizeof(struct message), c->capacity);
    EXPECT_EQ(coir_chan_writers(c->chan, SENDERS), 0);
    pthread_create(&threads[0], NULL, send_each, c);
    pthread_create(&threads[1], NULL, receive_all, c);
    for (int i = 2; i < SENDERS + RECEIVERS; i++)
        fibers[i] = crowd_spawn(i % 2 ? receive_all : send_each, c);
    for (int i = 2; i < SENDERS + RECEIVERS; i++)
        coir_join(fibers[i], NULL);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    coir_chan_free(c->chan);
}

/* Method: fibers and threads at both ends, a sum, and a number in each message. */
static void each_element_is_received_once_and_in_order(void **state)
{
    static const size_t capacities[] = { 0, 1, 2, 7, 128 };
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        for (size_t i = 0; i < sizeof capacities / sizeof capacities[0]; i++) {
            struct crowd c = { .capacity = capacities[i], .each = test_scaled(1000, 50) };
            assert_int_equal(fiber_test_run(*w, crowd_main, &c), 0);
            assert_int_equal(c.received, SENDERS * c.each);
            assert_int_equal(c.sum, SENDERS * c.each * (c.each + 1) / 2);
            assert_int_equal(c.out_of_order, 0);
        }
    assert_no_findings();
}

static struct way_call calls[WAITERS];

static void wait_in_turn(const struct way *way, coir_chan *chan, bool send, _Atomic int *came)
{
    for (int i = 0; i < WAITERS; i++) {
        calls[i] = send ? way_to_send(way, chan, 100 + i) : way_to_recv(way, chan);
        calls[i].came = came;
        way_start(&calls[i]);
        EXPECT(crowd_is_parked(calls[i].fiber));
    }
}

static void join_all(int err)
{
    for (int i = 0; i < WAITERS; i++) {
        way_join(&calls[i]);
        EXPECT_EQ(calls[i].said.err, err);
        EXPECT_EQ(calls[i].said.result, err ? -1 : 0);
    }
}

/* The room is full and the senders wait; their elements come out in the order of their arrival. */
static void serve_senders(const struct way *way, long capacity)
{
    coir_chan *chan = coir_chan_new(sizeof(long), (size_t)capacity);
    long elem;
    for (long i = 0; i < capacity; i++)
        EXPECT_EQ(way->send(chan, &i), 0);
    EXPECT_EQ(coir_chan_len(chan), capacity);
    wait_in_turn(way, chan, true, NULL);
    EXPECT_EQ(coir_chan_len(chan), capacity);
    for (long i = 0; i < capacity + WAITERS; i++) {
        EXPECT_EQ(way->recv(chan, &elem), 0);
        EXPECT_EQ(elem, i < capacity ? i : 100 + i - capacity);
        EXPECT_EQ(coir_chan_len(chan), i < WAITERS ? capacity : capacity + WAITERS - 1 - i);
    }
    join_all(0);
    EXPECT_FAILS(coir_chan_tryrecv(chan, &elem), EAGAIN);
    coir_chan_free(chan);
}

static void serve_receivers(const struct way *way, long capacity)
{
    coir_chan *chan = coir_chan_new(sizeof(long), (size_t)capacity);
    wait_in_turn(way, chan, false, NULL);
    for (long i = 0; i < WAITERS; i++)
        EXPECT_EQ(way->send(chan, &i), 0);
    EXPECT_EQ(coir_chan_len(chan), 0); /* those who wait get it directly */
    join_all(0);
    for (int i = 0; i < WAITERS; i++)
        EXPECT_EQ(calls[i].elem, i);
    EXPECT(way_is_at_rest(chan));
    coir_chan_free(chan);
}

static void serve_in_turn(void *way)
{
    for (long capacity = 0; capacity < 4; capacity++) {
        serve_senders(way, capacity);
        serve_receivers(way, capacity);
    }
}

static void those_who_wait_are_served_in_the_order_of_arrival(void **state)
{
    (void)state;
    way_run_each(serve_in_turn);
    assert_no_findings();
}

struct meeting {
    const struct way *way;
    coir_chan *chan;
    _Atomic long sender_came, receiver_came;
};

static void *meet_as_sender(void *arg)
{
    struct meeting *m = arg;
    for (long i = 1; i <= 200; i++) {
        m->sender_came = i;
        EXPECT_EQ(m->way->send(m->chan, &i), 0);
        EXPECT(m->receiver_came >= i);
        if (i % 3 == 0)
            kit_pause();
    }
    return NULL;
}

static void meet(void *arg)
{
    struct meeting m = { .way = arg, .chan = coir_chan_new(sizeof(long), 0) };
    coir_fiber *sender = crowd_spawn(meet_as_sender, &m);
    for (long i = 1, elem; i <= 200; i++) {
        if (i % 5 == 0)
            kit_pause();
        m.receiver_came = i;
        EXPECT_EQ(m.way->recv(m.chan, &elem), 0);
        EXPECT(m.sender_came >= i);
        EXPECT_EQ(elem, i);
        EXPECT_EQ(coir_chan_len(m.chan), 0);
    }
    coir_join(sender, NULL);
    coir_chan_free(m.chan);
}

static void without_room_both_have_met_when_a_call_returns(void **state)
{
    (void)state;
    way_run_each(meet);
    assert_no_findings();
}

static void close_over_waiters(void *arg)
{
    const struct way *way = arg;
    long elem = 7;
    coir_chan *chan = coir_chan_new(sizeof(long), 2);
    wait_in_turn(way, chan, false, NULL);
    EXPECT_EQ(coir_chan_close(chan), 0);
    join_all(EPIPE);
    EXPECT_FAILS(way->recv(chan, &elem), EPIPE);
    EXPECT_FAILS(coir_chan_tryrecv(chan, &elem), EPIPE);
    coir_chan_free(chan);

    chan = coir_chan_new(sizeof(long), 2);
    EXPECT_EQ(way->send(chan, &elem), 0);
    EXPECT_EQ(way->send(chan, &elem), 0);
    wait_in_turn(way, chan, true, NULL);
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(coir_chan_close(chan), 0);
    join_all(EPIPE);
    EXPECT_FAILS(way->send(chan, &elem), EPIPE);
    EXPECT_FAILS(coir_chan_trysend(chan, &elem), EPIPE);
    for (int i = 0; i < 2; i++) { /* what was in it stays receivable */
        EXPECT_EQ(coir_chan_len(chan), 2 - i);
        EXPECT_EQ(way->recv(chan, &elem), 0);
        EXPECT_EQ(elem, 7);
        EXPECT_FAILS(coir_chan_trysend(chan, &elem), EPIPE);
    }
    EXPECT_FAILS(way->recv(chan, &elem), EPIPE);
    coir_chan_free(chan);
}

static void close_wakes_everybody_and_leaves_what_is_in_it(void **state)
{
    (void)state;
    way_run_each(close_over_waiters);
    assert_no_findings();
}

static void *be_unable_to_wait(void *arg)
{
    const struct way *way = arg;
    coir_chan *chan = coir_chan_new(sizeof(long), 2);
    bool fiber = coir_self();
    long elem = 1;
    EXPECT_EQ(way->send(chan, &elem), 0);
    for (int late = !fiber; late < 2; late++) {
        int err = late ? ETIMEDOUT : ECANCELED;
        if (late)
            coir_deadline_set(coir_now());
        else
            coir_cancel(coir_self());
        COIR_SHIELD(COIR_SEC(KIT_PATIENCE_S)) {
            if (late)
                EXPECT_EQ(coir_check(), 0);
            EXPECT_EQ(way->send(chan, &elem), 0);
            EXPECT_EQ(way->recv(chan, &elem), 0);
        }
        err = late && fiber ? ECANCELED : err; /* that is still so */
        EXPECT_FAILS(way->send(chan, &elem), err);
        EXPECT_FAILS(way->recv(chan, &elem), err);
        EXPECT_EQ(coir_chan_len(chan), 1);
        EXPECT_EQ(coir_chan_trysend(chan, &elem), 0);
        EXPECT_EQ(coir_chan_tryrecv(chan, &elem), 0);
    }
    EXPECT_EQ(coir_chan_close(chan), 0);
    EXPECT_FAILS(coir_chan_trysend(chan, &elem), EPIPE);
    coir_chan_free(chan);
    coir_deadline_set(COIR_NEVER);
    return NULL;
}

static void be_unable_as_fiber(void *way)
{
    coir_join(coir_spawn(be_unable_to_wait, way), NULL);
}

static void who_is_cancelled_or_late_fails_even_if_he_would_not_wait(void **state)
{
    (void)state;
    way_run_each(be_unable_as_fiber);
    for (int i = 0; i < WAYS; i++)
        be_unable_to_wait((void *)&ways[i]);
    assert_no_findings();
}

static void count_writers(void *arg)
{
    const struct way *way = arg;
    long elem = 0;
    coir_chan *chan = coir_chan_new(sizeof(long), 4);
    EXPECT_FAILS(coir_chan_writers(chan, 0), EINVAL);
    EXPECT_EQ(coir_chan_writers(chan, 3), 0);
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(way->send(chan, &elem), 0);
        EXPECT_EQ(coir_chan_close(chan), 0);
    }
    EXPECT_FAILS(way->send(chan, &elem), EPIPE);
    EXPECT_EQ(coir_chan_close(chan), 0);
    EXPECT_FAILS(coir_chan_writers(chan, 1), EPIPE);
    EXPECT_EQ(coir_chan_len(chan), 3);
    coir_chan_free(chan);

    chan = coir_chan_new(sizeof(long), 1);
    EXPECT_EQ(coir_chan_writers(chan, 2), 0);
    EXPECT_EQ(coir_chan_close(chan), 0);
    EXPECT_EQ(coir_chan_writers(chan, 2), 0); /* counted anew */
    EXPECT_EQ(coir_chan_close(chan), 0);
    EXPECT_EQ(way->send(chan, &elem), 0);
    EXPECT_EQ(coir_chan_close(chan), 0);
    EXPECT_FAILS(way->send(chan, &elem), EPIPE);
    coir_chan_free(chan);
}

static void it_closes_when_as_many_writers_as_announced_have_closed(void **state)
{
    (void)state;
    way_run_each(count_writers);
    assert_no_findings();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_element_is_received_once_and_in_order),
        cmocka_unit_test(those_who_wait_are_served_in_the_order_of_arrival),
        cmocka_unit_test(without_room_both_have_met_when_a_call_returns),
        cmocka_unit_test(close_wakes_everybody_and_leaves_what_is_in_it),
        cmocka_unit_test(who_is_cancelled_or_late_fails_even_if_he_would_not_wait),
        cmocka_unit_test(it_closes_when_as_many_writers_as_announced_have_closed),
    };
    return cmocka_run_group_tests(tests, way_setup, way_teardown);
}
