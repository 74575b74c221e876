/* tests/sched/spawn_test.c - coir/fiber.h on spawning: results, failures, names, attributes,
 * counts.
 * SPDX-License-Identifier: MIT
 *
 * Method: each promise in one small run with 1, 2 and 4 workers; fibers record, the test asserts.
 * */
#include "kit.h"

struct probe {
    struct kit_said said[5];
    void *result[4];
    coir_fiber *handle, *self;
    char names[3][32];
    const char *thread_name;
    _Atomic int ran;
    int n;
    bool flag;
};

static struct probe run_probe(unsigned workers, void (*fn)(void *))
{
    struct probe p = { .n = 0 };
    for (int i = 0; i < 4; i++)
        p.said[i] = (struct kit_said){ -2, -2 };
    assert_int_equal(fiber_test_run(workers, fn, &p), 0);
    return p;
}

static void *slowly(void *arg)
{
    for (int i = 0; i < 10; i++)
        coir_yield();
    return arg;
}

static void join_before_and_after(void *arg)
{
    struct probe *p = arg;
    coir_fiber *early = coir_spawn(slowly, p);
    p->said[0] = KIT_SAID(coir_join(early, &p->result[0]));
    coir_fiber *late = coir_spawn(kit_nothing, &p->n);
    KIT_UNTIL(coir__fiber_state(kit_record(late)) == COIR__ENDED);
    p->said[1] = KIT_SAID(coir_join(late, &p->result[1]));
    p->said[2] = KIT_SAID(coir_join(coir_spawn(kit_nothing, p), NULL));
}

static void join_gives_the_result_before_and_after_the_end(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct probe p = { .n = 0 };
        assert_int_equal(fiber_test_run(*w, join_before_and_after, &p), 0);
        for (int i = 0; i < 3; i++)
            kit_assert_said(p.said[i], 0, 0);
        assert_ptr_equal(p.result[0], &p);
        assert_ptr_equal(p.result[1], &p.n);
    }
}

static void *fails_by_call(void *arg)
{
    (void)arg;
    return coir_fail(ENOENT);
}

static void *fails_by_hand(void *arg)
{
    coir_sleep(COIR_MS(1));
    errno = *(int *)arg;
    return COIR_FAILED;
}

static void join_the_failed(void *arg)
{
    struct probe *p = arg;
    int err = EDOM, none = 0;
    coir_fiber *a = coir_spawn(fails_by_call, NULL), *b = coir_spawn(fails_by_hand, &err);
    coir_fiber *c = coir_spawn(fails_by_hand, &none);
    p->said[0] = KIT_SAID(coir_join(a, NULL));
    p->said[1] = KIT_SAID(coir_join(b, &p->result[1]));
    p->said[2] = KIT_SAID(coir_join(a, NULL));
    p->said[3] = KIT_SAID(coir_join(b, NULL));
    p->said[4] = KIT_SAID(coir_join(c, NULL));
}

static void a_failed_fibers_errno_comes_out_of_join_and_consumes_the_handle(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct probe p = run_probe(*w, join_the_failed);
        kit_assert_said(p.said[0], -1, ENOENT);
        kit_assert_said(p.said[1], -1, EDOM);
        kit_assert_said(p.said[2], -1, EINVAL);
        kit_assert_said(p.said[3], -1, EINVAL);
        kit_assert_said(p.said[4], -1, EIO); /* it did not say why */
    }
}

/* join, detach and cancel of one handle must all say EINVAL. */
static void *expect_stale(coir_fiber *handle, struct kit_said said[3])
{
    said[0] = KIT_SAID(coir_join(handle, NULL));
    said[1] = KIT_SAID(coir_detach(handle));
    said[2] = KIT_SAID(coir_cancel(handle));
    return NULL;
}

static void use_null(void *arg)
{
    expect_stale(NULL, ((struct probe *)arg)->said);
}

static void use_joined(void *arg)
{
    coir_fiber *f = coir_spawn(kit_nothing, NULL);
    coir_join(f, NULL);
    expect_stale(f, ((struct probe *)arg)->said);
}

static void use_joined_and_reused(void *arg)
{
    coir_fiber *old = coir_spawn(kit_nothing, NULL);
    struct coir__fiber *record = kit_record(old);
    coir_join(old, NULL);
    coir_fiber *other = NULL;
    for (int i = 0; i < 10000 && !other; i++) {
        other = coir_spawn(slowly, NULL);
        if (kit_record(other) != record) {
            coir_join(other, NULL);
            other = NULL;
        }
    }
    expect_stale(old, ((struct probe *)arg)->said);
    if (other && coir_join(other, NULL) == 0)
        ((struct probe *)arg)->flag = true;
}

static void use_detached(void *arg)
{
    coir_fiber *f = coir_spawn(slowly, NULL);
    struct probe *p = arg;
    p->said[3] = KIT_SAID(coir_detach(f));
    p->said[0] = KIT_SAID(coir_join(f, NULL));
    p->said[1] = KIT_SAID(coir_detach(f));
    KIT_UNTIL(!coir__fiber_of(f));
    p->said[2] = KIT_SAID(coir_cancel(f));
}

static void use_detached_after_its_end(void *arg)
{
    coir_fiber *f = coir_spawn(kit_nothing, NULL);
    KIT_UNTIL(coir__fiber_state(kit_record(f)) == COIR__ENDED);
    ((struct probe *)arg)->said[3] = KIT_SAID(coir_detach(f));
    expect_stale(f, ((struct probe *)arg)->said);
}

static void a_handle_that_is_null_or_used_up_is_einval(void **state)
{
    void (*const users[])(void *) = { use_null, use_joined, use_joined_and_reused, use_detached,
                                      use_detached_after_its_end };
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        for (size_t i = 0; i < sizeof users / sizeof *users; i++) {
            struct probe p = run_probe(*w, users[i]);
            for (int k = 0; k < 3; k++)
                kit_assert_said(p.said[k], -1, EINVAL);
            if (users[i] == use_detached || users[i] == use_detached_after_its_end)
                kit_assert_said(p.said[3], 0, 0);
            if (users[i] == use_joined_and_reused)
                assert_true(p.flag);
        }
}

static void *join_self(void *arg)
{
    struct probe *p = arg;
    p->self = coir_self();
    p->said[0] = KIT_SAID(coir_join(coir_self(), NULL));
    return NULL;
}

static void self_joiner(void *arg)
{
    struct probe *p = arg;
    p->handle = coir_spawn(join_self, p);
    p->said[1] = KIT_SAID(coir_join(p->handle, NULL));
    p->said[2] = KIT_SAID(coir_join(coir_self(), NULL));
}

static void joining_oneself_is_edeadlk_and_self_is_the_handle(void **state)
{
    (void)state;
    assert_null(coir_self());
    for (const unsigned *w = test_workers; *w; w++) {
        struct probe p = run_probe(*w, self_joiner);
        kit_assert_said(p.said[0], -1, EDEADLK);
        kit_assert_said(p.said[1], 0, 0);
        kit_assert_said(p.said[2], -1, EDEADLK);
        assert_ptr_equal(p.self, p.handle);
    }
}

static void *copy_name(void *arg)
{
    strcpy(arg, coir_name());
    coir_yield();
    return strcmp(arg, coir_name()) ? NULL : arg;
}

static void name_fibers(void *arg)
{
    struct probe *p = arg;
    char given[32] = "fifteen-letters";
    coir_attr attrs[3] = { { .name = given }, { .name = "sixteen-letters!" }, { .name = NULL } };
    coir_fiber *fibers[3];
    for (int i = 0; i < 3; i++)
        fibers[i] = coir_spawn_with(&attrs[i], copy_name, p->names[i]);
    memset(given, 0, sizeof given);
    for (int i = 0; i < 3; i++)
        p->said[i] = KIT_SAID(coir_join(fibers[i], &p->result[i]));
}

static void names_are_copied_and_cut_at_15_bytes(void **state)
{
    (void)state;
    assert_string_equal(coir_name(), "");
    for (const unsigned *w = test_workers; *w; w++) {
        struct probe p = { .n = 0 };
        assert_int_equal(fiber_test_run(*w, name_fibers, &p), 0);
        assert_string_equal(p.names[0], "fifteen-letters");
        assert_string_equal(p.names[1], "sixteen-letters");
        assert_string_equal(p.names[2], "");
        for (int i = 0; i < 3; i++)
            assert_ptr_equal(p.result[i], p.names[i]);
    }
}

static void *count_run(void *arg)
{
    atomic_fetch_add((_Atomic int *)arg, 1);
    return NULL;
}

/* n: how many were refused; below -99: the index of one that was not. */
static void spawn_wrongly(void *arg)
{
    struct probe *p = arg;
    const coir_attr wrong[] = {
        { .flags = 8 },
        { .flags = 1u << 31 },
        { .reserved0 = 1 },
        { .reserved = { 1 } },
        { .reserved = { 0, 0, 0, 1 } },
        { .stack_bytes = 1 },
        { .stack_bytes = 16383 },
        { .stack_bytes = ((size_t)1 << 30) + 1 },
        { .stack_bytes = SIZE_MAX },
        { .deadline_ns = -1 },
    };
    p->n = (int)(sizeof wrong / sizeof *wrong);
    for (int i = 0; i < p->n; i++) {
        errno = 0;
        coir_fiber *f = coir_spawn_with(&wrong[i], count_run, &p->ran);
        if (f || errno != EINVAL)
            p->n = -100 - i;
    }
    errno = 0;
    p->said[0].result = coir_spawn(NULL, p) == NULL;
    p->said[0].err = errno;
}

static void a_wrong_attribute_is_einval_and_nothing_runs(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct probe p = run_probe(*w, spawn_wrongly);
        assert_int_equal(p.n, 10);
        assert_int_equal(p.ran, 0);
        kit_assert_said(p.said[0], 1, EINVAL);
    }
}

static void *use_stack(void *arg)
{
    volatile char big[900 * 1024];
    for (size_t i = 0; i < sizeof big; i += 1024)
        big[i] = 1;
    big[sizeof big - 1] = 2;
    coir_yield();
    *(int *)arg = big[0] + big[sizeof big - 1];
    return arg;
}

static void spawn_sizes(void *arg)
{
    struct probe *p = arg;
    const coir_attr attrs[4] = { { .stack_bytes = 1024 * 1024 + 1 },
                                 { .stack_bytes = 16384 },
                                 { .stack_bytes = (size_t)1 << 30 },
                                 { .stack_bytes = 100000 } };
    int sums[4] = { 0 };
    for (int i = 0; i < 4; i++) {
        void *(*fn)(void *) = attrs[i].stack_bytes > 1 << 20 ? use_stack : slowly;
        p->said[i] = KIT_SAID(coir_join(coir_spawn_with(&attrs[i], fn, &sums[i]), &p->result[i]));
    }
    p->n = sums[0] + sums[2];
}

static void a_fiber_gets_the_stack_it_asked_for(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct probe p = run_probe(*w, spawn_sizes);
        for (int i = 0; i < 4; i++) {
            kit_assert_said(p.said[i], 0, 0);
            assert_non_null(p.result[i]);
        }
        assert_int_equal(p.n, 6);
    }
}

static void *spawn_doomed(void *arg)
{
    struct probe *p = arg;
    coir_cancel(coir_self());
    coir_deadline_set(1);
    coir_fiber *f = coir_spawn(count_run, &p->ran);
    p->said[0] = KIT_SAID(coir_join(f, NULL));
    COIR_SHIELD(COIR_SEC(KIT_PATIENCE_S))
        p->said[1] = KIT_SAID(coir_join(f, NULL));
    return NULL;
}

static void doomed(void *arg)
{
    coir_join(coir_spawn(spawn_doomed, arg), NULL);
}

static void spawning_works_past_deadline_and_cancel(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct probe p = run_probe(*w, doomed);
        kit_assert_said(p.said[0], -1, ECANCELED);
        kit_assert_said(p.said[1], 0, 0);
        assert_int_equal(p.ran, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(join_gives_the_result_before_and_after_the_end),
        cmocka_unit_test(a_failed_fibers_errno_comes_out_of_join_and_consumes_the_handle),
        cmocka_unit_test(a_handle_that_is_null_or_used_up_is_einval),
        cmocka_unit_test(joining_oneself_is_edeadlk_and_self_is_the_handle),
        cmocka_unit_test(names_are_copied_and_cut_at_15_bytes),
        cmocka_unit_test(a_wrong_attribute_is_einval_and_nothing_runs),
        cmocka_unit_test(a_fiber_gets_the_stack_it_asked_for),
        cmocka_unit_test(spawning_works_past_deadline_and_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
