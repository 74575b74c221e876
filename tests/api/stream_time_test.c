/* tests/api/stream_time_test.c - time limits, throttles and chunks.
 * SPDX-License-Identifier: MIT
 *
 * Method: generators wait for a word from the test, so that it is known what is late; of durations
 * only the lower bounds are checked. */
#include "stream_kit.h"

/* Emits 0, 1, ... as many as it is told. */
static _Atomic int told, emitted;

static int emit_when_told(coir_stream *s, void *arg)
{
    int result = 0;
    (void)arg;
    generators++;
    for (int i = 0; result == 0; i++) {
        while (told <= i && coir_check() == 0)
            coir_sleep(COIR_US(50));
        result = coir_stream_emit(s, &i);
        emitted += result == 0;
    }
    generators--;
    return result;
}

static coir_stream *told_stream(int count)
{
    told = count;
    emitted = 0;
    return coir_stream_new_with(NULL, sizeof(int), 8, emit_when_told, NULL);
}

static void late_elements(void *arg)
{
    int value;
    (void)arg;
    coir_stream *s = told_stream(1);
    s = coir_stream_timeout(coir_stream_map(s, sizeof(int), twice, NULL), COIR_MS(2));
    while (coir_stream_next(s, &value) != 1) /* a busy machine may be late, too */
        EXPECT_EQ(errno, ETIME);
    EXPECT_EQ(value, 0);
    for (int i = 1; i < 4; i++) {
        for (int k = 0; k < 2; k++) {
            int64_t before_ns = coir_now();
            EXPECT_FAILS(coir_stream_next(s, &value), ETIME);
            EXPECT(coir_now() - before_ns >= COIR_MS(2));
        }
        told = i + 1;
        while (coir_stream_next(s, &value) != 1)
            EXPECT_EQ(errno, ETIME);
        EXPECT_EQ(value, 2 * i);
    }
    coir_stream_free(s);
    EXPECT_EQ(generators, 0);
}

static void a_late_element_is_etime_and_then_what_next_gets(void **state)
{
    (void)state;
    run_everywhere(late_elements);
}

static void whose_limit(void *arg)
{
    int value;
    (void)arg;
    coir_stream *s = told_stream(0);
    s = coir_stream_timeout(s, COIR_SEC(KIT_PATIENCE_S));
    COIR_TIMEOUT(COIR_MS(1))
        EXPECT_FAILS(coir_stream_next(s, &value), ETIMEDOUT);
    s = coir_stream_timeout(s, COIR_MS(1)); /* around the long one */
    EXPECT_FAILS(coir_stream_next(s, &value), ETIME);
    s = coir_stream_timeout(s, COIR_SEC(KIT_PATIENCE_S)); /* and a long one around it */
    EXPECT_FAILS(coir_stream_next(s, &value), ETIME);
    int64_t now_ns = coir_now();
    EXPECT_EQ(coir_deadline_passed(), 0);
    COIR_TIMEOUT(COIR_SEC(KIT_PATIENCE_S)) {
        EXPECT_FAILS(coir_stream_next(s, &value), ETIME);
        EXPECT(coir_deadline() >= now_ns + COIR_SEC(KIT_PATIENCE_S)); /* as it was before */
    }
    told = 1;
    while (coir_stream_next(s, &value) != 1)
        EXPECT_EQ(errno, ETIME);
    coir_stream_free(s);
}

static void the_callers_own_deadline_is_etimedout(void **state)
{
    (void)state;
    run_everywhere(whose_limit);
}

static void sources_error(void *arg)
{
    struct source source = { .count = 1, .err = ETIMEDOUT };
    (void)arg;
    coir_stream *s = coir_stream_timeout(stream_of(&source), COIR_SEC(KIT_PATIENCE_S));
    expect_ints(s, 1, 0, 1);
    expect_failed(s, ETIMEDOUT);
    coir_stream_free(s);
}

static void a_source_that_failed_with_etimedout_is_not_late(void **state)
{
    (void)state;
    run_everywhere(sources_error);
}

static void no_wait(void *arg)
{
    int value;
    (void)arg;
    coir_stream *s = coir_stream_timeout(told_stream(0), 0);
    EXPECT_FAILS(coir_stream_next(s, &value), ETIME);
    told = 3;
    EXPECT(KIT_UNTIL(emitted == 3));
    expect_ints(s, 3, 0, 1);
    EXPECT_FAILS(coir_stream_next(s, &value), ETIME);
    coir_stream_free(s);
}

static void a_limit_of_0_gets_what_is_there(void **state)
{
    (void)state;
    run_everywhere(no_wait);
}

/* Through all that may stand around it. */
static void etime_through(void *arg)
{
    (void)arg;
    for (int i = 0; i < 7; i++) {
        struct source other = { .count = i == 6 ? 0 : -1 };
        int value;
        coir_chunk chunk;
        coir_stream *s = told_stream(0);
        s = coir_stream_timeout(s, COIR_MS(1));
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
            s = coir_stream_zip(stream_of(&other), s, sizeof(int), sum, NULL);
            break;
        case 4:
            s = coir_stream_throttle(s, 1);
            break;
        case 5:
            s = coir_stream_chunks(s, 2, COIR_NEVER);
            break;
        default:
            s = coir_stream_merge(stream_of(&other), s);
        }
        void *elem = i == 5 ? (void *)&chunk : &value;
        EXPECT_FAILS(coir_stream_next(s, elem), ETIME);
        EXPECT_FAILS(coir_stream_next(s, elem), ETIME);
        told = 2;
        while (coir_stream_next(s, elem) != 1)
            if (!EXPECT_EQ(errno, ETIME))
                break;
        EXPECT_EQ(i == 5 ? *(int *)chunk.items : value, 0);
        coir_stream_free(s);
    }
}

static void etime_passes_through_every_combinator(void **state)
{
    (void)state;
    run_everywhere(etime_through);
}

static void spaced(void *arg)
{
    enum { N = 6 };
    struct source source = { .count = N };
    int64_t last_ns = 0;
    int value;
    (void)arg;
    coir_stream *s = coir_stream_throttle(stream_of(&source), COIR_MS(2));
    for (int i = 0; i < N; i++) {
        if (i == 3)
            COIR_TIMEOUT(COIR_US(100)) {
                int got = coir_stream_next(s, &value);
                EXPECT(got < 0 && errno == ETIMEDOUT);
            }
        EXPECT_EQ(coir_stream_next(s, &value), 1);
        EXPECT_EQ(value, i);
        int64_t now_ns = coir_now();
        EXPECT(now_ns - last_ns >= COIR_MS(2));
        last_ns = now_ns;
    }
    expect_end(s);
    coir_stream_free(s);
}

static void throttle_keeps_its_distance(void **state)
{
    (void)state;
    run_everywhere(spaced);
}

/* The next chunk has count elements, the first of them first. */
static void expect_chunk(coir_stream *s, size_t count, int first)
{
    coir_chunk chunk = { 0 };
    if (!EXPECT_EQ(coir_stream_next(s, &chunk), 1) || !EXPECT_EQ(chunk.count, count))
        return;
    for (size_t i = 0; i < count; i++)
        EXPECT_EQ(((int *)chunk.items)[i], first + (int)i);
}

static void chunked(void *arg)
{
    struct source source = { .count = 10 }, even = { .count = 6 };
    struct source failing = { .count = 5, .err = EDOM };
    (void)arg;
    coir_stream *s = coir_stream_chunks(stream_of(&source), 4, COIR_NEVER);
    expect_chunk(s, 4, 0);
    expect_chunk(s, 4, 4);
    expect_chunk(s, 2, 8);
    expect_end(s);
    coir_stream_free(s);
    s = coir_stream_chunks(stream_of(&even), 3, -1);
    expect_chunk(s, 3, 0);
    expect_chunk(s, 3, 3);
    expect_end(s);
    coir_stream_free(s);
    s = coir_stream_chunks(stream_of(&failing), 3, COIR_NEVER);
    expect_chunk(s, 3, 0);
    expect_chunk(s, 2, 3);
    expect_failed(s, EDOM);
    coir_stream_free(s);
}

static void chunks_are_full_but_the_last_before_an_end_or_error(void **state)
{
    (void)state;
    run_everywhere(chunked);
}

static void timed_chunks(void *arg)
{
    coir_chunk chunk;
    (void)arg;
    for (int i = 0; i < 2; i++) {
        coir_stream *s = coir_stream_chunks(told_stream(3), 5, i ? COIR_MS(1) : 0);
        COIR_TIMEOUT(-1)
            EXPECT_FAILS(coir_stream_next(s, &chunk), ETIMEDOUT);
        int got = 0;
        while (got < 3 && EXPECT_EQ(coir_stream_next(s, &chunk), 1)) {
            EXPECT_EQ(*(int *)chunk.items, got);
            got += (int)chunk.count;
        }
        EXPECT_EQ(got, 3);
        COIR_TIMEOUT(COIR_MS(5))
            EXPECT_FAILS(coir_stream_next(s, &chunk), ETIMEDOUT); /* it waits for a first */
        told = 9;
        EXPECT(KIT_UNTIL(emitted == 9));
        expect_chunk(s, 5, 3); /* all there already */
        expect_chunk(s, 1, 8);
        coir_stream_free(s);
    }
}

static void a_chunk_goes_out_when_its_time_has_come(void **state)
{
    (void)state;
    run_everywhere(timed_chunks);
}

/* A deadline in the middle of a chunk, and an ETIME. */
static void interrupted_chunks(void *arg)
{
    coir_chunk chunk;
    (void)arg;
    coir_stream *s = told_stream(2);
    s = coir_stream_chunks(s, 3, COIR_NEVER);
    COIR_TIMEOUT(COIR_MS(20))
        EXPECT_FAILS(coir_stream_next(s, &chunk), ETIMEDOUT);
    told = 3;
    expect_chunk(s, 3, 0);
    coir_stream_free(s);

    s = coir_stream_chunks(coir_stream_timeout(told_stream(2), COIR_MS(2)), 3, COIR_NEVER);
    for (int got = 0; got < 2;) { /* before the error, which is not forgotten */
        int result = coir_stream_next(s, &chunk);
        EXPECT(result == 1 || errno == ETIME);
        got += result == 1 ? (int)chunk.count : 0;
    }
    EXPECT_FAILS(coir_stream_next(s, &chunk), ETIME);
    told = 5;
    EXPECT(KIT_UNTIL(emitted == 5));
    expect_chunk(s, 3, 2);
    coir_stream_free(s);
}

static void a_deadline_in_the_middle_of_a_chunk_loses_nothing(void **state)
{
    (void)state;
    run_everywhere(interrupted_chunks);
}

static _Atomic int drops;

static void drop(void *elem)
{
    drops += 1 << *(int *)elem;
}

static void half_a_chunk(void *arg)
{
    coir_chunk chunk;
    (void)arg;
    drops = 0;
    coir_stream *s = told_stream(3);
    coir_stream_on_drop(s, drop);
    s = coir_stream_chunks(coir_stream_chunks(s, 2, COIR_NEVER), 3, COIR_NEVER);
    COIR_TIMEOUT(COIR_MS(1))
        EXPECT_FAILS(coir_stream_next(s, &chunk), ETIMEDOUT);
    EXPECT(KIT_UNTIL(emitted == 3));
    coir_stream_free(s);
    EXPECT_EQ(drops, 7);
}

static void what_is_in_half_a_chunk_is_dropped(void **state)
{
    (void)state;
    run_everywhere(half_a_chunk);
}

/* Letters after 1 or 3 time units, with a limit of 2, merged with a counter, mapped, throttled, and
 * the first twenty taken. */
static int letters(coir_stream *s, void *arg)
{
    (void)arg;
    generators++;
    int result = 0;
    for (int i = 0; i < 10 && result == 0; i++) {
        coir_sleep(COIR_MS(i % 2 ? 9 : 3));
        int letter = 'a' + i;
        result = coir_stream_emit(s, &letter);
    }
    generators--;
    return result;
}

static void a_whole_scene(void *arg)
{
    struct source counter = { .count = -1, .pause_ns = COIR_US(100) };
    int value, got, elements = 0;
    (void)arg;
    coir_stream *a = coir_stream_timeout(coir_stream_new(sizeof(int), letters, NULL), COIR_MS(6));
    coir_stream *b = coir_stream_map(stream_of(&counter), sizeof(int), twice, NULL);
    b = coir_stream_timeout(coir_stream_throttle(b, COIR_MS(1)), COIR_SEC(KIT_PATIENCE_S));
    coir_stream *s = coir_stream_take(coir_stream_merge(a, b), 20);
    while ((got = coir_stream_next(s, &value)) == 1 || (got < 0 && errno == ETIME)) {
        elements += got == 1;
    }
    EXPECT_EQ(got, 0);
    EXPECT_EQ(elements, 20);
    coir_stream_free(s);
    EXPECT_EQ(generators, 0);
    EXPECT_EQ(counter.ended, 1);
}

static void letters_and_counters_merged_and_throttled_end_cleanly(void **state)
{
    (void)state;
    run_everywhere(a_whole_scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_element_is_etime_and_then_what_next_gets),
        cmocka_unit_test(the_callers_own_deadline_is_etimedout),
        cmocka_unit_test(a_source_that_failed_with_etimedout_is_not_late),
        cmocka_unit_test(a_limit_of_0_gets_what_is_there),
        cmocka_unit_test(etime_passes_through_every_combinator),
        cmocka_unit_test(throttle_keeps_its_distance),
        cmocka_unit_test(chunks_are_full_but_the_last_before_an_end_or_error),
        cmocka_unit_test(a_chunk_goes_out_when_its_time_has_come),
        cmocka_unit_test(a_deadline_in_the_middle_of_a_chunk_loses_nothing),
        cmocka_unit_test(what_is_in_half_a_chunk_is_dropped),
        cmocka_unit_test(letters_and_counters_merged_and_throttled_end_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
