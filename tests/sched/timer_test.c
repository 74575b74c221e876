/* tests/sched/timer_test.c - the heap of deadlines (sched/timer.h), without a runtime.
 * SPDX-License-Identifier: MIT
 *
 * Method: random additions and removals, each compared with a sorted array; the links of the whole
 * heap are walked now and then. A waiter's stop notes what expired, and in which order. */
#include "kit.h"

#include "sched/timer.h"
#include "sched/wait.h"

enum { TIMERS = 2000 };

struct entry {
    struct coir__waiter waiter; /* first: stop finds the entry by it */
    struct coir__timer timer;
    bool stopped;
};

static struct coir__worker worker;
static struct entry entries[TIMERS];
static struct entry *sorted[TIMERS];
static int sorted_len;
static int64_t last_ns;
static int stops, disorder;

static uint64_t seed;

static uint64_t random_next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void note_stop(struct coir__waiter *waiter, int err)
{
    struct entry *e = (struct entry *)waiter;
    if (err != ETIMEDOUT || e->stopped || e->timer.when_ns < last_ns)
        disorder++;
    last_ns = e->timer.when_ns;
    e->stopped = true;
    stops++;
}

static int place_of(int64_t when_ns)
{
    int low = 0, high = sorted_len;
    while (low < high) {
        int mid = (low + high) / 2;
        if (sorted[mid]->timer.when_ns < when_ns)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void add(struct entry *e, int64_t when_ns)
{
    *e = (struct entry){ .waiter = { .stop = note_stop } };
    coir__timer_add(&worker, &e->timer, when_ns, &e->waiter);
    int at = place_of(when_ns);
    memmove(&sorted[at + 1], &sorted[at], (size_t)(sorted_len - at) * sizeof *sorted);
    sorted[at] = e;
    sorted_len++;
}

static void forget(struct entry *e)
{
    int at = place_of(e->timer.when_ns);
    while (sorted[at] != e)
        at++;
    sorted_len--;
    memmove(&sorted[at], &sorted[at + 1], (size_t)(sorted_len - at) * sizeof *sorted);
}

static void take_off(struct entry *e)
{
    forget(e);
    coir__timer_remove(&worker, &e->timer);
    assert_false(e->timer.armed);
    coir__timer_remove(&worker, &e->timer); /* no harm */
}

/* Every link both ways, no child earlier than its parent; how many there are. */
static int walk(struct coir__timer *t, struct coir__timer *before, int64_t least_ns)
{
    int n = 0;
    for (; t; before = t, t = t->next) {
        assert_ptr_equal(t->prev, before);
        assert_true(t->when_ns >= least_ns);
        assert_true(t->armed);
        n += 1 + walk(t->child, t, t->when_ns);
    }
    return n;
}

static void check_heap(void)
{
    assert_true(!worker.timers || !worker.timers->next);
    assert_int_equal(walk(worker.timers, NULL, INT64_MIN), sorted_len);
}

static void clear(uint64_t from)
{
    memset(&worker, 0, sizeof worker);
    sorted_len = stops = disorder = 0;
    last_ns = INT64_MIN;
    seed = from;
}

static void expire(int64_t now_ns)
{
    int due = place_of(now_ns + 1);
    stops = 0;
    last_ns = INT64_MIN;
    coir__timer_expire(&worker, now_ns);
    assert_int_equal(stops, due);
    assert_int_equal(disorder, 0);
    for (int i = 0; i < due; i++)
        assert_true(sorted[i]->stopped && !sorted[i]->timer.armed);
    sorted_len -= due;
    memmove(sorted, sorted + due, (size_t)sorted_len * sizeof *sorted);
}

static void random_additions_and_removals_agree_with_a_sorted_array(void **state)
{
    static const int64_t spans_ns[] = { 3, 1000, INT64_MAX / 2 };
    (void)state;
    for (size_t k = 0; k < sizeof spans_ns / sizeof *spans_ns; k++) {
        clear(88172645463325252ull + k);
        int n = test_scaled(100000, 5000);
        for (int i = 0; i < n; i++) {
            struct entry *e = &entries[random_next() % TIMERS];
            if (e->timer.armed)
                take_off(e);
            else
                add(e, (int64_t)(random_next() % (uint64_t)spans_ns[k]));
            int64_t first_ns = sorted_len ? sorted[0]->timer.when_ns : COIR__NEVER;
            assert_true(coir__timer_first(&worker) == first_ns);
            if (i % 97 == 0 && sorted_len)
                expire(sorted[sorted_len / 16]->timer.when_ns);
            if (i % 1009 == 0)
                check_heap();
        }
        expire(INT64_MAX - 1);
        assert_int_equal(sorted_len, 0);
        assert_true(coir__timer_first(&worker) == COIR__NEVER);
    }
}

static void all_orders_expire_in_order(void **state)
{
    (void)state;
    for (int order = 0; order < 4; order++) {
        clear(1);
        for (int i = 0; i < TIMERS; i++)
            add(&entries[i], order == 0 ? i : order == 1 ? TIMERS - i : order == 2 ? 7 : i ^ 1);
        check_heap();
        expire(-1);
        expire(TIMERS / 2);
        check_heap();
        expire(TIMERS);
        assert_int_equal(sorted_len, 0);
        assert_null(worker.timers);
    }
}

/* The root's children may be as many as there are timers: no recursion then. */
static void a_million_children_need_no_stack(void **state)
{
    int n = test_scaled(1000000, 20000);
    struct entry *many = calloc((size_t)n, sizeof *many);
    (void)state;
    clear(1);
    assert_non_null(many);
    for (int i = 0; i < n; i++) {
        many[i].waiter.stop = note_stop;
        coir__timer_add(&worker, &many[i].timer, n - i % 1000, &many[i].waiter);
    }
    coir__timer_remove(&worker, worker.timers);
    coir__timer_expire(&worker, n);
    assert_int_equal(stops, n - 1);
    assert_int_equal(disorder, 0);
    assert_null(worker.timers);
    free(many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_additions_and_removals_agree_with_a_sorted_array),
        cmocka_unit_test(all_orders_expire_in_order),
        cmocka_unit_test(a_million_children_need_no_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
