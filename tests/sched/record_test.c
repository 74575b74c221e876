/* tests/sched/record_test.c - fiber records (sched/record.c): generations, magazines, slabs.
 * SPDX-License-Identifier: MIT
 *
 * Method: two workers that are only their magazines take and give back records in the orders that
 * move them through the depot; then the same by real fibers. */
#include "kit.h"

static struct coir__worker a, b;

static void flush(void **state)
{
    (void)state;
    coir__record_flush(&a);
    coir__record_flush(&b);
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
}

static int begin_test(void **state)
{
    flush(state);
    return 0;
}

static int end_test(void **state)
{
    flush(state);
    coir__record_trim();
    return 0;
}

static int by_address(const void *p, const void *q)
{
    uintptr_t x = (uintptr_t) * (void *const *)p, y = (uintptr_t) * (void *const *)q;
    return x < y ? -1 : x > y;
}

static void records_in_use_are_all_different(void **state)
{
    int n = test_scaled(200000, 20000);
    struct coir__fiber **got = calloc((size_t)n, sizeof *got);
    (void)state;
    for (int i = 0; i < n; i++) {
        got[i] = coir__record_alloc(i % 3 == 0 ? &a : i % 3 == 1 ? &b : NULL);
        assert_non_null(got[i]);
        assert_int_equal((uintptr_t)got[i] % COIR__CACHE_LINE, 0);
        assert_int_not_equal(coir__fiber_generation(got[i]), 0);
        assert_int_equal(coir__fiber_state(got[i]), COIR__FREE);
        assert_int_equal(got[i]->mail, 0);
        assert_ptr_equal(coir__fiber_of(coir__fiber_handle(got[i])), got[i]);
    }
    qsort(got, (size_t)n, sizeof *got, by_address);
    for (int i = 1; i < n; i++)
        assert_true(got[i] > got[i - 1]);
    for (int i = 0; i < n; i++)
        coir__record_free(i % 2 ? &a : i % 4 ? &b : NULL, got[i]);
    free(got);
}

/* One worker spawns, the other joins: the records travel back, and there are no more than needed.
 * */
static void records_that_move_between_workers_are_used_again(void **state)
{
    enum { AT_ONCE = 3000 };
    static struct coir__fiber *held[AT_ONCE];
    uintptr_t low = UINTPTR_MAX, high = 0;
    (void)state;
    for (int round = 0; round < test_scaled(1000, 50); round++) {
        for (int i = 0; i < AT_ONCE; i++) {
            held[i] = coir__record_alloc(&a);
            low = (uintptr_t)held[i] < low ? (uintptr_t)held[i] : low;
            high = (uintptr_t)held[i] > high ? (uintptr_t)held[i] : high;
        }
        for (int i = 0; i < AT_ONCE; i++)
            coir__record_free(&b, held[i]);
    }
    size_t slots = (high - low) / sizeof(struct coir__fiber) + 1;
    assert_true(slots <= AT_ONCE + 6 * COIR__RECORD_MAGAZINE);
}

/* The same record again and again: an old handle names nobody, until the 16 bits have come round.
 * */
static void a_handle_is_stale_after_a_million_reuses(void **state)
{
    enum { PERIOD = UINT16_MAX };
    int n = test_scaled(1000000, 200000);
    (void)state;
    struct coir__fiber *f = coir__record_alloc(&a);
    void *old = coir__fiber_handle(f), *last = old;
    for (int i = 1; i <= n; i++) {
        coir__record_free(&a, f);
        assert_null(coir__fiber_of(last));
        assert_ptr_equal(coir__record_alloc(&a), f);
        last = coir__fiber_handle(f);
        assert_int_not_equal(coir__fiber_generation(f), 0);
        assert_ptr_equal(coir__fiber_of(last), f);
        assert_ptr_equal(coir__fiber_of(old), i % PERIOD ? NULL : f);
    }
    coir__record_free(&a, f);
}

static void handles_are_stale_after_all_memory_was_given_back(void **state)
{
    enum { N = 1000 };
    static void *old[N];
    for (int i = 0; i < N; i++)
        old[i] = coir__fiber_handle(coir__record_alloc(&a));
    flush(state);
    coir__record_trim();
    for (int i = 0; i < N; i++)
        assert_null(coir__fiber_of(old[i]));
    for (int i = 0; i < N; i++) {
        struct coir__fiber *f = coir__record_alloc(&a);
        for (int k = 0; k < N; k += 37)
            assert_true(coir__fiber_handle(f) != old[k]);
    }
}

struct lot {
    coir_fiber **handles;
    int n, alive;
};

static void count_alive(struct coir__fiber *f, void *arg)
{
    (void)f;
    ++*(int *)arg;
}

static void use_many(void *arg)
{
    struct lot *lot = arg;
    for (int i = 0; i < lot->n; i++)
        lot->handles[i] = coir_spawn(kit_nothing, NULL);
    for (int i = 0; i < lot->n; i += 2)
        coir_join(lot->handles[i], NULL);
    coir__record_each(coir__worker_self()->rt, count_alive, &lot->alive);
}

static void every_fiber_in_use_is_found_and_none_survives_a_run(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct lot lot = { .n = test_scaled(40000, 2000) };
        lot.handles = calloc((size_t)lot.n, sizeof *lot.handles);
        assert_int_equal(fiber_test_run(*w, use_many, &lot), 0);
        assert_int_equal(lot.alive, lot.n / 2 + 1);
        for (int i = 0; i < lot.n; i++)
            assert_null(coir__fiber_of(lot.handles[i]));
        free(lot.handles);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(records_in_use_are_all_different, begin_test, end_test),
        cmocka_unit_test_setup_teardown(records_that_move_between_workers_are_used_again,
                                        begin_test, end_test),
        cmocka_unit_test_setup_teardown(a_handle_is_stale_after_a_million_reuses, begin_test,
                                        end_test),
        cmocka_unit_test_setup_teardown(handles_are_stale_after_all_memory_was_given_back,
                                        begin_test, end_test),
        cmocka_unit_test(every_fiber_in_use_is_found_and_none_survives_a_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
