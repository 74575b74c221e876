/* tests/sync/future_many_test.c - waiting for all of many futures, for the first, and races.
 * SPDX-License-Identifier: MIT */
#include "future_kit.h"
#include "support/fail_alloc.h"

enum { MANY = 40 };

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

static void *fail_with(void *arg)
{
    coir_yield();
    return coir_fail((int)(intptr_t)arg);
}

static void *sleep_on(void *arg)
{
    return coir_sleep(COIR_SEC(KIT_PATIENCE_S)) < 0 ? COIR_FAILED : arg;
}

static coir_future *set_to(void *value)
{
    coir_future *f = coir_future_new();
    EXPECT_EQ(coir_future_set(f, value), 0);
    return f;
}

static void all(void *arg)
{
    coir_future *f[MANY];
    void *values[MANY] = { 0 };
    (void)arg;
    for (int i = 0; i < MANY; i++)
        f[i] = async_apart(i % 2 ? give : give_later, as_pointer(i + 1));
    EXPECT_EQ(coir_await_all(f, MANY, values), 0);
    for (int i = 0; i < MANY; i++)
        EXPECT_EQ(values[i], i + 1);
    EXPECT_EQ(coir_await_all(f, MANY, NULL), 0);
    EXPECT_EQ(coir_await_all(NULL, 0, NULL), 0);
    coir_future_free_all(f, MANY);
    EXPECT_FAILS(coir_await_all(f, 2, values), EINVAL); /* they are NULL now */
}

static void await_all_gives_all_values(void **state)
{
    (void)state;
    run_everywhere(all);
}

static void all_but_some(void *arg)
{
    coir_future *slow = coir_future_new();
    coir_future *f[] = { set_to(&drops[0]), slow, coir_async(fail_with, as_pointer(ENOTDIR)),
                         coir_async(fail_with, as_pointer(EISDIR)) };
    void *values[4] = { 0 };
    (void)arg;
    no_drops();
    COIR_TIMEOUT(COIR_MS(1))
        EXPECT_FAILS(coir_await_all(f, 4, values), ETIMEDOUT); /* one has failed, one is not done */
    EXPECT_EQ(coir_future_set(slow, &drops[1]), 0);
    EXPECT_FAILS(coir_await_all(f, 4, values), ENOTDIR);
    EXPECT(!values[0] && !values[1] && !values[2] && !values[3]);
    coir_future_on_drop(f[0], drop);
    coir_future_on_drop(f[1], drop);
    coir_future_free_all(f, 4);
    EXPECT(drops[0] == 1 && drops[1] == 1);
}

static void await_all_waits_for_all_then_fails_with_the_first_in_the_row(void **state)
{
    (void)state;
    run_everywhere(all_but_some);
}

static void any_done(void *arg)
{
    void *value = as_pointer(1);
    coir_future *never = coir_future_new();
    coir_future *f[] = { never, set_to(as_pointer(6)), set_to(as_pointer(7)) };
    coir_future *failed[] = { never, coir_async(fail_with, as_pointer(EIO)) };
    coir_future *none[] = { never, NULL };
    (void)arg;
    EXPECT_EQ(coir_await_any(f, 3, &value), 1);
    EXPECT_EQ(value, 6);
    EXPECT_EQ(coir_await_any(f, 3, NULL), 1);
    EXPECT_EQ(coir_await_any(failed, 2, &value), 1);
    EXPECT_EQ(value, NULL);
    EXPECT_EQ(coir_future_error(failed[1]), EIO);
    EXPECT_FAILS(coir_await_any(f, 0, &value), EINVAL);
    EXPECT_FAILS(coir_race(f, 0, &value), EINVAL);
    EXPECT_FAILS(coir_await_any(none, 2, &value), EINVAL);
    EXPECT_FAILS(coir_race(none, 2, &value), EINVAL);
    COIR_TIMEOUT(COIR_MS(1))
        EXPECT_FAILS(coir_await_any(f, 1, &value), ETIMEDOUT);
    coir_future_free(failed[1]);
    coir_future_free_all(f, 3);
}

static void await_any_gives_the_first_also_when_it_failed(void **state)
{
    (void)state;
    run_everywhere(any_done);
}

struct any {
    coir_future *const *futures;
    size_t n;
    int first;
    void *value;
};

static void *wait_for_any(void *arg)
{
    struct any *any = arg;
    any->first = coir_await_any(any->futures, any->n, &any->value);
    return any->first < 0 ? COIR_FAILED : NULL;
}

/* n promises, of which one is set while two wait for any of them. */
static void any_of(size_t n, size_t which)
{
    coir_future *f[MANY];
    for (size_t i = 0; i < n; i++)
        f[i] = coir_future_new();
    struct any any[2] = { { .futures = f, .n = n }, { .futures = f, .n = n } };
    coir_fiber *fibers[2];
    for (int i = 0; i < 2; i++)
        until_parked(fibers[i] = spawn_apart(wait_for_any, &any[i]));
    EXPECT_EQ(coir_future_set(f[which], &f[which]), 0);
    for (int i = 0; i < 2; i++) {
        EXPECT_EQ(coir_join(fibers[i], NULL), 0);
        EXPECT_EQ(any[i].first, which);
        EXPECT_EQ(any[i].value, &f[which]);
    }
    for (size_t i = 0; i < n; i++)
        EXPECT_EQ(coir_future_set(f[i], NULL), i == which ? -1 : 0); /* nobody is on its list */
    coir_future_free_all(f, n);
}

static void any_waits(void *arg)
{
    const size_t some[] = { 1, 2, 8, 9, MANY };
    (void)arg;
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        any_of(some[i], 0);
        any_of(some[i], some[i] / 2);
        any_of(some[i], some[i] - 1);
    }
}

static void await_any_waits_for_any_number_of_futures(void **state)
{
    (void)state;
    run_everywhere(any_waits);
}

/* One future in all places, and the caller's own failure. */
static void the_same(void *arg)
{
    coir_future *f = coir_future_new(), *row[] = { f, f, f };
    struct any any = { .futures = row, .n = 3 };
    (void)arg;
    coir_fiber *fiber = spawn_apart(wait_for_any, &any);
    until_parked(fiber);
    coir_cancel(fiber);
    EXPECT_FAILS(coir_join(fiber, NULL), ECANCELED);
    fiber = spawn_apart(wait_for_any, &any);
    until_parked(fiber);
    EXPECT_EQ(coir_future_fail(f, EIO), 0);
    EXPECT_EQ(coir_join(fiber, NULL), 0);
    EXPECT_EQ(any.first, 0);
    EXPECT_EQ(any.value, NULL);
    coir_future_free(f);
}

static void a_future_may_be_in_the_row_more_than_once(void **state)
{
    (void)state;
    run_everywhere(the_same);
}

static void no_room(void *arg)
{
    coir_future *f[MANY];
    (void)arg;
    for (int i = 0; i < MANY; i++)
        f[i] = coir_future_new();
    fail_alloc = 1;
    int result = coir_await_any(f, MANY, NULL), err = errno;
    EXPECT_EQ(fail_alloc, 0);
    EXPECT_EQ(result, -1);
    EXPECT_EQ(err, ENOMEM);
    coir_future_free_all(f, MANY);
}

static void no_future(void *arg)
{
    (void)arg;
    fail_alloc = 1;
    EXPECT(!coir_future_new() && errno == ENOMEM);
    fail_alloc = 1;
    EXPECT(!coir_async(give, NULL) && errno == ENOMEM);
    EXPECT_EQ(fail_alloc, 0);
}

static void calls_that_allocate_say_when_memory_runs_out(void **state)
{
    (void)state;
    if (!FAIL_ALLOC_WORKS)
        skip();
    run_everywhere(no_room);
    run_everywhere(no_future);
}

struct loser {
    _Atomic bool runs, saw_cancel, ended;
};

static void *lose(void *arg)
{
    struct loser *l = arg;
    l->runs = true;
    l->saw_cancel = coir_sleep(COIR_SEC(KIT_PATIENCE_S)) < 0 && errno == ECANCELED;
    COIR_SHIELD(COIR_NEVER)
        coir_sleep(COIR_MS(2));
    l->ended = true;
    return l;
}

static void race(void *arg)
{
    struct loser losers[2] = { 0 };
    void *value = NULL;
    (void)arg;
    coir_future *promise = coir_future_new();
    coir_attr detached = { .flags = COIR_DETACHED };
    coir_future *f[] = { async_apart(lose, &losers[0]), promise,
                         coir_async(give_later, as_pointer(5)),
                         coir_async_with(&detached, lose, &losers[1]) };
    EXPECT_EQ(coir_race(f, 4, &value), 2);
    EXPECT_EQ(value, 5);
    for (int i = 0; i < 2; i++)
        EXPECT(losers[i].runs && losers[i].saw_cancel && losers[i].ended);
    EXPECT_EQ(coir_future_error(promise), EINPROGRESS);
    EXPECT_EQ(coir_future_set(promise, NULL), 0);
    EXPECT_EQ(coir_future_error(f[0]), 0); /* it succeeded in the end */
    coir_future_free_all(f, 4);
}

static void a_race_cancels_the_losers_and_waits_for_their_end(void **state)
{
    (void)state;
    run_everywhere(race);
}

/* Its caller is cancelled while it waits for the losers. */
static void *race_cancelled(void *arg)
{
    struct loser *loser = arg;
    coir_future *f[] = { coir_async(lose, loser), coir_async(give_later, loser) };
    EXPECT(KIT_UNTIL(coir_future_error(f[1]) == 0 && loser->runs));
    COIR_SHIELD(COIR_NEVER) /* to get as far as that */
        EXPECT_EQ(coir_race(f, 2, NULL), 1);
    EXPECT(loser->ended);
    EXPECT_FAILS(coir_race(f, 2, NULL), ECANCELED);
    coir_future_free_all(f, 2);
    return NULL;
}

static void *race_failing(void *arg)
{
    struct loser *loser = arg;
    coir_future *f[] = { coir_async(lose, loser), coir_future_new() };
    EXPECT_FAILS(coir_race(f, 2, NULL), ECANCELED);
    EXPECT_EQ(coir_future_error(f[0]), EINPROGRESS); /* nothing was cancelled */
    EXPECT(!loser->saw_cancel && !loser->ended);
    coir_future_free_all(f, 2);
    EXPECT(loser->saw_cancel && loser->ended);
    return NULL;
}

static void race_and_cancel(void *arg)
{
    struct loser losers[2] = { 0 };
    (void)arg;
    coir_fiber *fiber = spawn_apart(race_cancelled, &losers[0]);
    coir_cancel(fiber);
    EXPECT_EQ(coir_join(fiber, NULL), 0);
    fiber = spawn_apart(race_failing, &losers[1]);
    until_parked(fiber);
    EXPECT(KIT_UNTIL(losers[1].runs));
    coir_cancel(fiber);
    EXPECT_EQ(coir_join(fiber, NULL), 0);
}

static void a_race_that_fails_cancels_nobody(void **state)
{
    (void)state;
    run_everywhere(race_and_cancel);
}

/* A timeout made of a race and a sleep. */
static void *sleep_for(void *arg)
{
    return coir_sleep((int64_t)(intptr_t)arg) < 0 ? COIR_FAILED : arg;
}

static void timeout(void *arg)
{
    (void)arg;
    coir_future *f[] = { coir_async(sleep_on, NULL), coir_async(sleep_for, as_pointer(1000000)) };
    EXPECT_EQ(coir_race(f, 2, NULL), 1);
    EXPECT_EQ(coir_future_error(f[0]), ECANCELED);
    coir_future_free_all(f, 2);
}

static void a_race_with_a_sleep_is_a_timeout(void **state)
{
    (void)state;
    run_everywhere(timeout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(await_all_gives_all_values),
        cmocka_unit_test(await_all_waits_for_all_then_fails_with_the_first_in_the_row),
        cmocka_unit_test(await_any_gives_the_first_also_when_it_failed),
        cmocka_unit_test(await_any_waits_for_any_number_of_futures),
        cmocka_unit_test(a_future_may_be_in_the_row_more_than_once),
        cmocka_unit_test(calls_that_allocate_say_when_memory_runs_out),
        cmocka_unit_test(a_race_cancels_the_losers_and_waits_for_their_end),
        cmocka_unit_test(a_race_that_fails_cancels_nobody),
        cmocka_unit_test(a_race_with_a_sleep_is_a_timeout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
