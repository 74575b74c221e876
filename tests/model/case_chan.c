/* tests/model/case_chan.c - channels, select and futures: what is sent arrives once.
 * SPDX-License-Identifier: MIT */
#include "cases.h"
#include "kit.h"
#include "sync/chan.h"
#include "sync/future.h"
#include "sync/select.h"

#include <errno.h>

enum { RING_BYTES = 32, SENT_MAX = 4 };

static union {
    struct coir__chan chan;
    char room[sizeof(struct coir__chan) + RING_BYTES];
} chans[2];
static int received[SENT_MAX]; /* how often each number was */
static uint64_t sent[SENT_MAX];
static int outcomes[4];

static struct coir__chan *chan(unsigned i)
{
    return &chans[i].chan;
}

/* As in api/chan.c, but for errno. */
static int send(struct coir__chan *c, const uint64_t *elem)
{
    struct coir__worker *w = coir__chan_enter(c);
    if (w) {
        if (coir__chan_send_here(w, c, elem))
            return 0;
        if (coir__chan_send_waits(c))
            return coir__chan_wait_here(w, c, &c->senders, (void *)elem, COIR__WHY_SEND);
    } else {
        int err = coir__fiber_check(coir__fiber_self());
        if (err < 0)
            return err;
        coir__bias_lock(&c->bias);
    }
    int err = coir__chan_send_locked(c, elem);
    return err == -EAGAIN ? coir__chan_wait(c, &c->senders, (void *)elem, COIR__WHY_SEND) : err;
}

static int recv(struct coir__chan *c, uint64_t *elem)
{
    struct coir__worker *w = coir__chan_enter(c);
    if (w) {
        if (coir__chan_recv_here(w, c, elem))
            return 0;
        if (coir__chan_recv_waits(c))
            return coir__chan_wait_here(w, c, &c->receivers, elem, COIR__WHY_RECV);
    } else {
        int err = coir__fiber_check(coir__fiber_self());
        if (err < 0)
            return err;
        coir__bias_lock(&c->bias);
    }
    int err = coir__chan_recv_locked(c, elem);
    return err == -EAGAIN ? coir__chan_wait(c, &c->receivers, elem, COIR__WHY_RECV) : err;
}

/* One number, the argument, to channel 0. */
static void send_one(void *arg)
{
    uint64_t number = (uint64_t)(uintptr_t)arg;
    model_assert(send(chan(0), &number) == 0);
    sent[number]++;
    model_pay();
}

static void recv_one(void *arg)
{
    uint64_t number = SENT_MAX;
    (void)arg;
    model_assert(recv(chan(0), &number) == 0);
    model_assert(number < SENT_MAX && !received[number]++);
    model_pay();
}

static void *send_one_in_fiber(void *arg)
{
    send_one(arg);
    return NULL;
}

static void *recv_one_in_fiber(void *arg)
{
    recv_one(arg);
    return NULL;
}

/* Channels of worker 0, which runs its loop. */
static void begin(size_t capacity)
{
    kit_begin(1, 1);
    kit_be_worker(0);
    for (int i = 0; i < 2; i++) {
        coir__chan_init(chan((unsigned)i), sizeof(uint64_t), capacity);
        model_name(&chans[i], sizeof chans[i], i ? "channel 1" : "channel 0");
    }
}

static void thread_sends_to_home(void)
{
    begin(0);
    kit_fiber(0, recv_one_in_fiber, NULL);
    model_thread("sender", send_one, (void *)1);
    model_owe(2);
}

static void home_sends_to_thread(void)
{
    begin(0);
    kit_fiber(0, send_one_in_fiber, (void *)1);
    model_thread("receiver", recv_one, NULL);
    model_owe(2);
}

/* At home they need no lock, until somebody else comes. */
static void thread_comes_between(void)
{
    begin(1);
    kit_fiber(0, recv_one_in_fiber, NULL);
    kit_fiber(0, send_one_in_fiber, (void *)1);
    kit_fiber(0, recv_one_in_fiber, NULL);
    model_thread("sender", send_one, (void *)2);
    model_owe(4);
}

static void two_senders(void)
{
    begin(1);
    kit_fiber(0, recv_one_in_fiber, NULL);
    kit_fiber(0, recv_one_in_fiber, NULL);
    model_thread("sender", send_one, (void *)1);
    model_thread("another", send_one, (void *)2);
    model_owe(4);
}

static void channels_are_empty(void)
{
    for (unsigned i = 0; i < 2; i++)
        model_assert(!coir__chan_len(chan(i)) && !chan(i)->senders && !chan(i)->receivers);
}

/* Closing wakes who waits, and what was sent before still arrives. */
static void recv_until_closed(void *arg)
{
    uint64_t number = SENT_MAX;
    int err;
    (void)arg;
    while ((err = recv(chan(0), &number)) == 0)
        model_assert(number < SENT_MAX && !received[number]++);
    model_assert(err == -EPIPE);
    model_assert(received[1] == 1);
    model_pay();
}

static void *recv_until_closed_in_fiber(void *arg)
{
    recv_until_closed(arg);
    return NULL;
}

static void send_and_close(void *arg)
{
    send_one(arg);
    coir__chan_close(chan(0));
}

static void closed(void)
{
    begin(1);
    kit_fiber(0, recv_until_closed_in_fiber, NULL);
    model_thread("sender", send_and_close, (void *)1);
    model_owe(2);
}

/* The receiver is the last user, and frees it when it has the element. */
static void *recv_and_free(void *arg)
{
    recv_one(arg);
    model_gone(chan(0), sizeof *chan(0));
    return NULL;
}

static void freed_by_the_receiver(void)
{
    begin(0);
    kit_fiber(0, recv_and_free, NULL);
    model_thread("sender", send_one, (void *)1);
    model_owe(2);
}

/* Deadlines: an element is either received or still with its sender, or in the channel. */
static void recv_in_time(void *arg)
{
    uint64_t number = SENT_MAX;
    (void)arg;
    outcomes[0] = recv(chan(0), &number);
    if (outcomes[0] == 0)
        received[number]++;
    else
        model_assert(outcomes[0] == -ETIMEDOUT && model_now() == 10);
    model_pay();
}

static void *recv_in_time_in_fiber(void *arg)
{
    coir__worker_self()->current->deadline_ns = 10;
    recv_in_time(arg);
    return NULL;
}

static void pass_time(void *arg)
{
    (void)arg;
    model_clock_advance(10);
}

static void fiber_receives_in_time(void)
{
    begin(1);
    kit_fiber(0, recv_in_time_in_fiber, NULL);
    model_thread("sender", send_one, (void *)1);
    model_thread("time", pass_time, NULL);
    model_owe(2);
}

static void element_is_somewhere(void)
{
    model_assert(received[1] + (int)coir__chan_len(chan(0)) == 1);
    model_assert(!chan(0)->senders && !chan(0)->receivers);
}

/* Select. */
static const struct coir__select_kind *const kinds[COIR__CASE_KINDS] = {
    [COIR__CASE_SEND] = &coir__select_send,
    [COIR__CASE_RECV] = &coir__select_recv,
};

static void select_one(bool sends_to_first)
{
    uint64_t in = SENT_MAX, out = 1 + !sends_to_first;
    struct coir__case cases[2] = {
        { .kind = COIR__CASE_SEND, .on = chan(!sends_to_first), .src = &out },
        { .kind = COIR__CASE_RECV, .on = chan(sends_to_first), .dst = &in },
    };
    long which = coir__select(cases, 2, COIR__NEVER, kinds, NULL);
    model_assert(which == 0 || which == 1);
    model_assert(cases[which != 0].result == 0);
    if (which == 0)
        sent[out]++;
    else
        received[in]++;
    model_pay();
}

/* Both may give way to each other, again and again: there is no end of different orders. */
static void *select_first(void *arg)
{
    select_one(true);
    return arg;
}

static void select_second(void *arg)
{
    (void)arg;
    select_one(false);
}

static void two_selects_meet(void)
{
    begin(0);
    kit_fiber(0, select_first, NULL);
    model_thread("second", select_second, NULL);
    model_owe(2);
}

static void one_pair_has_met(void)
{
    model_assert(sent[1] + sent[2] == 1);
    model_assert(received[1] == (int)sent[1] && received[2] == (int)sent[2]);
    channels_are_empty();
}

/* The first of two channels, twice. */
static void *select_twice(void *arg)
{
    for (int i = 0; i < 2; i++) {
        uint64_t in = SENT_MAX;
        struct coir__case cases[2] = {
            { .kind = COIR__CASE_RECV, .on = chan(0), .dst = &in },
            { .kind = COIR__CASE_RECV, .on = chan(1), .dst = &in },
        };
        long which = coir__select(cases, 2, COIR__NEVER, kinds, NULL);
        model_assert(which == (long)in && cases[which != 0].result == 0 && !received[in]++);
    }
    model_pay();
    return arg;
}

static void send_to(void *arg)
{
    uint64_t number = (uint64_t)(uintptr_t)arg;
    model_assert(send(chan((unsigned)number), &number) == 0);
    model_pay();
}

static void select_of_two(void)
{
    begin(0);
    kit_fiber(0, select_twice, NULL);
    model_thread("sender to 0", send_to, (void *)0);
    model_thread("sender to 1", send_to, (void *)1);
    model_owe(3);
}

/* Futures. */
static struct coir__future futures[2];
static int values[2];

static void decide(void *arg)
{
    uintptr_t i = (uintptr_t)arg;
    values[i] = 1;
    model_assert(coir__future_decide(&futures[i], &values[i], 0) == 0);
    model_pay();
}

static int *value_of(struct coir__future *f)
{
    void *value = NULL;
    model_assert(coir__future_result(f, &value) == 0);
    return value;
}

static void *await_and_free(void *arg)
{
    if (!coir__future_is_done(&futures[0]))
        model_assert(coir__future_wait_slowly(&futures[0], COIR__NEVER) == 0);
    model_assert(*value_of(&futures[0]) == 1);
    model_gone(&futures[0], sizeof futures[0]);
    model_pay();
    return arg;
}

static void await_in_thread(void *arg)
{
    await_and_free(arg);
}

static void future_fiber(void)
{
    kit_begin(1, 1);
    kit_fiber(0, await_and_free, NULL);
    model_thread("decider", decide, (void *)0);
    model_owe(2);
}

static void future_thread(void)
{
    model_thread("waiter", await_in_thread, NULL);
    model_thread("decider", decide, (void *)0);
    model_owe(2);
}

/* Once the first is there it waits for the other alone; both may go then. */
static void *await_any(void *arg)
{
    struct coir__future *all[2] = { &futures[0], &futures[1] };
    struct coir__wait_entry entries[2];
    long first = coir__future_find_done(all, 2);
    if (first < 0)
        first = coir__future_wait_any(all, 2, entries, COIR__NEVER);
    model_assert((first == 0 || first == 1) && *value_of(all[first]) == 1);
    if (!coir__future_is_done(all[!first]))
        model_assert(coir__future_wait_slowly(all[!first], COIR__NEVER) == 0);
    model_assert(*value_of(all[!first]) == 1);
    model_gone(futures, sizeof futures);
    model_pay();
    return arg;
}

static void await_any_in_thread(void *arg)
{
    await_any(arg);
}

static void any_fiber(void)
{
    kit_begin(1, 1);
    kit_fiber(0, await_any, NULL);
    model_thread("decider 0", decide, (void *)0);
    model_thread("decider 1", decide, (void *)1);
    model_owe(3);
}

static void any_thread(void)
{
    model_thread("waiter", await_any_in_thread, NULL);
    model_thread("decider 0", decide, (void *)0);
    model_thread("decider 1", decide, (void *)1);
    model_owe(3);
}

const struct model_case cases_chan[] = {
    { "channel, to home", "a thread sends to a fiber, no room", thread_sends_to_home,
      channels_are_empty, MODEL_BARRIERS },
    { "channel, from home", "a fiber sends to a thread, no room", home_sends_to_thread,
      channels_are_empty, MODEL_BARRIERS },
    { "channel, a stranger comes", "3 fibers at home, a thread sends, room for one",
      thread_comes_between, channels_are_empty, MODEL_BARRIERS, MODEL_BUFFERS },
    { "channel, 2 senders", "2 threads send to 2 fibers, room for one", two_senders,
      channels_are_empty, MODEL_BARRIERS, MODEL_ALWAYS },
    { "channel, closed", "a thread sends and closes, a fiber receives", closed, channels_are_empty,
      MODEL_BARRIERS, MODEL_BUFFERS },
    { "channel, freed by the receiver", "a thread sends, a fiber receives and frees it",
      freed_by_the_receiver, NULL, MODEL_BARRIERS },
    { "channel, with a deadline", "a thread sends, a fiber receives, time passes",
      fiber_receives_in_time, element_is_somewhere, MODEL_BARRIERS | MODEL_CLOCK },
    { "select, 2 meet", "a fiber and a thread, each sends or receives", two_selects_meet,
      one_pair_has_met, MODEL_BARRIERS, 0, MODEL_ALWAYS },
    { "select, of 2 channels", "a fiber receives, 2 threads send to one each", select_of_two,
      channels_are_empty, MODEL_BARRIERS, MODEL_ALWAYS },
    { "future, a fiber", "a fiber waits and frees it, a thread decides", future_fiber, NULL },
    { "future, a thread", "a thread waits and frees it, another decides", future_thread, NULL },
    { "futures, any, a fiber", "a fiber waits for 2, and frees them, 2 threads decide", any_fiber,
      NULL, 0, MODEL_ALWAYS },
    { "futures, any, a thread", "a thread waits for 2, and frees them, 2 threads decide",
      any_thread, NULL, 0, MODEL_ALWAYS },
    { 0 },
};
