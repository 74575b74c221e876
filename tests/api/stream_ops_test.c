/* tests/api/stream_ops_test.c - map, filter, take, zip, merge and from_chan, each alone.
 * SPDX-License-Identifier: MIT */
#include "stream_kit.h"

/* Fails once, at the element that arg points at, with that errno; and notes whom it has seen. */
struct picky {
    int at, err, calls;
};

static int fail_at(void *out, void *in, void *arg)
{
    struct picky *p = arg;
    p->calls++;
    if (*(int *)in == p->at) {
        errno = p->err;
        return -1;
    }
    *(int *)out = *(int *)in;
    return 0;
}

static int keep_but_fail_at(const void *elem, void *arg)
{
    int out;
    return fail_at(&out, (void *)elem, arg) < 0 ? -1 : 1;
}

static int add_but_fail_at(void *out, void *a, void *b, void *arg)
{
    *(int *)a += *(int *)b;
    return fail_at(out, a, arg);
}

static void mapped(void *arg)
{
    struct source source = { .count = 20 };
    (void)arg;
    coir_stream *s = coir_stream_map(stream_of(&source), sizeof(int), twice, NULL);
    expect_ints(s, 20, 0, 2);
    expect_end(s);
    coir_stream_free(s);
}

static void map_makes_one_of_each(void **state)
{
    (void)state;
    run_everywhere(mapped);
}

/* Elements of another size. */
static int to_text(void *out, void *in, void *arg)
{
    (void)arg;
    snprintf(out, 100, "%d", *(int *)in);
    return 0;
}

static int length(void *out, void *in, void *arg)
{
    (void)arg;
    *(short *)out = (short)strlen(in);
    return 0;
}

static void sizes(void *arg)
{
    struct source source = { .count = 2, .first = 9 };
    char text[100];
    short len;
    (void)arg;
    coir_stream *s = coir_stream_map(stream_of(&source), sizeof text, to_text, NULL);
    EXPECT_EQ(coir_stream_next(s, text), 1);
    EXPECT_EQ(strcmp(text, "9"), 0);
    s = coir_stream_map(s, sizeof len, length, NULL); /* also when it has been read of */
    EXPECT_EQ(coir_stream_next(s, &len), 1);
    EXPECT_EQ(len, 2);
    EXPECT_EQ(coir_stream_next(s, &len), 0);
    coir_stream_free(s);
}

static void map_may_change_the_size(void **state)
{
    (void)state;
    run_everywhere(sizes);
}

static void filtered(void *arg)
{
    struct source source = { .count = 21 };
    (void)arg;
    coir_stream *s = coir_stream_filter(stream_of(&source), is_even, NULL);
    expect_ints(s, 11, 0, 2);
    expect_end(s);
    coir_stream_free(s);
}

static void filter_keeps_what_keep_says(void **state)
{
    (void)state;
    run_everywhere(filtered);
}

static void taken(void *arg)
{
    struct source source = { .count = -1 }, short_one = { .count = 2 }, unread = { .count = 2 };
    (void)arg;
    coir_stream *s = coir_stream_take(stream_of(&source), 5);
    expect_ints(s, 5, 0, 1);
    expect_end(s);
    coir_stream_free(s);
    EXPECT(source.emitted <= 5 + 1 && source.refused == ECANCELED);
    s = coir_stream_take(stream_of(&short_one), 5);
    expect_ints(s, 2, 0, 1);
    expect_end(s);
    coir_stream_free(s);
    s = coir_stream_take(stream_of(&unread), 0);
    expect_end(s);
    EXPECT_EQ(unread.started, 0);
    coir_stream_free(s);
}

static void take_ends_after_n_and_asks_for_no_more(void **state)
{
    (void)state;
    run_everywhere(taken);
}

static void zipped(void *arg)
{
    struct source a = { .count = 5 }, b = { .count = -1, .first = 100 };
    (void)arg;
    coir_stream *s = coir_stream_zip(stream_of(&a), stream_of(&b), sizeof(int), sum, NULL);
    expect_ints(s, 5, 100, 2);
    expect_end(s);
    coir_stream_free(s);
    EXPECT_EQ(b.ended, 1);
    struct source c = { .count = -1 }, d = { .count = 3 };
    s = coir_stream_zip(stream_of(&c), stream_of(&d), sizeof(int), sum, NULL);
    expect_ints(s, 3, 0, 2);
    expect_end(s);
    coir_stream_free(s);
    EXPECT_EQ(c.ended, 1);
}

static void zip_pairs_and_ends_with_the_shorter(void **state)
{
    (void)state;
    run_everywhere(zipped);
}

static void failing_callbacks(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++) {
        struct source source = { .count = 9 }, zeros = { .count = 9, .first = 0 };
        struct picky p = { .at = i == 2 ? 6 : 3, .err = EILSEQ };
        coir_stream *s = stream_of(&source);
        s = i == 0   ? coir_stream_map(s, sizeof(int), fail_at, &p)
            : i == 1 ? coir_stream_filter(s, keep_but_fail_at, &p)
                     : coir_stream_zip(s, stream_of(&zeros), sizeof(int), add_but_fail_at, &p);
        expect_ints(s, 3, 0, i == 2 ? 2 : 1);
        expect_failed(s, EILSEQ);
        EXPECT_EQ(p.calls, 4);
        coir_stream_free(s);
    }
}

static void a_callback_that_fails_ends_its_stream_with_its_error(void **state)
{
    (void)state;
    run_everywhere(failing_callbacks);
}

/* The callback waits for too long, the first time. */
struct slow {
    int calls;
};

static int slow_map(void *out, void *in, void *arg)
{
    struct slow *slow = arg;
    if (slow->calls++ == 1 && coir_sleep(COIR_SEC(KIT_PATIENCE_S)) < 0)
        return -1;
    *(int *)out = *(int *)in;
    return 0;
}

static int slow_keep(const void *elem, void *arg)
{
    int out;
    return slow_map(&out, (void *)elem, arg) < 0 ? -1 : 1;
}

static int slow_zip(void *out, void *a, void *b, void *arg)
{
    (void)b;
    return slow_map(out, a, arg);
}

static void late_callbacks(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++) {
        struct source source = { .count = 9 }, other = { .count = 9 };
        struct slow slow = { 0 };
        int value;
        coir_stream *s = stream_of(&source);
        s = i == 0   ? coir_stream_map(s, sizeof(int), slow_map, &slow)
            : i == 1 ? coir_stream_filter(s, slow_keep, &slow)
                     : coir_stream_zip(s, stream_of(&other), sizeof(int), slow_zip, &slow);
        expect_ints(s, 1, 0, 1);
        COIR_TIMEOUT(COIR_MS(1))
            EXPECT_FAILS(coir_stream_next(s, &value), ETIMEDOUT);
        expect_ints(s, 8, 1, 1); /* the same element again */
        expect_end(s);
        EXPECT_EQ(slow.calls, 10);
        coir_stream_free(s);
    }
}

static void a_callback_that_the_callers_deadline_stopped_is_called_again(void **state)
{
    (void)state;
    run_everywhere(late_callbacks);
}

static void source_errors(void *arg)
{
    (void)arg;
    for (int i = 0; i < 8; i++) {
        struct source source = { .count = 2, .err = EXDEV }, other = { .count = -1 };
        int value;
        coir_stream *s = stream_of(&source);
        switch (i) {
        case 0:
            s = coir_stream_map(s, sizeof(int), twice, NULL);
            break;
        case 1:
            s = coir_stream_filter(s, is_even, NULL);
            break;
        case 2:
            s = coir_stream_take(s, 5);
            break;
        case 3:
            s = coir_stream_zip(s, stream_of(&other), sizeof(int), sum, NULL);
            break;
        case 4:
            s = coir_stream_zip(stream_of(&other), s, sizeof(int), sum, NULL);
            break;
        case 5:
            s = coir_stream_timeout(s, COIR_SEC(KIT_PATIENCE_S));
            break;
        case 6:
            s = coir_stream_throttle(s, 1);
            break;
        default:
            other.count = 0;
            s = coir_stream_merge(stream_of(&other), s);
        }
        EXPECT_EQ(coir_stream_next(s, &value), 1);
        if (i != 1)
            EXPECT_EQ(coir_stream_next(s, &value), 1);
        expect_failed(s, EXDEV);
        coir_stream_free(s);
    }
}

static void errors_pass_through_every_combinator_and_stay(void **state)
{
    (void)state;
    run_everywhere(source_errors);
}

/* What is wrong frees the sources, whose generators run all the same; NULL passes through. */
static void refused(void *arg)
{
    struct source a[12] = { 0 };
    struct source *next = a;
    (void)arg;
    errno = 0;
    EXPECT(!coir_stream_map(stream_of(next++), 4, NULL, NULL) && errno == EINVAL);
    EXPECT(!coir_stream_filter(stream_of(next++), NULL, NULL) && errno == EINVAL);
    EXPECT(!coir_stream_chunks(stream_of(next++), 0, 0) && errno == EINVAL);
    EXPECT(!coir_stream_chunks(stream_of(next++), SIZE_MAX / 2, 0) && errno == ENOMEM);
    EXPECT(
        !coir_stream_map(coir_stream_chunks(stream_of(next++), SIZE_MAX / 2, 0), 4, twice, NULL));
    coir_stream *s = stream_of(next++);
    EXPECT(!coir_stream_zip(s, s, 4, sum, NULL) && errno == EINVAL);
    s = stream_of(next++);
    EXPECT(!coir_stream_merge(s, s) && errno == EINVAL);
    s = coir_stream_new(8, generate, next++);
    EXPECT(!coir_stream_merge(s, stream_of(next++)) && errno == EINVAL);
    errno = 77;
    EXPECT(!coir_stream_zip(stream_of(next++), NULL, 4, sum, NULL) && errno == 77);
    EXPECT(!coir_stream_merge(NULL, stream_of(next++)) && errno == 77);
    EXPECT(!coir_stream_merge(NULL, NULL) && errno == 77);
    EXPECT(!coir_stream_map(NULL, 4, twice, NULL) && errno == 77);
    EXPECT(!coir_stream_filter(NULL, is_even, NULL) && errno == 77);
    EXPECT(!coir_stream_take(NULL, 4) && errno == 77);
    EXPECT(!coir_stream_chunks(NULL, 4, 0) && errno == 77);
    EXPECT(!coir_stream_timeout(NULL, 4) && errno == 77);
    EXPECT(!coir_stream_throttle(NULL, 4) && errno == 77);
    EXPECT(!coir_stream_from_chan(NULL) && errno == 77);
    for (struct source *i = a; i < next; i++)
        EXPECT(i->started == 1 && i->ended == 1);
}

static void combinators_take_their_sources_over_also_when_they_fail(void **state)
{
    (void)state;
    run_everywhere(refused);
}

static void taken_over(void *arg)
{
    struct source source = { .count = 3 };
    int value;
    (void)arg;
    coir_stream *inner = stream_of(&source), *s = coir_stream_take(inner, 3);
    EXPECT_FAILS(coir_stream_next(inner, &value), EBUSY);
    expect_ints(s, 3, 0, 1);
    EXPECT_FAILS(coir_stream_next(inner, &value), EBUSY);
    coir_stream_free(s);
}

static void a_source_that_was_taken_over_cannot_be_read(void **state)
{
    (void)state;
    run_everywhere(taken_over);
}

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
        cmocka_unit_test(map_makes_one_of_each),
        cmocka_unit_test(map_may_change_the_size),
        cmocka_unit_test(filter_keeps_what_keep_says),
        cmocka_unit_test(take_ends_after_n_and_asks_for_no_more),
        cmocka_unit_test(zip_pairs_and_ends_with_the_shorter),
        cmocka_unit_test(a_callback_that_fails_ends_its_stream_with_its_error),
        cmocka_unit_test(a_callback_that_the_callers_deadline_stopped_is_called_again),
        cmocka_unit_test(errors_pass_through_every_combinator_and_stay),
        cmocka_unit_test(combinators_take_their_sources_over_also_when_they_fail),
        cmocka_unit_test(a_source_that_was_taken_over_cannot_be_read),
        cmocka_unit_test(merge_gives_all_of_both_and_is_fair),
        cmocka_unit_test(merge_does_not_wait_for_the_silent_side),
        cmocka_unit_test(the_error_of_one_side_ends_a_merge),
        cmocka_unit_test(from_chan_gives_what_is_sent_until_it_is_closed),
        cmocka_unit_test(a_thread_may_feed_a_stream_through_a_channel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
