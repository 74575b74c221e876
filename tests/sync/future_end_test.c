/* tests/sync/future_end_test.c - the ends of futures: of their last reference, of values that
 * nobody took, of the run.
 * SPDX-License-Identifier: MIT
 *
 * Method: as in future_test.c. */
#include "future_kit.h"

static void *give(void *arg)
{
    return arg;
}

static void *give_later(void *arg)
{
    for (int i = 0; i < 3; i++)
        coir_yield();
    return arg;
}

static void free_running(void *arg)
{
    (void)arg;
    for (int i = 0; i < 4; i++) {
        struct stubborn s = { 0 };
        coir_attr attr = { .flags = i % 2 ? COIR_SPREAD : COIR_SPREAD | COIR_DETACHED };
        coir_future *f = coir_async_with(&attr, end_slowly, &s);
        if (i >= 2)
            EXPECT(KIT_UNTIL(s.runs));
        errno = 77;
        coir_future_free(f);
        EXPECT_EQ(errno, 77);
        EXPECT(s.ended && s.saw_cancel);
    }
}

/* Who has the handle of an async's fiber should leave it alone; but nothing is freed too early. */
struct parted {
    struct stubborn stubborn;
    bool detaches;
    coir_fiber *_Atomic fiber;
};

static void *part_and_end(void *arg)
{
    struct parted *p = arg;
    p->fiber = coir_self();
    if (p->detaches)
        EXPECT_EQ(coir_detach(coir_self()), 0);
    return end_slowly(&p->stubborn);
}

static void *join_it(void *arg)
{
    struct parted *p = arg;
    EXPECT(KIT_UNTIL(p->fiber));
    EXPECT_EQ(coir_join(p->fiber, NULL), 0);
    return NULL;
}

static void free_parted(void *arg)
{
    (void)arg;
    for (int i = 0; i < 2; i++) {
        struct parted p = { .detaches = i };
        coir_future *f = async_apart(part_and_end, &p);
        coir_fiber *joiner = i ? NULL : spawn_apart(join_it, &p);
        EXPECT(KIT_UNTIL(p.stubborn.runs));
        if (joiner)
            until_parked(joiner);
        coir_future_free(f);
        EXPECT(p.stubborn.ended && p.stubborn.saw_cancel);
        if (joiner)
            coir_join(joiner, NULL);
    }
}

static void freeing_waits_also_when_the_fiber_is_joined_or_detached(void **state)
{
    (void)state;
    run_everywhere(free_parted);
}

static void freeing_a_running_async_returns_when_it_has_ended(void **state)
{
    (void)state;
    run_everywhere(free_running);
}

static void *free_cancelled(void *arg)
{
    struct stubborn s = { 0 };
    coir_future *f = async_apart(end_slowly, &s);
    EXPECT(KIT_UNTIL(s.runs));
    EXPECT(KIT_UNTIL(coir_check() < 0));
    coir_future_free(f);
    EXPECT(s.ended && s.saw_cancel);
    EXPECT_FAILS(coir_check(), ECANCELED); /* as before */
    return arg;
}

static void free_under_cancel(void *arg)
{
    (void)arg;
    coir_fiber *fiber = spawn_apart(free_cancelled, NULL);
    coir_cancel(fiber);
    coir_join(fiber, NULL);
    COIR_TIMEOUT(-1) {
        struct stubborn s = { 0 };
        coir_attr attr = { .deadline_ns = COIR_NEVER };
        coir_future *f = coir_async_with(&attr, end_slowly, &s);
        coir_future_free(f);
        EXPECT(s.ended && s.saw_cancel);
        EXPECT_FAILS(coir_check(), ETIMEDOUT);
    }
}

static void freeing_waits_for_the_end_also_under_cancel_and_past_the_deadline(void **state)
{
    (void)state;
    run_everywhere(free_under_cancel);
}

/* Each ends once the other was cancelled. */
struct pair {
    _Atomic bool cancelled[2];
};

struct half {
    struct pair *pair;
    int index;
};

static void *end_together(void *arg)
{
    struct half *h = arg;
    coir_sleep(COIR_SEC(KIT_PATIENCE_S));
    h->pair->cancelled[h->index] = true;
    EXPECT(KIT_UNTIL(h->pair->cancelled[!h->index]));
    return NULL;
}

static void free_all(void *arg)
{
    struct pair p = { 0 };
    struct half a = { &p, 0 }, b = { &p, 1 };
    coir_future *kept = coir_future_new();
    coir_future *f[] = { coir_async(end_together, &a), NULL, coir_future_ref(kept),
                         coir_async(end_together, &b), coir_future_new() };
    (void)arg;
    errno = 77;
    coir_future_free_all(f, 5);
    EXPECT_EQ(errno, 77);
    EXPECT(p.cancelled[0] && p.cancelled[1]);
    for (int i = 0; i < 5; i++)
        EXPECT_EQ(f[i], NULL);
    EXPECT_EQ(coir_future_error(kept), EINPROGRESS);
    coir_future_free(kept);
    coir_future_free_all(NULL, 0);
}

static void free_all_cancels_all_before_it_waits(void **state)
{
    (void)state;
    run_everywhere(free_all);
}

static coir_future *with_drop(void *value)
{
    coir_future *f = coir_future_new();
    coir_future_on_drop(f, drop);
    if (value)
        EXPECT_EQ(coir_future_set(f, value), 0);
    return f;
}

static void dropped(void *arg)
{
    void *value = NULL;
    (void)arg;
    no_drops();
    coir_future *f = with_drop(&drops[0]); /* nobody has asked */
    coir_future_ref(f);
    coir_future_free(f);
    EXPECT_EQ(drops[0], 0);
    coir_future_free(f);
    EXPECT_EQ(drops[0], 1);

    f = with_drop(&drops[1]);
    EXPECT_EQ(coir_await(f, &value), 0);
    coir_future_free(f);
    EXPECT_EQ(drops[1], 0);

    f = with_drop(&drops[2]); /* awaited, but not handed out */
    EXPECT_EQ(coir_await(f, NULL), 0);
    coir_future_free(f);
    EXPECT_EQ(drops[2], 1);

    f = with_drop(&drops[3]);
    EXPECT_EQ(coir_future_take(f), &drops[3]);
    coir_future_free(f);
    EXPECT_EQ(drops[3], 0);

    f = with_drop(&drops[4]);
    EXPECT_FAILS(coir_future_set(f, &drops[5]), EALREADY); /* the second stays ours */
    coir_future_free(f);
    EXPECT_EQ(drops[4], 1);
    EXPECT_EQ(drops[5], 0);

    f = with_drop(NULL);
    EXPECT_EQ(coir_future_fail(f, EIO), 0);
    coir_future_free(f);
    f = with_drop(NULL);
    coir_future_free(f);
    f = with_drop(NULL);
    EXPECT_EQ(coir_future_set(f, NULL), 0);
    coir_future_free(f);

    struct stubborn s = { 0 };
    f = coir_async(give, &drops[6]); /* of an async that nobody waited for */
    coir_future_on_drop(f, drop);
    coir_future_free(f);
    EXPECT_EQ(drops[6], 1);
    f = coir_async(end_slowly, &s);
    coir_future_free(f); /* without on_drop a value just goes */
    EXPECT(s.ended);
}

static void a_value_that_nobody_was_handed_is_dropped_once(void **state)
{
    (void)state;
    run_everywhere(dropped);
}

/* Fires, and is forgotten. */
static void *free_itself(void *arg)
{
    struct stubborn *s = arg;
    EXPECT(KIT_UNTIL(s->itself));
    coir_future_free(s->itself);
    EXPECT_EQ(coir_check(), 0);
    EXPECT_EQ(drops[0], 0);
    coir_sleep(COIR_US(10));
    s->ended = true;
    return &drops[0];
}

static void fire_and_forget(void *arg)
{
    (void)arg;
    for (int i = 0; i < 4; i++) {
        struct stubborn s = { 0 };
        coir_attr attr = { .flags = i % 2 ? COIR_SPREAD : COIR_SPREAD | COIR_DETACHED };
        no_drops();
        coir_future *f = coir_async_with(&attr, free_itself, &s);
        coir_future_on_drop(f, drop);
        s.itself = f;
        EXPECT(KIT_UNTIL(drops[0] == 1));
        EXPECT(s.ended);
    }
}

static void an_async_may_free_its_own_future(void **state)
{
    (void)state;
    run_everywhere(fire_and_forget);
}

/* The future is left to those who come after the run. */
static coir_future *left_over;

static void leave_one(void *arg)
{
    left_over = coir_async(give_later, arg);
    coir_future_on_drop(left_over, drop);
}

static void coir_run_waits_for_asyncs_and_their_futures_may_go_later(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        no_drops();
        assert_int_equal(fiber_test_run(*w, leave_one, &drops[0]), 0);
        assert_int_equal(coir_future_error(left_over), 0);
        assert_int_equal(coir_await(left_over, NULL), 0);
        coir_future_free(left_over);
        assert_int_equal(drops[0], 1);
    }
}

static void leave_detached(void *arg)
{
    coir_attr attr = { .flags = COIR_DETACHED };
    left_over = coir_async_with(&attr, end_slowly, arg);
}

static void coir_run_cancels_detached_asyncs_at_its_end(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct stubborn s = { 0 };
        assert_int_equal(fiber_test_run(*w, leave_detached, &s), 0);
        assert_true(s.saw_cancel && s.ended);
        coir_future_free(left_over);
    }
}

static void *outlast(void *arg)
{
    _Atomic int *parked = arg;
    COIR_SHIELD(COIR_NEVER) {
        *parked = 1;
        coir_sleep(COIR_SEC(3600));
    }
    return NULL;
}

static int outlast_as_generator(coir_stream *stream, void *arg)
{
    (void)stream;
    outlast(arg);
    return 0;
}

static coir_stream *stream_left_over;

static void leave_stubborn(void *arg)
{
    coir_attr attr = { .flags = COIR_DETACHED };
    _Atomic int parked[2] = { 0, 0 };
    char c;
    (void)arg;
    left_over = coir_async_with(&attr, outlast, &parked[0]);
    stream_left_over = coir_stream_new(1, outlast_as_generator, &parked[1]);
    COIR_TIMEOUT(COIR_MS(5))
        EXPECT_FAILS(coir_stream_next(stream_left_over, &c), ETIMEDOUT);
    EXPECT(KIT_UNTIL(parked[0] && parked[1]));
}

static void *await_left_over(void *arg)
{
    EXPECT_FAILS(coir_await(left_over, NULL), ECANCELED);
    return arg;
}

static void nobody_waits_for_what_a_run_has_given_up(void **state)
{
    coir_options options = { .drain_ns = COIR_MS(1) };
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        options.workers = *w;
        assert_int_equal(coir_run(leave_stubborn, NULL, &options), 0);
        assert_int_equal(coir_future_error(left_over), ECANCELED);
        await_left_over(NULL);
        coir_future_free(left_over);
        coir_stream_free(stream_left_over);
    }
    assert_no_findings();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freeing_a_running_async_returns_when_it_has_ended),
        cmocka_unit_test(freeing_waits_also_when_the_fiber_is_joined_or_detached),
        cmocka_unit_test(freeing_waits_for_the_end_also_under_cancel_and_past_the_deadline),
        cmocka_unit_test(free_all_cancels_all_before_it_waits),
        cmocka_unit_test(a_value_that_nobody_was_handed_is_dropped_once),
        cmocka_unit_test(an_async_may_free_its_own_future),
        cmocka_unit_test(coir_run_waits_for_asyncs_and_their_futures_may_go_later),
        cmocka_unit_test(coir_run_cancels_detached_asyncs_at_its_end),
        cmocka_unit_test(nobody_waits_for_what_a_run_has_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
