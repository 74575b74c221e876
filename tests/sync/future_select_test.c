/* tests/sync/future_select_test.c - futures as cases of a select.
 * SPDX-License-Identifier: MIT */
#include "future_kit.h"

static void *give(void *arg)
{
    return arg;
}

static void *fail_with(void *arg)
{
    coir_yield();
    return coir_fail((int)(intptr_t)arg);
}

static void cases_done(void *arg)
{
    void *value = NULL;
    (void)arg;
    coir_future *never = coir_future_new(), *f = coir_future_new();
    coir_case cases[] = { COIR_CASE_AWAIT(NULL, &value), COIR_CASE_AWAIT(never, &value),
                          COIR_CASE_AWAIT(f, &value) };
    EXPECT_FAILS(coir_select(cases, 3, 0), ETIMEDOUT);
    EXPECT_FAILS(coir_select(cases, 3, COIR_MS(1)), ETIMEDOUT);
    no_drops();
    coir_future_on_drop(f, drop);
    EXPECT_EQ(coir_future_set(f, &drops[0]), 0);
    EXPECT_EQ(coir_select(cases, 3, COIR_NEVER), 2);
    EXPECT_EQ(cases[2].result, 0);
    EXPECT_EQ(cases[2].error, 0);
    EXPECT_EQ(value, &drops[0]);
    coir_future_free(f);
    EXPECT_EQ(drops[0], 0); /* it was handed out */
    coir_future_free(never);
}

static void a_future_that_is_done_is_a_case_that_happens(void **state)
{
    (void)state;
    run_everywhere(cases_done);
}

static void cases_that_wait(void *arg)
{
    void *value = as_pointer(1);
    (void)arg;
    for (int i = 0; i < test_scaled(100, 10); i++) {
        coir_chan *c = coir_chan_new(sizeof(int), 0);
        coir_future *never = coir_future_new();
        coir_future *f = async_apart(i % 2 ? give : fail_with, as_pointer(ENOENT));
        coir_case cases[] = { COIR_CASE_AWAIT(never, NULL), COIR_CASE_RECV(c, &(int){ 0 }),
                              COIR_CASE_AWAIT(f, i % 3 ? &value : NULL) };
        EXPECT_EQ(coir_select(cases, 3, COIR_NEVER), 2);
        EXPECT_EQ(cases[2].result, i % 2 ? 0 : -1);
        EXPECT_EQ(cases[2].error, i % 2 ? 0 : ENOENT);
        EXPECT(i % 2 == 0 || i % 3 == 0 || value == as_pointer(ENOENT));
        EXPECT_EQ(coir_future_set(never, NULL), 0); /* nothing of the select is on its list */
        coir_future_free(f);
        coir_future_free(never);
        coir_chan_free(c);
    }
}

static void a_select_waits_for_a_future_and_gets_its_value_or_error(void **state)
{
    (void)state;
    run_everywhere(cases_that_wait);
}

/* Two futures of one select are set at once, and freed by their setters. */
struct round {
    coir_future *futures[2];
    _Atomic int next, ready;
    coir_fiber *_Atomic selecter;
};

static void *set_one(void *arg)
{
    struct round *r = arg;
    int i = atomic_fetch_add(&r->next, 1);
    KIT_UNTIL(r->ready);
    /* Refused, when the other was first and the selecter has gone. */
    EXPECT(coir_future_set(r->futures[i], &r->futures[i]) == 0 || errno == ECANCELED);
    coir_future_free(r->futures[i]);
    return NULL;
}

static void *select_one(void *arg)
{
    struct round *r = arg;
    coir_future *mine[] = { r->futures[0], r->futures[1] };
    void *values[2] = { NULL, NULL };
    coir_case cases[] = { COIR_CASE_AWAIT(mine[0], &values[0]),
                          COIR_CASE_AWAIT(mine[1], &values[1]) };
    r->ready = 1;
    int i = coir_select(cases, 2, COIR_NEVER);
    EXPECT(i >= 0 ? values[i] == &r->futures[i] && !values[!i] : errno == ECANCELED);
    coir_future_free_all(mine, 2);
    return NULL;
}

static void select_rounds(void *arg)
{
    bool cancels = arg != NULL;
    for (int i = 0; i < test_scaled(300, 15); i++) {
        struct round r = { 0 };
        pthread_t thread;
        for (int k = 0; k < 2; k++)
            r.futures[k] = coir_future_ref(coir_future_new());
        EXPECT_EQ(pthread_create(&thread, NULL, set_one, &r), 0);
        coir_fiber *setter = spawn_apart(set_one, &r), *selecter = spawn_apart(select_one, &r);
        KIT_UNTIL(r.ready);
        if (cancels)
            coir_cancel(selecter);
        coir_join(selecter, NULL);
        coir_join(setter, NULL);
        pthread_join(thread, NULL);
    }
}

static void a_select_gets_one_of_the_futures_that_are_set_at_once(void **state)
{
    (void)state;
    run_on_each(select_rounds, NULL);
    run_on_each(select_rounds, drops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_future_that_is_done_is_a_case_that_happens),
        cmocka_unit_test(a_select_waits_for_a_future_and_gets_its_value_or_error),
        cmocka_unit_test(a_select_gets_one_of_the_futures_that_are_set_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
