/* tests/sync/ways.h - the ways to use a channel, alike: for tests of what holds for all of them.
 * SPDX-License-Identifier: MIT
 *
 * By the call, by a select with one case, and by one that waits for other things, too. */
#ifndef TESTS_SYNC_WAYS_H
#define TESTS_SYNC_WAYS_H

#include "crowd.h"

#include "sync/chan.h"

struct way {
    const char *name;
    int (*send)(coir_chan *, const void *elem);
    int (*recv)(coir_chan *, void *elem);
};

/* -1 with errno, or as the single call would have said it. */
static inline int way_said(const coir_case *cases, int index)
{
    if (index < 0)
        return -1;
    if (cases[index].error)
        errno = cases[index].error;
    return cases[index].result;
}

static inline int way_select_send(coir_chan *chan, const void *elem)
{
    coir_case cases[] = { COIR_CASE_SEND(chan, elem) };
    return way_said(cases, coir_select(cases, 1, COIR_NEVER));
}

static inline int way_select_recv(coir_chan *chan, void *elem)
{
    coir_case cases[] = { COIR_CASE_RECV(chan, elem) };
    return way_said(cases, coir_select(cases, 1, -1));
}

/* Nobody else uses it: so no case with it happens. */
static coir_chan *way_spare;

static inline int way_one_of_many(coir_case wanted)
{
    char never[64];
    coir_case cases[] = { COIR_CASE_RECV(way_spare, never), COIR_CASE_TIMER(COIR_NEVER), wanted,
                          COIR_CASE_RECV(NULL, NULL), COIR_CASE_RECV(way_spare, never) };
    int index = coir_select(cases, 5, COIR_NEVER);
    if (index >= 0 && index != 2) {
        fputs("a case happened that cannot\n", stderr);
        abort();
    }
    return way_said(cases, index);
}

static inline int way_many_send(coir_chan *chan, const void *elem)
{
    return way_one_of_many(COIR_CASE_SEND(chan, elem));
}

static inline int way_many_recv(coir_chan *chan, void *elem)
{
    return way_one_of_many(COIR_CASE_RECV(chan, elem));
}

static const struct way ways[] = {
    { "call", coir_chan_send, coir_chan_recv },
    { "select", way_select_send, way_select_recv },
    { "select of many", way_many_send, way_many_recv },
};

enum { WAYS = sizeof ways / sizeof *ways };

/* For main(): before the first way, and after the last. */
static inline int way_setup(void **state)
{
    (void)state;
    way_spare = coir_chan_new(64, 0);
    return way_spare ? 0 : -1;
}

static inline int way_teardown(void **state)
{
    (void)state;
    coir_chan_free(way_spare);
    return 0;
}

/* Does nobody wait? When no call is under way. */
static inline bool way_is_at_rest(coir_chan *chan)
{
    const struct coir__chan *c = (const struct coir__chan *)chan;
    return !c->senders && !c->receivers;
}

/* After others' channels were used away from home, a thousand are made without one (sched/bias.h):
 * have them behind us. */
static inline void way_be_at_home(void)
{
    enum { DEBT_MAX = 1024 };
    bool home = false;
    for (int i = 0; i <= DEBT_MAX && !home; i++) {
        coir_chan *chan = coir_chan_new(8, 0);
        home = ((struct coir__chan *)chan)->bias.home;
        coir_chan_free(chan);
    }
}

struct way_run {
    void (*fn)(void *);
    const struct way *way;
};

static inline void way_run(void *arg)
{
    const struct way_run *run = arg;
    way_be_at_home();
    run->fn((void *)run->way);
}

/* Run fn(way) with every way, in runtimes of 1, 2 and 4 workers. */
static inline void way_run_each(void (*fn)(void *))
{
    for (const unsigned *w = test_workers; *w; w++)
        for (int i = 0; i < WAYS; i++) {
            struct way_run run = { fn, &ways[i] };
            assert_int_equal(fiber_test_run(*w, way_run, &run), 0);
        }
}

/* A fiber's one call, or a plain thread's. */
struct way_call {
    const struct way *way;
    coir_chan *chan;
    long elem; /* to send; or received */
    bool sends, frees;
    int64_t deadline_ns;
    struct kit_said said;
    _Atomic int *came, place; /* counts those that got it, or NULL */
    _Atomic bool ended;
    coir_fiber *fiber; /* or */
    pthread_t thread;
};

static inline void *way_call_once(void *arg)
{
    struct way_call *c = arg;
    coir_deadline_set(c->deadline_ns);
    c->said = KIT_SAID(c->sends ? c->way->send(c->chan, &c->elem)
                                : c->way->recv(c->chan, &c->elem));
    coir_deadline_set(COIR_NEVER);
    if (c->frees)
        coir_chan_free(c->chan);
    if (c->came)
        c->place = atomic_fetch_add(c->came, 1);
    c->ended = true;
    return NULL;
}

static inline struct way_call way_to_send(const struct way *way, coir_chan *chan, long elem)
{
    return (struct way_call){
        .way = way, .chan = chan, .sends = true, .elem = elem, .deadline_ns = COIR_NEVER
    };
}

static inline struct way_call way_to_recv(const struct way *way, coir_chan *chan)
{
    return (struct way_call){ .way = way, .chan = chan, .elem = -1, .deadline_ns = COIR_NEVER };
}

/* On some worker. */
static inline void way_start(struct way_call *c)
{
    c->fiber = crowd_spawn(way_call_once, c);
}

static inline void way_start_thread(struct way_call *c)
{
    c->fiber = NULL;
    pthread_create(&c->thread, NULL, way_call_once, c);
}

/* The worker goes on meanwhile. */
static inline void way_join(struct way_call *c)
{
    if (c->fiber) {
        coir_join(c->fiber, NULL);
        return;
    }
    KIT_UNTIL(c->ended);
    pthread_join(c->thread, NULL);
}

#endif
