/* tests/api/blocking_test.c - coir_blocking: on a thread, whatever happens to its end.
 * SPDX-License-Identifier: MIT */
#include "../sched/kit.h"
#include "support/expect.h"

#include <pthread.h>
#include <unistd.h>

enum { CALLS = 100, THREADS_MAX = 64 };

struct job {
    _Atomic bool began, go, ended;
    _Atomic int *at_once, *most;
    int64_t deadline_ns;
    int check, sleep;
    pid_t thread;
    int result, err; /* of the call */
};

static void *tell_thread(void *arg)
{
    struct job *j = arg;
    j->thread = gettid();
    EXPECT(coir_self() == NULL);
    return j;
}

static void *fails(void *arg)
{
    (void)arg;
    errno = ENOTTY;
    return COIR_FAILED;
}

static void *fail_without_a_reason(void *arg)
{
    (void)arg;
    errno = 0;
    return COIR_FAILED;
}

static void results(void *arg)
{
    struct job j = { .thread = 0 };
    void *result = arg;
    errno = 77;
    EXPECT_EQ(coir_blocking(tell_thread, &j, &result), 0);
    EXPECT_EQ(errno, 77);
    EXPECT(result == &j && j.thread != gettid());
    EXPECT_EQ(coir_blocking(tell_thread, &j, NULL), 0);
    EXPECT_FAILS(coir_blocking(fails, NULL, &result), ENOTTY);
    EXPECT_FAILS(coir_blocking(fail_without_a_reason, NULL, &result), EIO);
    EXPECT_FAILS(coir_blocking(NULL, NULL, &result), EINVAL);
    EXPECT(result == &j); /* as it was */
    COIR_TIMEOUT(-1) {
        EXPECT_FAILS(coir_blocking(tell_thread, &j, &result), ETIMEDOUT);
    }
}

/* All workers are free meanwhile. */
static void *block(void *arg)
{
    struct job *j = arg;
    int now = atomic_fetch_add(j->at_once, 1) + 1, most = *j->most;
    while (now > most && !atomic_compare_exchange_strong(j->most, &most, now))
        ;
    usleep(2000);
    atomic_fetch_sub(j->at_once, 1);
    return NULL;
}

static void *call_block(void *arg)
{
    EXPECT_EQ(coir_blocking(block, arg, NULL), 0);
    return NULL;
}

static void many(void *arg)
{
    _Atomic int at_once = 0, most = 0;
    struct job j = { .at_once = &at_once, .most = &most };
    coir_fiber *f[CALLS];
    (void)arg;
    for (int i = 0; i < CALLS; i++)
        f[i] = coir_spawn(call_block, &j);
    for (int i = 0; i < CALLS; i++)
        EXPECT_EQ(coir_join(f[i], NULL), 0);
    EXPECT(most > 1 && most <= THREADS_MAX);
}

static void *wait_and_check(void *arg)
{
    struct job *j = arg;
    j->began = true;
    for (int i = 0; i < KIT_PATIENCE_S * 1000 && !j->go; i++)
        usleep(1000);
    j->deadline_ns = coir_deadline();
    j->check = coir_check() < 0 ? errno : 0;
    j->sleep = coir_sleep(1) < 0 ? errno : 0;
    j->ended = true;
    return j;
}

static void *call_and_check(void *arg)
{
    struct job *j = arg;
    void *result = NULL;
    j->result = coir_blocking(wait_and_check, j, &result);
    j->err = errno;
    EXPECT(j->ended && result == j);
    return NULL;
}

static void cancelled(void *arg)
{
    struct job j = { .began = false };
    coir_fiber *f = coir_spawn(call_and_check, &j);
    (void)arg;
    EXPECT(KIT_UNTIL(j.began));
    coir_cancel(f);
    for (int i = 0; i < 10; i++)
        kit_pause();
    EXPECT(!j.ended); /* it is waited for */
    j.go = true;
    EXPECT_EQ(coir_join(f, NULL), 0);
    EXPECT_EQ(j.result, 0);
    EXPECT_EQ(j.check, ECANCELED);
}

static void late(void *arg)
{
    struct job j = { .began = false };
    (void)arg;
    COIR_TIMEOUT(COIR_MS(5)) {
        int64_t deadline_ns = coir_deadline();
        coir_fiber *f = coir_spawn(call_and_check, &j); /* it inherits that */
        EXPECT(KIT_UNTIL(j.began));
        COIR_SHIELD(COIR_NEVER)
            coir_sleep(COIR_MS(8));
        j.go = true;
        COIR_SHIELD(COIR_NEVER)
            EXPECT_EQ(coir_join(f, NULL), 0);
        EXPECT_EQ(j.deadline_ns, deadline_ns);
    }
    EXPECT_EQ(j.result, 0);
    EXPECT_EQ(j.check, ETIMEDOUT);
    EXPECT_EQ(j.sleep, ETIMEDOUT);
}

/* Those that have not begun are let go: there are too many. */
static void *call_late(void *arg)
{
    struct job *j = arg;
    j->result = coir_blocking(wait_and_check, j, NULL);
    j->err = errno;
    return NULL;
}

static void queued(void *arg)
{
    static struct job j[THREADS_MAX + 2];
    coir_fiber *f[THREADS_MAX + 2];
    (void)arg;
    memset(j, 0, sizeof j);
    for (int i = 0; i < THREADS_MAX; i++)
        f[i] = coir_spawn(call_late, &j[i]);
    for (int i = 0; i < THREADS_MAX; i++)
        EXPECT(KIT_UNTIL(j[i].began));
    f[THREADS_MAX] = coir_spawn(call_late, &j[THREADS_MAX]);
    COIR_TIMEOUT(COIR_MS(5))
        f[THREADS_MAX + 1] = coir_spawn(call_late, &j[THREADS_MAX + 1]);
    EXPECT(KIT_UNTIL(coir__fiber_state(kit_record(f[THREADS_MAX])) == COIR__PARKED));
    coir_cancel(f[THREADS_MAX]);
    for (int i = THREADS_MAX; i < THREADS_MAX + 2; i++) {
        EXPECT_EQ(coir_join(f[i], NULL), 0);
        EXPECT_EQ(j[i].result, -1);
        EXPECT_EQ(j[i].err, i == THREADS_MAX ? ECANCELED : ETIMEDOUT);
        EXPECT(!j[i].began);
    }
    for (int i = 0; i < THREADS_MAX; i++)
        j[i].go = true;
    for (int i = 0; i < THREADS_MAX; i++)
        EXPECT_EQ(coir_join(f[i], NULL), 0);
}

static void on_each(void (*fn)(void *))
{
    for (const unsigned *w = test_workers; *w; w++) {
        assert_int_equal(fiber_test_run(*w, fn, NULL), 0);
        assert_no_findings();
        assert_true(kit_threads_become(1));
    }
}

#define BODY_TEST(name, body)                                                                      \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        on_each(body);                                                                             \
    }

BODY_TEST(it_gives_what_the_function_gave, results)
BODY_TEST(many_run_at_once_and_no_more_than_there_may_be, many)
BODY_TEST(a_cancel_is_passed_on_and_the_end_awaited, cancelled)
BODY_TEST(the_deadline_is_the_threads_too, late)
BODY_TEST(what_has_not_begun_is_let_go, queued)

static void a_plain_thread_calls_it(void **state)
{
    struct job j = { .thread = 0 };
    void *result = NULL;
    (void)state;
    assert_int_equal(coir_blocking(tell_thread, &j, &result), 0);
    assert_ptr_equal(result, &j);
    assert_int_equal(j.thread, gettid());
    assert_int_equal(coir_blocking(fails, NULL, NULL), -1);
    assert_int_equal(errno, ENOTTY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_gives_what_the_function_gave),
        cmocka_unit_test(many_run_at_once_and_no_more_than_there_may_be),
        cmocka_unit_test(a_cancel_is_passed_on_and_the_end_awaited),
        cmocka_unit_test(the_deadline_is_the_threads_too),
        cmocka_unit_test(what_has_not_begun_is_let_go),
        cmocka_unit_test(a_plain_thread_calls_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
