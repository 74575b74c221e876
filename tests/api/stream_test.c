/* tests/api/stream_test.c - what generators and their streams promise.
 * SPDX-License-Identifier: MIT
 *
 * Method: each test runs as a fiber with 1, 2 and 4 workers, and most on a plain thread as well. */
#include "stream_kit.h"

static void all_elements(void *arg)
{
    (void)arg;
    for (size_t buffer = 0; buffer < 8; buffer += 1 + buffer) {
        struct source source = { .count = 100, .first = 5 };
        coir_stream *s = coir_stream_new_with(NULL, sizeof(int), buffer, generate, &source);
        EXPECT_EQ(source.started, 0);
        expect_ints(s, 100, 5, 1);
        expect_end(s);
        EXPECT_EQ(source.started, 1);
        EXPECT_EQ(source.emitted, 100);
        errno = 77;
        coir_stream_free(s);
        EXPECT_EQ(errno, 77);
        EXPECT_EQ(source.ended, 1);
    }
}

static void a_stream_gives_what_its_generator_emits_in_order(void **state)
{
    (void)state;
    run_everywhere(all_elements);
}

static void failing(void *arg)
{
    (void)arg;
    for (size_t buffer = 0; buffer < 8; buffer += 1 + buffer) {
        struct source source = { .count = 4, .err = EPROTO };
        coir_stream *s = coir_stream_new_with(NULL, sizeof(int), buffer, generate, &source);
        expect_ints(s, 4, 0, 1);
        expect_failed(s, EPROTO);
        coir_stream_free(s);
    }
}

static int fail_without_errno(coir_stream *s, void *arg)
{
    (void)s;
    (void)arg;
    errno = 0;
    return -1;
}

static void failing_for_no_reason(void *arg)
{
    coir_stream *s = coir_stream_new(sizeof(int), fail_without_errno, arg);
    expect_failed(s, EIO);
    coir_stream_free(s);
}

static void a_generators_failure_comes_after_its_elements_and_is_sticky(void **state)
{
    (void)state;
    run_everywhere(failing);
    run_everywhere(failing_for_no_reason);
}

/* As many as the buffer has room for, and those that next has taken. */
static void pressure(void *arg)
{
    (void)arg;
    for (size_t buffer = 0; buffer < 5; buffer++) {
        struct source source = { .count = -1 };
        coir_stream *s = coir_stream_new_with(NULL, sizeof(int), buffer, generate, &source);
        expect_ints(s, 1, 0, 1);
        EXPECT(KIT_UNTIL(source.emitted == (int)buffer + 1));
        for (int i = 0; i < 20; i++)
            kit_pause();
        EXPECT_EQ(source.emitted, buffer + 1);
        expect_ints(s, 1, 1, 1);
        EXPECT(KIT_UNTIL(source.emitted == (int)buffer + 2));
        coir_stream_free(s);
        EXPECT_EQ(source.refused, ECANCELED);
        EXPECT_EQ(source.ended, 1);
    }
}

static void emit_waits_while_the_buffer_is_full(void **state)
{
    (void)state;
    run_everywhere(pressure);
}

/* Owns what arg points at. */
static int free_arg(coir_stream *s, void *arg)
{
    int value = 0;
    EXPECT_FAILS(coir_stream_emit(s, &value), ECANCELED);
    COIR_SHIELD(COIR_NEVER)
        EXPECT_FAILS(coir_stream_emit(s, &value), ECANCELED);
    free(arg);
    return -1;
}

static void never_read(void *arg)
{
    struct source source = { .count = -1 };
    (void)arg;
    coir_stream *s = coir_stream_new(16, free_arg, malloc(100));
    coir_stream_free(s);
    s = stream_of(&source);
    coir_stream_free(s);
    EXPECT_EQ(source.started, 1);
    EXPECT_EQ(source.ended, 1);
    EXPECT_EQ(source.emitted, 0);
    EXPECT_EQ(source.refused, ECANCELED);
    coir_stream_free(NULL);
}

static void a_generator_runs_even_if_nobody_reads(void **state)
{
    (void)state;
    run_everywhere(never_read);
}

/* Takes its time when it is cancelled; counts on the consumer's stack. */
static int end_slowly(coir_stream *s, void *arg)
{
    _Atomic int *ended = arg;
    int value = 1;
    while (coir_stream_emit(s, &value) == 0)
        ;
    COIR_SHIELD(COIR_NEVER) {
        for (int i = 0; i < 5; i++)
            coir_yield();
        coir_sleep(COIR_MS(2));
    }
    ++*ended;
    return -1;
}

static void *free_cancelled(void *arg)
{
    _Atomic int ended = 0;
    int value;
    coir_stream *s = coir_stream_new(sizeof(int), end_slowly, &ended);
    EXPECT_EQ(coir_stream_next(s, &value), 1);
    *(_Atomic int *)arg = 1;
    EXPECT(KIT_UNTIL(coir_check() < 0));
    EXPECT_FAILS(coir_stream_next(s, &value), ECANCELED);
    coir_stream_free(s);
    EXPECT_EQ(ended, 1);
    return NULL;
}

static void half_read(void *arg)
{
    _Atomic int ended = 0, reading = 0;
    int value;
    (void)arg;
    coir_stream *s = coir_stream_new(sizeof(int), end_slowly, &ended);
    EXPECT_EQ(coir_stream_next(s, &value), 1);
    coir_stream_free(s);
    EXPECT_EQ(ended, 1);
    coir_fiber *fiber = spawn_apart(free_cancelled, &reading);
    EXPECT(KIT_UNTIL(reading));
    coir_cancel(fiber);
    EXPECT_EQ(coir_join(fiber, NULL), 0);
    s = coir_stream_new(sizeof(int), end_slowly, &ended);
    EXPECT_EQ(coir_stream_next(s, &value), 1);
    COIR_TIMEOUT(-1)
        coir_stream_free(s);
    EXPECT_EQ(ended, 2);
}

static void freeing_returns_when_the_generator_has_ended(void **state)
{
    (void)state;
    run_everywhere(half_read);
}

/* An element is not lost by a next that was stopped. */
static void *next_once(void *arg)
{
    int value = -1;
    int got = coir_stream_next(arg, &value);
    return got == 1 ? (void *)(intptr_t)(value + 1) : COIR_FAILED;
}

static int emit_when_told(coir_stream *s, void *arg)
{
    _Atomic int *go = arg;
    for (int i = 0; i < 3; i++) {
        if (!KIT_UNTIL(*go > i) || coir_stream_emit(s, &i) < 0)
            return -1;
    }
    return 0;
}

static void stopped_next(void *arg)
{
    _Atomic int go = 0;
    int value;
    (void)arg;
    coir_stream *s = coir_stream_new(sizeof(int), emit_when_told, &go);
    COIR_TIMEOUT(COIR_MS(1))
        EXPECT_FAILS(coir_stream_next(s, &value), ETIMEDOUT);
    coir_fiber *fiber = spawn_apart(next_once, s);
    coir_cancel(fiber);
    void *result = NULL;
    int joined = coir_join(fiber, &result);
    EXPECT(joined < 0 && errno == ECANCELED);
    go = 3;
    expect_ints(s, 3, 0, 1);
    expect_end(s);
    coir_stream_free(s);
}

static void a_next_that_is_stopped_loses_nothing(void **state)
{
    (void)state;
    run_everywhere(stopped_next);
}

static void second_consumer(void *arg)
{
    _Atomic int go = 0;
    int value;
    (void)arg;
    coir_stream *s = coir_stream_new(sizeof(int), emit_when_told, &go);
    coir_fiber *fiber = spawn_apart(next_once, s);
    until_parked(fiber);
    EXPECT_FAILS(coir_stream_next(s, &value), EBUSY);
    go = 3;
    EXPECT_EQ(coir_join(fiber, NULL), 0);
    expect_ints(s, 2, 1, 1);
    coir_stream_free(s);
}

static void a_second_consumer_at_a_time_is_told(void **state)
{
    (void)state;
    run_everywhere(second_consumer);
}

static void wrong_calls(void *arg)
{
    const coir_attr wrong = { .reserved = { 1 } };
    struct source source = { .count = 1 };
    int value = 1;
    (void)arg;
    EXPECT(!coir_stream_new(4, NULL, NULL) && errno == EINVAL);
    EXPECT(!coir_stream_new_with(&wrong, 4, 1, generate, &source) && errno == EINVAL);
    EXPECT(!coir_stream_new_with(NULL, SIZE_MAX / 2, 4, generate, &source) && errno == ENOMEM);
    EXPECT_FAILS(coir_stream_next(NULL, &value), EINVAL);
    EXPECT_FAILS(coir_stream_emit(NULL, &value), EINVAL);
    coir_stream *s = coir_stream_map(stream_of(&source), sizeof(int), twice, NULL);
    EXPECT_FAILS(coir_stream_next(s, NULL), EINVAL);
    EXPECT_FAILS(coir_stream_emit(s, &value), EINVAL);
    coir_stream_on_drop(NULL, free);
    coir_stream_free(s);
    EXPECT_EQ(source.started, 1); /* those that were not made have not run */
}

static void mistakes_are_told(void **state)
{
    (void)state;
    run_everywhere(wrong_calls);
}

/* Elements without bytes. */
static int signal_thrice(coir_stream *s, void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++)
        if (coir_stream_emit(s, NULL) < 0)
            return -1;
    return 0;
}

static int keep_all(const void *elem, void *arg)
{
    (void)elem;
    (void)arg;
    return 1;
}

static void pure_signals(void *arg)
{
    coir_stream *s = coir_stream_filter(coir_stream_new(0, signal_thrice, arg), keep_all, NULL);
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(coir_stream_next(s, NULL), 1);
    EXPECT_EQ(coir_stream_next(s, NULL), 0);
    coir_stream_free(s);
}

static void elements_may_have_no_bytes(void **state)
{
    (void)state;
    run_everywhere(pure_signals);
}

/* What a generator finds. */
struct found {
    int64_t deadline_ns;
    char name[20];
};

static int look_around(coir_stream *s, void *arg)
{
    struct found *found = arg;
    (void)s;
    found->deadline_ns = coir_deadline();
    strncpy(found->name, coir_name(), sizeof found->name - 1);
    return 0;
}

static struct found what_is_found(const coir_attr *attr)
{
    struct found found = { 0 };
    coir_stream *s = coir_stream_new_with(attr, 1, 1, look_around, &found);
    COIR_TIMEOUT(COIR_SEC(500)) /* the deadline of the first next is not the generator's */
        EXPECT_EQ(coir_stream_next(s, &(char){ 0 }), 0);
    coir_stream_free(s);
    return found;
}

static void beginnings(void *arg)
{
    char name[] = "of a stream";
    coir_attr named = { .name = name }, detached = { .flags = COIR_DETACHED };
    coir_attr bounded = { .deadline_ns = coir_after(COIR_SEC(900)) };
    (void)arg;
    int64_t far_ns = coir_after(COIR_SEC(1000)), before_ns = coir_deadline_set(far_ns);
    EXPECT_EQ(what_is_found(NULL).deadline_ns, far_ns);
    EXPECT_EQ(what_is_found(&named).deadline_ns, far_ns);
    EXPECT_EQ(strcmp(what_is_found(&named).name, name), 0);
    EXPECT_EQ(what_is_found(&bounded).deadline_ns, bounded.deadline_ns);
    EXPECT_EQ(what_is_found(&detached).deadline_ns, COIR_NEVER);
    coir_deadline_set(before_ns);
}

static void a_generator_has_the_deadline_of_its_streams_maker(void **state)
{
    (void)state;
    run_everywhere(beginnings);
}

/* A deadline that the generator has inherited ends it, and is then the stream's error. */
static int sleep_on(coir_stream *s, void *arg)
{
    (void)s;
    (void)arg;
    return coir_sleep(COIR_SEC(KIT_PATIENCE_S));
}

static void inherited(void *arg)
{
    coir_stream *s = NULL;
    COIR_TIMEOUT(COIR_MS(1))
        s = coir_stream_new(4, sleep_on, arg);
    expect_failed(s, ETIMEDOUT);
    coir_stream_free(s);
}

static void a_generators_deadline_is_its_streams_error(void **state)
{
    (void)state;
    run_everywhere(inherited);
}

/* Forgotten streams do not hold up the end. */
static coir_stream *forgotten;

static void forget(void *arg)
{
    int value;
    forgotten = stream_of(arg);
    EXPECT_EQ(coir_stream_next(forgotten, &value), 1);
}

static void coir_run_ends_the_generators_that_are_left(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct source source = { .count = -1 };
        assert_int_equal(fiber_test_run(*w, forget, &source), 0);
        assert_no_findings();
        assert_int_equal(source.refused, ECANCELED);
        assert_int_equal(source.ended, 1);
        coir_stream_free(forgotten);
    }
}

/* Drops are counted by value. */
enum { VALUES = 64 };
static _Atomic int dropped[VALUES];

static void drop(void *elem)
{
    dropped[*(int *)elem]++;
}

static int drops(int from, int to)
{
    int n = 0;
    for (int i = from; i < to; i++)
        n += dropped[i] == 1;
    return n;
}

static void drop_rest(void *arg)
{
    struct source source = { .count = VALUES };
    (void)arg;
    memset((void *)dropped, 0, sizeof dropped);
    coir_stream *s = coir_stream_new_with(NULL, sizeof(int), 8, generate, &source);
    coir_stream_on_drop(s, drop);
    expect_ints(s, 5, 0, 1);
    EXPECT(KIT_UNTIL(source.emitted == 13));
    coir_stream_free(s);
    EXPECT_EQ(drops(0, VALUES), 8);
    EXPECT_EQ(drops(5, 13), 8); /* those that were buffered; the refused one is the generator's */
}

static void elements_that_nobody_receives_are_dropped_once(void **state)
{
    (void)state;
    run_everywhere(drop_rest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_gives_what_its_generator_emits_in_order),
        cmocka_unit_test(a_generators_failure_comes_after_its_elements_and_is_sticky),
        cmocka_unit_test(emit_waits_while_the_buffer_is_full),
        cmocka_unit_test(a_generator_runs_even_if_nobody_reads),
        cmocka_unit_test(freeing_returns_when_the_generator_has_ended),
        cmocka_unit_test(a_next_that_is_stopped_loses_nothing),
        cmocka_unit_test(a_second_consumer_at_a_time_is_told),
        cmocka_unit_test(mistakes_are_told),
        cmocka_unit_test(elements_may_have_no_bytes),
        cmocka_unit_test(a_generator_has_the_deadline_of_its_streams_maker),
        cmocka_unit_test(a_generators_deadline_is_its_streams_error),
        cmocka_unit_test(coir_run_ends_the_generators_that_are_left),
        cmocka_unit_test(elements_that_nobody_receives_are_dropped_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
