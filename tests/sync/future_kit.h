/* tests/sync/future_kit.h - what the tests of futures share.
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_SYNC_FUTURE_KIT_H
#define TESTS_SYNC_FUTURE_KIT_H

#include "../sched/kit.h"
#include "support/expect.h"

/* fn(arg) as the first fiber, with each number of workers; and it must leave no findings. */
static inline void run_on_each(void (*fn)(void *), void *arg)
{
    for (const unsigned *w = test_workers; *w; w++) {
        assert_int_equal(fiber_test_run(*w, fn, arg), 0);
        assert_no_findings();
    }
}

/* The same once more on a plain thread: there the runtime starts by itself. */
static inline void run_everywhere(void (*fn)(void *))
{
    run_on_each(fn, NULL);
    fn(NULL);
    assert_no_findings();
}

static inline void *as_pointer(long n)
{
    return (void *)n;
}

/* A fiber, on another worker if there is one. */
static inline coir_fiber *spawn_apart(void *(*fn)(void *), void *arg)
{
    coir_attr attr = { .flags = COIR_SPREAD };
    coir_fiber *f = coir_spawn_with(&attr, fn, arg);
    EXPECT(f != NULL);
    return f;
}

static inline coir_future *async_apart(void *(*fn)(void *), void *arg)
{
    coir_attr attr = { .flags = COIR_SPREAD };
    coir_future *f = coir_async_with(&attr, fn, arg);
    EXPECT(f != NULL);
    return f;
}

static inline bool is_parked(coir_fiber *fiber)
{
    return coir__fiber_state(kit_record(fiber)) == COIR__PARKED;
}

/* Until the fiber is parked in the call under test. */
static inline void until_parked(coir_fiber *fiber)
{
    EXPECT(KIT_UNTIL(is_parked(fiber)));
}

struct stubborn {
    _Atomic bool runs, saw_cancel, ended;
    coir_future *_Atomic itself;
};

/* When it is cancelled it takes its time. */
static inline void *end_slowly(void *arg)
{
    struct stubborn *s = arg;
    s->runs = true;
    if (coir_sleep(COIR_SEC(KIT_PATIENCE_S)) < 0 && errno == ECANCELED)
        s->saw_cancel = true;
    COIR_SHIELD(COIR_NEVER) {
        for (int i = 0; i < 5; i++)
            coir_yield();
        coir_sleep(COIR_MS(2));
    }
    s->ended = true;
    return as_pointer(4);
}

/* Values that were dropped: a value is a place in `drops`. */
enum { DROPS_MAX = 64 };
static _Atomic int drops[DROPS_MAX];

static inline void drop(void *value)
{
    atomic_fetch_add((_Atomic int *)value, 1);
}

static inline void no_drops(void)
{
    for (int i = 0; i < DROPS_MAX; i++)
        drops[i] = 0;
}

#endif
