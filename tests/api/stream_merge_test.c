/* tests/api/stream_merge_test.c - merges, and streams from channels.
 * SPDX-License-Identifier: MIT */
#include "stream_kit.h"

static void merged(void *arg)
{
    struct source a = { .count = 50 }, b = { .count = 50, .first = 1000 };
    int value, next_a = 0, next_b = 1000, longest = 0, run = 0, last = -1;
    coir_stream *s = coir_stream_merge(stream_of(&a), stream_of(&b));
    EXPECT(a.started == 0 && b.started == 0);
    for (int i = 0; i < 100; i++) {
        if (!EXPECT_EQ(coir_stream_next(s, &value), 1))
            break;
        int *next = value < 1000 ? &next_a : &next_b;
        EXPECT_EQ(value, (*next)++); /* each in its order */
        run = last == (value < 1000) ? run + 1 : 1;
        last = value < 1000;
        if (next_a < 50 && next_b < 1050 && run > longest)
            longest = run;
    }
    expect_end(s);
    coir_stream_free(s);
    *(int *)arg = longest;
}

/* On one worker, where both are always waiting when the consumer comes, they take turns. */
static void merge_gives_all_of_both_and_is_fair(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        int longest = 0;
        assert_int_equal(fiber_test_run(*w, merged, &longest), 0);
        assert_no_findings();
        if (*w == 1)
            assert_true(longest <= 2);
    }
    merged(&(int){ 0 });
    assert_no_findings();
}

/* One never gives anything. */
static int wait_for_ever(coir_stream *s, void *arg)
{
    (void)s;
    (void)arg;
    return coir_sleep(COIR_SEC(KIT_PATIENCE_S));
}

static void merged_with_silence(void *arg)
{
    struct source a = { .count = 5 };
    (void)arg;
    coir_stream *s =
        coir_stream_merge(coir_stream_new(sizeof(int), wait_for_ever, NULL), stream_of(&a));
    expect_ints(s, 5, 0, 1);
    COIR_TIMEOUT(COIR_MS(1))
        EXPECT_FAILS(coir_stream_next(s, &(int){ 0 }), ETIMEDOUT);
    coir_stream_free(s);
}

static void merge_does_not_wait_for_the_silent_side(void **state)
{
    (void)state;
    run_everywhere(merged_with_silence);
}

static void merge_failing(void *arg)
{
    struct source a = { .count = 3, .err = ENODEV }, b = { .count = -1, .first = 1000 };
    int value, got, of_a = 0;
    (void)arg;
    coir_stream *s = coir_stream_merge(stream_of(&a), stream_of(&b));
    while ((got = coir_stream_next(s, &value)) == 1)
        of_a += value < 1000;
    EXPECT(got < 0 && errno == ENODEV);
    EXPECT_EQ(of_a, 3); /* all of them came before it */
    expect_failed(s, ENODEV);
    coir_stream_free(s);
    EXPECT_EQ(b.ended, 1);
}

static void the_error_of_one_side_ends_a_merge(void **state)
{
    (void)state;
    run_everywhere(merge_failing);
}

static void from_channel(void *arg)
{
    coir_chan *c = coir_chan_new(sizeof(int), 8);
    (void)arg;
    for (int i = 0; i < 6; i++)
        EXPECT_EQ(coir_chan_send(c, &i), 0);
    coir_stream *s = coir_stream_from_chan(c);
    expect_ints(s, 3, 0, 1);
    coir_stream_free(s); /* neither closes nor frees it */
    EXPECT_EQ(coir_chan_len(c), 3);
    s = coir_stream_map(coir_stream_from_chan(c), sizeof(int), twice, NULL);
    coir_chan_close(c);
    expect_ints(s, 3, 6, 2);
    expect_end(s);
    coir_stream_free(s);
    coir_chan_free(c);
}

static void from_chan_gives_what_is_sent_until_it_is_closed(void **state)
{
    (void)state;
    run_everywhere(from_channel);
}

/* A plain thread produces with plain sleeps, a fiber consumes. */
static void *produce(void *arg)
{
    for (int i = 0; i < 5; i++) {
        usleep(500);
        coir_chan_send(arg, &i);
    }
    coir_chan_close(arg);
    return NULL;
}

static void from_thread(void *arg)
{
    pthread_t thread;
    coir_chan *c = coir_chan_new(sizeof(int), 0);
    (void)arg;
    EXPECT_EQ(pthread_create(&thread, NULL, produce, c), 0);
    coir_stream *s = coir_stream_from_chan(c);
    expect_ints(s, 5, 0, 1);
    expect_end(s);
    pthread_join(thread, NULL);
    coir_stream_free(s);
    coir_chan_free(c);
}

static void a_thread_may_feed_a_stream_through_a_channel(void **state)
{
    (void)state;
    run_everywhere(from_thread);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merge_gives_all_of_both_and_is_fair),
        cmocka_unit_test(merge_does_not_wait_for_the_silent_side),
        cmocka_unit_test(the_error_of_one_side_ends_a_merge),
        cmocka_unit_test(from_chan_gives_what_is_sent_until_it_is_closed),
        cmocka_unit_test(a_thread_may_feed_a_stream_through_a_channel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
