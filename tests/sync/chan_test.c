/* tests/sync/chan_test.c - what goes in comes out, once, and in order; and what ends a channel.
 * SPDX-License-Identifier: MIT */
#include "../sched/kit.h"

enum { SENDERS = 4, RECEIVERS = 4 };

struct crowd {
    coir_chan *chan;
    size_t capacity;
    long each;
    _Atomic long received, sum, trouble;
    _Atomic int out_of_order;
};

struct message {
    int32_t sender, number;
};

struct sender {
    struct crowd *crowd;
    int index;
};

static void *send_each(void *arg)
{
    struct sender *s = arg;
    for (int i = 1; i <= s->crowd->each; i++) {
        struct message m = { s->index, i };
        if (coir_chan_send(s->crowd->chan, &m) < 0)
            atomic_fetch_add(&s->crowd->trouble, 1);
    }
    coir_chan_close(s->crowd->chan);
    return NULL;
}

/* One receiver sees the messages of one sender in the order of sending. */
static void *receive_all(void *arg)
{
    struct crowd *c = arg;
    struct message m;
    int last[SENDERS] = { 0 };
    while (coir_chan_recv(c->chan, &m) == 0) {
        if (m.number <= last[m.sender])
            atomic_fetch_add(&c->out_of_order, 1);
        last[m.sender] = m.number;
        atomic_fetch_add(&c->received, 1);
        atomic_fetch_add(&c->sum, m.number);
    }
    if (errno != EPIPE)
        atomic_fetch_add(&c->trouble, 1);
    return NULL;
}

static void crowd_main(void *arg)
{
    struct crowd *c = arg;
    struct sender senders[SENDERS];
    coir_attr spread = { .flags = COIR_SPREAD };
    coir_fiber *fibers[SENDERS + RECEIVERS];
    pthread_t threads[2];
    c->chan = coir_chan_new(sizeof(struct message), c->capacity);
    coir_chan_writers(c->chan, SENDERS);
    for (int i = 0; i < SENDERS; i++)
        senders[i] = (struct sender){ c, i };
    pthread_create(&threads[0], NULL, send_each, &senders[0]);
    pthread_create(&threads[1], NULL, receive_all, c);
    for (int i = 1; i < SENDERS; i++)
        fibers[i] = coir_spawn_with(&spread, send_each, &senders[i]);
    for (int i = 1; i < RECEIVERS; i++)
        fibers[SENDERS + i] = coir_spawn_with(&spread, receive_all, c);
    for (int i = 0; i < SENDERS + RECEIVERS; i++)
        if (i != 0 && i != SENDERS)
            coir_join(fibers[i], NULL);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    coir_chan_free(c->chan);
}

/* Goal: nothing is lost, doubled or overtaken, whatever the capacity. Method: fibers and threads at
 * both ends, a sum, and a number in each message. */
static void each_element_is_received_once_and_in_order(void **state)
{
    static const size_t capacities[] = { 0, 1, 2, 7, 128 };
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        for (size_t i = 0; i < sizeof capacities / sizeof capacities[0]; i++) {
            struct crowd c = { .capacity = capacities[i], .each = test_scaled(2000, 50) };
            assert_int_equal(fiber_test_run(*w, crowd_main, &c), 0);
            assert_int_equal(c.trouble, 0);
            assert_int_equal(c.received, SENDERS * c.each);
            assert_int_equal(c.sum, SENDERS * c.each * (c.each + 1) / 2);
            assert_int_equal(c.out_of_order, 0);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_element_is_received_once_and_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
