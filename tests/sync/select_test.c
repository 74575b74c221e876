/* tests/sync/select_test.c - one of several things happens, and the others do not.
 * SPDX-License-Identifier: MIT */
#include "../sched/kit.h"

enum { CROSSERS = 4 };

struct crossing {
    coir_chan *a, *b;
    long each;
    _Atomic long sent_a, sent_b, got_a, got_b, trouble;
};

struct crosser {
    struct crossing *x;
    bool sends_a;
};

/* Sends on one channel and receives from the other, in one select. */
static void *cross(void *arg)
{
    struct crosser *me = arg;
    struct crossing *x = me->x;
    coir_chan *out = me->sends_a ? x->a : x->b, *in = me->sends_a ? x->b : x->a;
    for (long sent = 0, got = 0, value = 1, place; sent < x->each || got < x->each;) {
        coir_case cases[] = { COIR_CASE_SEND(sent < x->each ? out : NULL, &value),
                              COIR_CASE_RECV(got < x->each ? in : NULL, &place) };
        int i = coir_select(cases, 2, COIR_NEVER);
        if (i < 0 || cases[i].result < 0)
            atomic_fetch_add(&x->trouble, 1);
        if (i == 0) {
            sent++;
            atomic_fetch_add(me->sends_a ? &x->sent_a : &x->sent_b, value);
        } else {
            got++;
            atomic_fetch_add(me->sends_a ? &x->got_b : &x->got_a, place);
        }
        value++;
    }
    return NULL;
}

static void crossing_main(void *arg)
{
    struct crossing *x = arg;
    struct crosser who[CROSSERS + 2];
    coir_attr spread = { .flags = COIR_SPREAD };
    coir_fiber *fibers[CROSSERS];
    pthread_t threads[2];
    x->a = coir_chan_new(sizeof(long), 0);
    x->b = coir_chan_new(sizeof(long), 0);
    for (int i = 0; i < CROSSERS + 2; i++)
        who[i] = (struct crosser){ x, i % 2 };
    for (int i = 0; i < CROSSERS; i++)
        fibers[i] = coir_spawn_with(&spread, cross, &who[i]);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, cross, &who[CROSSERS + i]);
    for (int i = 0; i < CROSSERS; i++)
        coir_join(fibers[i], NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    coir_chan_free(x->a);
    coir_chan_free(x->b);
}

/* Goal: selects that wait for each other, crosswise, neither hang nor lose anything. */
static void crossing_selects_all_come_through(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct crossing x = { .each = test_scaled(3000, 50) };
        assert_int_equal(fiber_test_run(*w, crossing_main, &x), 0);
        assert_int_equal(x.trouble, 0);
        assert_int_equal(x.got_a, x.sent_a);
        assert_int_equal(x.got_b, x.sent_b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crossing_selects_all_come_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
