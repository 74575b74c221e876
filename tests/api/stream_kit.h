/* tests/api/stream_kit.h - what the tests of streams share.
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_API_STREAM_KIT_H
#define TESTS_API_STREAM_KIT_H

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

/* A generator's wishes, and what became of it. */
struct source {
    int count; /* it emits first, first + 1, ...; negative: without end */
    int first;
    int err;                                      /* and then fails with it; 0: it does not */
    int64_t pause_ns;                             /* before each; 0: none */
    _Atomic int started, emitted, ended, refused; /* refused: the errno of an emit */
};

/* How many generators run. */
static _Atomic int generators;

static inline int generate(coir_stream *s, void *arg)
{
    struct source *source = arg;
    int result = 0;
    source->started++;
    generators++;
    for (int i = 0; (source->count < 0 || i < source->count) && result == 0; i++) {
        int value = source->first + i;
        if (source->pause_ns)
            coir_sleep(source->pause_ns);
        if (coir_stream_emit(s, &value) < 0) {
            source->refused = errno;
            result = -1;
        } else {
            source->emitted++;
        }
    }
    if (result == 0 && source->err)
        result = -1;
    int err = source->err ? source->err : errno;
    source->ended++;
    generators--;
    errno = err;
    return result;
}

static inline coir_stream *stream_of(struct source *source)
{
    return coir_stream_new(sizeof(int), generate, source);
}

/* The next n elements are first, first + step, ... */
static inline void expect_ints(coir_stream *s, int n, int first, int step)
{
    for (int i = 0; i < n; i++) {
        int value = -1;
        if (!EXPECT_EQ(coir_stream_next(s, &value), 1) || !EXPECT_EQ(value, first + i * step))
            return;
    }
}

/* It has ended, and stays so. */
static inline void expect_end(coir_stream *s)
{
    int value[8];
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(coir_stream_next(s, value), 0);
}

/* It has failed, and stays so. */
static inline void expect_failed(coir_stream *s, int err)
{
    int value[8];
    for (int i = 0; i < 3; i++)
        EXPECT_FAILS(coir_stream_next(s, value), err);
}

static inline coir_fiber *spawn_apart(void *(*fn)(void *), void *arg)
{
    coir_attr attr = { .flags = COIR_SPREAD };
    coir_fiber *f = coir_spawn_with(&attr, fn, arg);
    EXPECT(f != NULL);
    return f;
}

static inline void until_parked(coir_fiber *fiber)
{
    EXPECT(KIT_UNTIL(coir__fiber_state(kit_record(fiber)) == COIR__PARKED));
}

/* Callbacks. */
static inline int twice(void *out, void *in, void *arg)
{
    (void)arg;
    *(int *)out = 2 * *(int *)in;
    return 0;
}

static inline int is_even(const void *elem, void *arg)
{
    (void)arg;
    return *(const int *)elem % 2 == 0;
}

static inline int sum(void *out, void *a, void *b, void *arg)
{
    (void)arg;
    *(int *)out = *(int *)a + *(int *)b;
    return 0;
}

#endif
