/* tests/sched/freshq_test.c - the order of fresh fibers (sched/freshq.c), without a runtime: first
 * in, first out, but for those that are waited for.
 * SPDX-License-Identifier: MIT
 *
 * Method: a worker that is only its queue. What it gives is held against a plain model of it: a
 * stack of lists, of which who waits for a fiber cuts off what begins with that one. */
#include "kit.h"

#include "sched/freshq.h"

enum { FIBERS = 3 * COIR__RUNQ_CAP, LIVE_MAX = 300, LEVELS = COIR__LEVELS_MAX + 1 };

static struct coir__fiber *fibers;
static struct coir__worker *w;

/* The model: the fibers by number, oldest first, all levels after each other; where each begins. */
static int all[LIVE_MAX], count, begins[LEVELS], levels;
static uint32_t taken;

static int set_up(void **state)
{
    (void)state;
    w = aligned_alloc(_Alignof(struct coir__worker), sizeof *w);
    fibers = aligned_alloc(COIR__CACHE_LINE, FIBERS * sizeof *fibers);
    coir__worker_tls = w;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    coir__worker_tls = NULL;
    free(w);
    free(fibers);
    return 0;
}

/* The counters of the ring wrap around on the way. */
static void clear(uint32_t from)
{
    memset(w, 0, sizeof *w);
    w->fresh.q.head = w->fresh.q.tail = from;
    taken = from;
    memset(fibers, 0, FIBERS * sizeof *fibers);
    for (int i = 0; i < FIBERS; i++)
        fibers[i].home = w;
    count = 0;
    levels = 1;
    begins[0] = 0;
}

static void push(int number)
{
    coir__fiber_state_set(&fibers[number], COIR__FRESH);
    coir__freshq_push(w, &fibers[number]);
    all[count++] = number;
}

static void remove_at(int at)
{
    taken++;
    count--;
    for (int i = at; i < count; i++)
        all[i] = all[i + 1];
    for (int i = 0; i < levels; i++)
        begins[i] -= begins[i] > at;
    while (levels > 1 && begins[levels - 1] == count)
        levels--;
}

static void check(struct coir__fiber *f, int at)
{
    if (!count) {
        assert_null(f);
        return;
    }
    assert_non_null(f);
    assert_int_equal(f - fibers, all[at]);
    coir__fiber_state_set(f, COIR__RUNNING);
    remove_at(at);
    assert_int_equal(coir__freshq_taken(w), taken);
    assert_true(coir__freshq_len(w) >= (uint32_t)count);
}

static void pop(void)
{
    check(coir__freshq_pop(w), begins[levels - 1]);
}

/* What a thief does who has the queue. */
static void take_oldest(void)
{
    check(coir__freshq_take_oldest(w), 0);
}

/* Whatever is older than the youngest level stays where it is. */
static void wait_for(int number)
{
    int at = begins[levels - 1];
    coir__freshq_first(&fibers[number]);
    while (at < count && all[at] != number)
        at++;
    if (at == count || at == begins[levels - 1])
        return;
    if (levels == LEVELS) {
        levels--;
        for (int i = 1; i < levels; i++)
            begins[i] = begins[i + 1];
    }
    begins[levels++] = at;
}

static void empty(void)
{
    while (count)
        pop();
    pop();
    assert_int_equal(coir__freshq_len(w), 0);
    assert_int_equal(w->fresh.holes, 0);
    assert_int_equal(w->fresh.depth, 0);
}

static void push_many(int n)
{
    for (int i = 0; i < n; i++)
        push(i);
}

static void without_waits_it_is_first_in_first_out(void **state)
{
    (void)state;
    clear(0);
    push_many(LIVE_MAX);
    wait_for(0); /* which is the next one anyway */
    assert_int_equal(w->fresh.depth, 0);
    empty();
}

static void who_is_waited_for_comes_next_and_then_the_younger_ones(void **state)
{
    static const int order[] = { 3, 4, 5, 0, 1, 2 };
    (void)state;
    clear(UINT32_MAX - 2);
    push_many(6);
    coir__freshq_first(&fibers[3]);
    for (int i = 0; i < 6; i++)
        assert_ptr_equal(coir__freshq_pop(w), &fibers[order[i]]);
    assert_null(coir__freshq_pop(w));
}

/* More levels than there may be: of each the first is gone, and its second is left. */
static void push_levels(void)
{
    clear(0);
    push(0);
    for (int i = 1; i + 1 < LIVE_MAX; i += 2) {
        push(i);
        push(i + 1);
        wait_for(i);
        pop();
    }
}

/* The oldest levels become one. */
static void levels_without_end_keep_their_order(void **state)
{
    (void)state;
    push_levels();
    assert_int_equal(w->fresh.depth, COIR__LEVELS_MAX);
    empty();
}

/* The oldest of too many levels are forgotten, but not what is gone of them. */
static void no_level_lies_over_what_forgotten_ones_left(void **state)
{
    (void)state;
    push_levels();
    while (w->fresh.depth)
        pop();
    assert_true(w->fresh.holes > 0 && count > 3);
    coir__freshq_first(&fibers[all[1]]);
    empty();
}

/* As a stale handle, a fiber that has run, one that was stolen, one of another queue. */
static void waits_for_what_is_not_there_change_nothing(void **state)
{
    struct coir__worker *other = calloc(1, sizeof *other);
    (void)state;
    clear(0);
    push_many(10);
    pop();
    take_oldest();
    coir__freshq_first(&fibers[0]);
    coir__freshq_first(&fibers[1]);
    coir__fiber_state_set(&fibers[1], COIR__FRESH);
    coir__freshq_first(&fibers[1]);
    fibers[5].home = other;
    coir__freshq_first(&fibers[5]);
    coir__fiber_state_set(&fibers[FIBERS - 1], COIR__FRESH);
    fibers[FIBERS - 1].place = 6;
    coir__freshq_first(&fibers[FIBERS - 1]);
    coir__worker_tls = NULL;
    coir__freshq_first(&fibers[6]);
    coir__worker_tls = w;
    assert_int_equal(w->fresh.depth, 0);
    empty();
    free(other);
}

static void a_thief_steps_over_what_has_gone(void **state)
{
    (void)state;
    clear(0);
    push_many(10);
    wait_for(4);
    pop();
    pop();
    wait_for(8);
    for (int i = 0; i < 9; i++)
        take_oldest();
    push(10);
    empty();
}

static void the_oldest_does_not_wait_for_ever(void **state)
{
    (void)state;
    clear(0);
    push_many(20);
    wait_for(10);
    w->stamp = 9;
    pop();
    w->stamp = 10;
    check(coir__freshq_pop(w), 0);
    w->stamp = 19;
    pop();
    w->stamp = 20;
    check(coir__freshq_pop(w), 0);
    empty();
}

static void nor_while_all_levels_end_and_others_begin(void **state)
{
    (void)state;
    clear(0);
    push(0);
    w->fresh.stamp = 0;
    bool came = false;
    for (int i = 1; i <= 11 && !came; i++) {
        w->stamp = (uint32_t)i;
        coir__fiber_state_set(&fibers[i], COIR__FRESH);
        coir__freshq_push(w, &fibers[i]);
        coir__freshq_first(&fibers[i]);
        struct coir__fiber *f = coir__freshq_pop(w);
        came = f == &fibers[0];
        if (!came)
            assert_ptr_equal(f, &fibers[i]);
    }
    assert_true(came);
}

static uint32_t any(uint32_t below)
{
    static uint32_t x = 1;
    x = x * 1664525 + 1013904223;
    return (x >> 8) % below;
}

/* The model has no list behind the ring. */
static bool room(void)
{
    return coir__runq_in_ring(&w->fresh.q) < COIR__RUNQ_CAP;
}

static void a_random_mix_comes_out_as_in_the_model(void **state)
{
    const int steps = test_scaled(1000 * 1000, 10 * 1000);
    (void)state;
    clear(UINT32_MAX - 5000);
    for (int i = 0, number = 0; i < steps; i++) {
        uint32_t what = any(100);
        if (what < 45 && count < LIVE_MAX && room()) {
            while (coir__fiber_state(&fibers[number]) == COIR__FRESH)
                number = (number + 1) % FIBERS;
            push(number);
        } else if (what < 75 && count) {
            wait_for(all[any((uint32_t)count)]);
        } else if (what < 78) {
            take_oldest();
        } else {
            pop();
        }
    }
    empty();
}

/* More than the ring holds: nothing is lost, and nothing comes twice. */
static void what_is_behind_the_ring_comes_too(void **state)
{
    int seen = 0;
    (void)state;
    clear(0);
    for (int i = 0; i < FIBERS; i++) {
        coir__fiber_state_set(&fibers[i], COIR__FRESH);
        coir__freshq_push(w, &fibers[i]);
        if (i % 7 == 0)
            coir__freshq_first(&fibers[i - i % 3]);
    }
    for (struct coir__fiber *f; (f = coir__freshq_pop(w)); seen++) {
        assert_int_equal(coir__fiber_state(f), COIR__FRESH);
        coir__fiber_state_set(f, COIR__RUNNING);
        coir__freshq_first(&fibers[any(FIBERS)]);
    }
    assert_int_equal(seen, FIBERS);
    assert_int_equal(coir__freshq_taken(w), FIBERS);
    assert_int_equal(coir__freshq_len(w), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_waits_it_is_first_in_first_out),
        cmocka_unit_test(who_is_waited_for_comes_next_and_then_the_younger_ones),
        cmocka_unit_test(levels_without_end_keep_their_order),
        cmocka_unit_test(no_level_lies_over_what_forgotten_ones_left),
        cmocka_unit_test(waits_for_what_is_not_there_change_nothing),
        cmocka_unit_test(a_thief_steps_over_what_has_gone),
        cmocka_unit_test(the_oldest_does_not_wait_for_ever),
        cmocka_unit_test(nor_while_all_levels_end_and_others_begin),
        cmocka_unit_test(a_random_mix_comes_out_as_in_the_model),
        cmocka_unit_test(what_is_behind_the_ring_comes_too),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
