/* tests/sync/future_test.c - what each call on a future promises.
 * SPDX-License-Identifier: MIT
 *
 * Method: each test runs as a fiber with 1, 2 and 4 workers, and most on a plain thread as well. */
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

static void *fail_with(void *arg)
{
    coir_yield();
    return coir_fail((int)(intptr_t)arg);
}

static void *fail_without_errno(void *arg)
{
    (void)arg;
    errno = 0;
    return COIR_FAILED;
}

/* Until it is cancelled. */
static void *sleep_on(void *arg)
{
    (void)arg;
    return coir_sleep(COIR_SEC(KIT_PATIENCE_S)) < 0 ? COIR_FAILED : NULL;
}

static void values(void *arg)
{
    void *(*const fns[])(void *) = { give, give_later };
    (void)arg;
    for (int i = 0; i < 2; i++) {
        void *value = NULL;
        coir_future *f = async_apart(fns[i], as_pointer(7 + i));
        EXPECT_EQ(coir_await(f, &value), 0);
        EXPECT_EQ(value, 7 + i);
        value = NULL;
        EXPECT_EQ(coir_await(f, &value), 0);
        EXPECT_EQ(value, 7 + i);
        EXPECT_EQ(coir_await(f, NULL), 0);
        EXPECT_EQ(coir_future_error(f), 0);
        coir_future_free(f);
    }
}

static void awaiting_twice_gives_what_fn_returned_twice(void **state)
{
    (void)state;
    run_everywhere(values);
}

static void failures(void *arg)
{
    void *value = as_pointer(5);
    (void)arg;
    coir_future *f = coir_async(fail_with, as_pointer(ENOENT));
    EXPECT_FAILS(coir_await(f, &value), ENOENT);
    EXPECT_EQ(coir_future_error(f), ENOENT);
    EXPECT_FAILS(coir_await(f, &value), ENOENT);
    EXPECT_EQ(value, 5);
    coir_future_free(f);

    f = coir_async(fail_without_errno, NULL);
    EXPECT_FAILS(coir_await(f, NULL), EIO);
    coir_future_free(f);
    f = coir_async(fail_with, as_pointer(EINPROGRESS)); /* what error says of one not done */
    EXPECT_FAILS(coir_await(f, NULL), EIO);
    coir_future_free(f);
    f = coir_future_new();
    EXPECT_EQ(coir_future_fail(f, EPROTO), 0);
    EXPECT_FAILS(coir_await(f, NULL), EPROTO);
    coir_future_free(f);
}

static void a_future_fails_with_its_fibers_errno(void **state)
{
    (void)state;
    run_everywhere(failures);
}

static void whose_error(void *arg)
{
    (void)arg;
    coir_future *f = coir_future_new();
    COIR_TIMEOUT(COIR_MS(1))
        EXPECT_FAILS(coir_await(f, NULL), ETIMEDOUT);
    EXPECT_EQ(coir_future_error(f), EINPROGRESS);
    EXPECT_EQ(coir_future_fail(f, ETIMEDOUT), 0);
    EXPECT_FAILS(coir_await(f, NULL), ETIMEDOUT);
    EXPECT_EQ(coir_future_error(f), ETIMEDOUT);
    coir_future_free(f);
}

static void error_tells_the_futures_failure_from_the_callers(void **state)
{
    (void)state;
    run_everywhere(whose_error);
}

/* Cancelled, it calls all that wait, on futures that are done. */
static void *call_cancelled(void *arg)
{
    coir_future *f = arg, *two[] = { f, f };
    void *got = as_pointer(3), *both[2] = { NULL, NULL };
    EXPECT(KIT_UNTIL(coir_check() < 0));
    EXPECT_FAILS(coir_await(f, &got), ECANCELED);
    EXPECT_FAILS(coir_await_all(two, 2, both), ECANCELED);
    EXPECT_FAILS(coir_await_any(two, 2, &got), ECANCELED);
    EXPECT_FAILS(coir_race(two, 2, &got), ECANCELED);
    EXPECT_EQ(got, 3);
    EXPECT_EQ(both[0], NULL);
    COIR_SHIELD(COIR_NEVER)
        EXPECT_EQ(coir_await(f, &got), 0);
    EXPECT_EQ(got, 9);
    return NULL;
}

static void checks(void *arg)
{
    coir_future *f = coir_future_new(), *two[] = { f, f };
    (void)arg;
    EXPECT_EQ(coir_future_set(f, as_pointer(9)), 0);
    coir_fiber *fiber = spawn_apart(call_cancelled, f);
    coir_cancel(fiber);
    EXPECT_EQ(coir_join(fiber, NULL), 0);
    COIR_TIMEOUT(-1) {
        EXPECT_FAILS(coir_await(f, NULL), ETIMEDOUT);
        EXPECT_FAILS(coir_await_all(two, 2, NULL), ETIMEDOUT);
        EXPECT_FAILS(coir_await_any(two, 2, NULL), ETIMEDOUT);
    }
    coir_future_free(f);
}

static void calls_that_wait_check_also_when_it_is_done(void **state)
{
    (void)state;
    run_everywhere(checks);
}

static void set_once(void *arg)
{
    void *value = NULL;
    (void)arg;
    coir_future *f = coir_future_new();
    EXPECT_EQ(coir_future_error(f), EINPROGRESS);
    EXPECT_FAILS(coir_future_fail(f, 0), EINVAL);
    EXPECT_FAILS(coir_future_fail(f, EINPROGRESS), EINVAL);
    EXPECT_EQ(coir_future_set(f, as_pointer(1)), 0);
    EXPECT_FAILS(coir_future_set(f, as_pointer(2)), EALREADY);
    EXPECT_FAILS(coir_future_fail(f, EIO), EALREADY);
    EXPECT_EQ(coir_future_cancel(f), 0);
    EXPECT_EQ(coir_await(f, &value), 0);
    EXPECT_EQ(value, 1);
    coir_future_free(f);

    f = coir_async(sleep_on, NULL);
    EXPECT_FAILS(coir_future_set(f, NULL), EINVAL);
    EXPECT_FAILS(coir_future_fail(f, EIO), EINVAL);
    coir_future_free(f);
    EXPECT_FAILS(coir_future_set(NULL, NULL), EINVAL);
    EXPECT_FAILS(coir_future_fail(NULL, EIO), EINVAL);
    EXPECT_FAILS(coir_future_cancel(NULL), EINVAL);
    EXPECT_FAILS(coir_await(NULL, NULL), EINVAL);
    EXPECT(coir_async(NULL, NULL) == NULL && errno == EINVAL);
    EXPECT_EQ(coir_future_ref(NULL), NULL);
    coir_future_free(NULL);
}

static void a_promise_is_set_once_and_an_async_never(void **state)
{
    (void)state;
    run_everywhere(set_once);
}

static void *await_it(void *arg)
{
    return coir_await(arg, NULL) < 0 ? COIR_FAILED : NULL;
}

static void cancelled_promise(void *arg)
{
    (void)arg;
    coir_future *f = coir_future_new();
    coir_fiber *waiter = spawn_apart(await_it, f);
    until_parked(waiter);
    EXPECT_EQ(coir_future_cancel(f), 0);
    EXPECT_FAILS(coir_join(waiter, NULL), ECANCELED);
    EXPECT_EQ(coir_future_error(f), ECANCELED);
    EXPECT_FAILS(coir_future_set(f, as_pointer(1)), ECANCELED);
    EXPECT_FAILS(coir_future_fail(f, EIO), ECANCELED);
    EXPECT_FAILS(coir_await(f, NULL), ECANCELED);
    coir_future_free(f);
}

static void a_cancelled_promise_fails_and_its_setter_hears_of_it(void **state)
{
    (void)state;
    run_everywhere(cancelled_promise);
}

/* A consumer has a reference, or waits. */
static void abandoned(void *arg)
{
    void *value = NULL;
    (void)arg;
    coir_future *f = coir_future_new();
    EXPECT_EQ(coir_future_ref(f), f);
    coir_future_free(f);
    EXPECT_FAILS(coir_future_set(f, as_pointer(1)), ECANCELED);
    EXPECT_EQ(coir_future_error(f), ECANCELED);
    coir_future_free(f);

    f = coir_future_ref(coir_future_new());
    coir_fiber *waiter = spawn_apart(await_it, f);
    until_parked(waiter);
    coir_future_free(f);
    EXPECT_EQ(coir_future_set(f, as_pointer(2)), 0);
    EXPECT_EQ(coir_join(waiter, NULL), 0);
    coir_future_free(f);

    f = coir_future_ref(coir_future_new());
    EXPECT_EQ(coir_future_set(f, as_pointer(3)), 0);
    coir_future_free(f);
    EXPECT_EQ(coir_await(f, &value), 0);
    EXPECT_EQ(value, 3);
    coir_future_free(f);
}

static void a_value_that_nobody_is_left_for_stays_the_setters(void **state)
{
    (void)state;
    run_everywhere(abandoned);
}

static void cancelled_async(void *arg)
{
    struct stubborn s = { 0 };
    void *value = NULL;
    (void)arg;
    coir_future *f = async_apart(end_slowly, &s);
    EXPECT_EQ(coir_future_cancel(f), 0);
    EXPECT_EQ(coir_future_cancel(f), 0);
    EXPECT_EQ(coir_await(f, &value), 0); /* it succeeds all the same */
    EXPECT_EQ(value, 4);
    EXPECT(s.runs && s.saw_cancel && s.ended);
    EXPECT_EQ(coir_future_cancel(f), 0);
    coir_future_free(f);

    f = async_apart(sleep_on, NULL);
    coir_future_cancel(f);
    EXPECT_FAILS(coir_await(f, NULL), ECANCELED);
    EXPECT_EQ(coir_future_error(f), ECANCELED);
    coir_future_free(f);
}

static void a_cancelled_async_may_still_succeed(void **state)
{
    (void)state;
    run_everywhere(cancelled_async);
}

static void taken(void *arg)
{
    void *value = as_pointer(1);
    (void)arg;
    coir_future *f = coir_future_new();
    errno = 0;
    EXPECT_EQ(coir_future_take(f), NULL);
    EXPECT_EQ(errno, EINPROGRESS);
    coir_future_set(f, as_pointer(8));
    EXPECT_EQ(coir_await(f, NULL), 0);
    EXPECT_EQ(coir_future_take(f), 8);
    EXPECT_EQ(coir_future_take(f), NULL);
    EXPECT_EQ(coir_await(f, &value), 0);
    EXPECT_EQ(value, NULL);
    coir_future_free(f);
    f = coir_async(fail_with, as_pointer(ENOTTY));
    coir_await(f, NULL);
    errno = 0;
    EXPECT_EQ(coir_future_take(f), NULL);
    EXPECT_EQ(errno, ENOTTY);
    coir_future_free(f);
    errno = 0;
    EXPECT_EQ(coir_future_take(NULL), NULL);
    EXPECT_EQ(errno, EINVAL);
}

static void take_takes_the_value_out_once(void **state)
{
    (void)state;
    run_everywhere(taken);
}

/* What fn finds when it begins. */
struct found {
    int64_t deadline_ns;
    int check;
    bool ran;
};

static void *look_around(void *arg)
{
    struct found *found = arg;
    found->ran = true;
    found->deadline_ns = coir_deadline();
    found->check = coir_check() < 0 ? errno : 0;
    return NULL;
}

static struct found what_is_found(unsigned flags, int64_t deadline_ns, bool cancel)
{
    struct found found = { 0 };
    coir_attr attr = { .flags = flags, .deadline_ns = deadline_ns };
    coir_future *f = coir_async_with(&attr, look_around, &found);
    if (cancel)
        coir_future_cancel(f);
    COIR_SHIELD(COIR_NEVER)
        EXPECT_EQ(coir_await(f, NULL), 0);
    coir_future_free(f);
    EXPECT(found.ran);
    return found;
}

static void beginnings(void *arg)
{
    (void)arg;
    int64_t far_ns = coir_after(COIR_SEC(1000)), before_ns = coir_deadline_set(far_ns);
    EXPECT_EQ(what_is_found(0, 0, false).deadline_ns, far_ns);
    EXPECT_EQ(what_is_found(0, 5, false).check, ETIMEDOUT);
    EXPECT_EQ(what_is_found(0, COIR_NEVER, false).deadline_ns, COIR_NEVER);
    EXPECT_EQ(what_is_found(COIR_DETACHED, 0, false).deadline_ns, COIR_NEVER);
    EXPECT_EQ(what_is_found(0, 0, true).deadline_ns, far_ns); /* it has run */
    coir_deadline_set(before_ns);
    coir_attr wrong = { .reserved = { 1 } };
    EXPECT(coir_async_with(&wrong, give, NULL) == NULL && errno == EINVAL);
}

static void an_async_inherits_the_deadline_and_always_runs(void **state)
{
    (void)state;
    run_everywhere(beginnings);
}

static coir_key key;
static _Atomic bool destroyed;

static void destroy(void *value)
{
    (void)value;
    for (int i = 0; i < 3; i++)
        coir_yield();
    destroyed = true;
}

static void *set_key(void *arg)
{
    coir_setspecific(key, &key);
    return arg;
}

static void keys(void *arg)
{
    (void)arg;
    destroyed = false;
    coir_future *f = async_apart(set_key, NULL);
    EXPECT_EQ(coir_await(f, NULL), 0);
    EXPECT(destroyed);
    coir_future_free(f);
}

static void an_async_is_done_when_its_keys_destructors_have_run(void **state)
{
    (void)state;
    assert_int_equal(coir_key_create(&key, destroy), 0);
    run_everywhere(keys);
    coir_key_delete(key);
}

static void *await_itself(void *arg)
{
    struct stubborn *s = arg;
    EXPECT(KIT_UNTIL(s->itself));
    coir_future *twice[] = { s->itself, s->itself };
    EXPECT_FAILS(coir_await_all(twice, 2, NULL), EDEADLK);
    EXPECT_FAILS(coir_await_any(twice, 2, NULL), EDEADLK);
    EXPECT_FAILS(coir_race(twice, 2, NULL), EDEADLK);
    coir_case itself = COIR_CASE_AWAIT(s->itself, NULL);
    EXPECT_EQ(coir_select(&itself, 1, COIR_NEVER), 0);
    EXPECT_EQ(itself.result, -1);
    EXPECT_EQ(itself.error, EDEADLK);
    return coir_await(s->itself, NULL) < 0 ? COIR_FAILED : NULL;
}

static void deadlock(void *arg)
{
    struct stubborn s = { 0 };
    (void)arg;
    coir_future *f = coir_async(await_itself, &s);
    s.itself = f;
    EXPECT_FAILS(coir_await(f, NULL), EDEADLK);
    coir_future_free(f);
}

static void an_async_that_awaits_itself_is_told(void **state)
{
    (void)state;
    run_everywhere(deadlock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(awaiting_twice_gives_what_fn_returned_twice),
        cmocka_unit_test(a_future_fails_with_its_fibers_errno),
        cmocka_unit_test(error_tells_the_futures_failure_from_the_callers),
        cmocka_unit_test(calls_that_wait_check_also_when_it_is_done),
        cmocka_unit_test(a_promise_is_set_once_and_an_async_never),
        cmocka_unit_test(a_cancelled_promise_fails_and_its_setter_hears_of_it),
        cmocka_unit_test(a_value_that_nobody_is_left_for_stays_the_setters),
        cmocka_unit_test(a_cancelled_async_may_still_succeed),
        cmocka_unit_test(take_takes_the_value_out_once),
        cmocka_unit_test(an_async_inherits_the_deadline_and_always_runs),
        cmocka_unit_test(an_async_is_done_when_its_keys_destructors_have_run),
        cmocka_unit_test(an_async_that_awaits_itself_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
