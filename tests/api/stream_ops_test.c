/* tests/api/stream_ops_test.c - map, filter, take and zip, each alone; and what holds for
 * all combinators.
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

static _Atomic int drops[10];

static void drop(void *elem)
{
    drops[*(int *)elem]++;
}

static coir_stream *droppable(struct source *source)
{
    coir_stream *s = coir_stream_new_with(NULL, sizeof(int), 0, generate, source);
    coir_stream_on_drop(s, drop);
    return s;
}

/* What the callback failed at, what has no partner, and what a filter rejects. */
static void not_taken(void *arg)
{
    struct source sources[5] = {
        { .count = 4 }, { .count = 4 }, { .count = 4 }, { .count = 1, .first = 5 }, { .count = 3 }
    };
    struct picky p = { .at = 2, .err = EILSEQ }, q = p, never = { .at = -1 };
    int value;
    (void)arg;
    memset((void *)drops, 0, sizeof drops);
    coir_stream *s = coir_stream_map(droppable(&sources[0]), sizeof(int), fail_at, &p);
    expect_ints(s, 2, 0, 1);
    expect_failed(s, EILSEQ);
    coir_stream_free(s);
    EXPECT(drops[2] == 1 && !drops[0] && !drops[1]);

    s = coir_stream_filter(droppable(&sources[1]), keep_but_fail_at, &q);
    expect_ints(s, 2, 0, 1);
    expect_failed(s, EILSEQ);
    coir_stream_free(s);
    EXPECT(drops[2] == 2 && !drops[0] && !drops[1]);

    s = coir_stream_zip(droppable(&sources[2]), droppable(&sources[3]), sizeof(int),
                        add_but_fail_at, &never);
    expect_ints(s, 1, 5, 1);
    expect_end(s);
    coir_stream_free(s);
    EXPECT(drops[1] == 1 && !drops[0] && !drops[5]);

    struct picky first = { .at = 0, .err = EILSEQ };
    struct source zeros = { .count = 1 };
    s = coir_stream_zip(droppable(&zeros), droppable(&sources[4]), sizeof(int), add_but_fail_at,
                        &first);
    EXPECT_FAILS(coir_stream_next(s, &value), EILSEQ);
    coir_stream_free(s);
    EXPECT_EQ(drops[0], 2); /* of each of them */
}

static void an_element_that_no_callback_took_is_dropped(void **state)
{
    (void)state;
    run_everywhere(not_taken);
}

/* Cancels its own fiber at the tenth element, and wants none. */
static int reject_and_cancel(const void *elem, void *arg)
{
    (void)arg;
    if (*(const int *)elem == 9)
        coir_cancel(coir_self());
    return 0;
}

static void *reject_all(void *arg)
{
    int value;
    coir_stream *s = coir_stream_filter(coir_stream_from_chan(arg), reject_and_cancel, NULL);
    EXPECT_FAILS(coir_stream_next(s, &value), ECANCELED);
    coir_stream_free(s);
    return NULL;
}

static void rejecting(void *arg)
{
    coir_chan *c = coir_chan_new(sizeof(int), 100);
    (void)arg;
    for (int i = 0; i < 100; i++)
        coir_chan_send(c, &i);
    EXPECT_EQ(coir_join(spawn_apart(reject_all, c), NULL), 0);
    EXPECT_EQ(coir_chan_len(c), 90);
    coir_chan_free(c);
}

static void a_filter_that_rejects_all_notices_a_cancel(void **state)
{
    (void)state;
    run_everywhere(rejecting);
}

/* It is cancelled in a shield, in the middle of a pull; then comes a wait without end. */
static int wait_for_cancel(void *out, void *in, void *arg)
{
    *(int *)out = *(int *)in;
    *(_Atomic int *)arg = 1;
    COIR_SHIELD(COIR_NEVER)
        while (*(_Atomic int *)arg != 2)
            coir_sleep(COIR_US(50));
    return 0;
}

static void *pull_both(void *arg)
{
    struct source source = { .count = 1, .first = 7 };
    coir_chan *silent = coir_chan_new(sizeof(int), 0);
    int value;
    coir_stream *a = coir_stream_map(stream_of(&source), sizeof(int), wait_for_cancel, arg);
    coir_stream *s = coir_stream_zip(a, coir_stream_from_chan(silent), sizeof(int), sum, NULL);
    EXPECT_FAILS(coir_stream_next(s, &value), ECANCELED);
    coir_stream_free(s);
    coir_chan_free(silent);
    return NULL;
}

static void cancelled_within(void *arg)
{
    _Atomic int stage = 0;
    (void)arg;
    coir_fiber *fiber = spawn_apart(pull_both, &stage);
    EXPECT(KIT_UNTIL(stage == 1));
    coir_cancel(fiber);
    coir_sleep(COIR_MS(1)); /* its mail has been read */
    stage = 2;
    EXPECT_EQ(coir_join(fiber, NULL), 0);
}

static void a_cancel_in_the_middle_of_a_pull_ends_its_next_wait(void **state)
{
    (void)state;
    run_everywhere(cancelled_within);
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
        cmocka_unit_test(an_element_that_no_callback_took_is_dropped),
        cmocka_unit_test(a_filter_that_rejects_all_notices_a_cancel),
        cmocka_unit_test(a_cancel_in_the_middle_of_a_pull_ends_its_next_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
