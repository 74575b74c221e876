/* tests/sched/runq_test.c - a worker's queue (sched/runq.h), without a runtime: first in, first
 * out.
 * SPDX-License-Identifier: MIT
 *
 * Method: number the fibers as they go in; they have to come out by number, whatever was in the
 * ring and whatever in the list behind it. */
#include "kit.h"

#include "sched/runq.h"

enum { FIBERS = 5 * COIR__RUNQ_CAP };

static struct coir__fiber fibers[FIBERS];
static struct coir__runq queue;
static uint32_t pushed, popped;

static void clear(uint32_t from)
{
    memset(&queue, 0, sizeof queue);
    queue.head = queue.tail = from;
    pushed = popped = 0;
}

static void push(void)
{
    struct coir__fiber *f = &fibers[pushed % FIBERS];
    f->deadline_ns = pushed++;
    coir__runq_push(&queue, f);
    assert_int_equal(coir__runq_len(&queue), pushed - popped);
}

static void pop(void)
{
    struct coir__fiber *f = coir__runq_pop(&queue);
    if (pushed == popped) {
        assert_null(f);
        return;
    }
    assert_non_null(f);
    assert_int_equal(f->deadline_ns, popped);
    popped++;
    assert_int_equal(coir__runq_len(&queue), pushed - popped);
}

static void every_length_comes_out_in_order(void **state)
{
    static const uint32_t lengths[] = { 0,
                                        1,
                                        2,
                                        COIR__RUNQ_CAP - 1,
                                        COIR__RUNQ_CAP,
                                        COIR__RUNQ_CAP + 1,
                                        2 * COIR__RUNQ_CAP,
                                        2 * COIR__RUNQ_CAP + 1,
                                        FIBERS };
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (int round = 0; round < 3; round++) {
            clear(round == 2 ? UINT32_MAX - COIR__RUNQ_CAP / 2 : 0); /* the counters wrap */
            for (uint32_t k = 0; k < lengths[i]; k++)
                push();
            for (uint32_t k = 0; k <= lengths[i]; k++)
                pop();
        }
}

/* While the list holds something, what comes goes behind it, even if the ring has room. */
static void the_list_is_not_overtaken(void **state)
{
    (void)state;
    clear(0);
    for (int i = 0; i < COIR__RUNQ_CAP + 10; i++)
        push();
    for (int i = 0; i < COIR__RUNQ_CAP / 2; i++)
        pop();
    for (int i = 0; i < COIR__RUNQ_CAP; i++)
        push();
    while (pushed != popped)
        pop();
    pop();
}

static void a_random_mix_stays_in_order(void **state)
{
    uint64_t random = 88172645463325252ull;
    (void)state;
    clear(UINT32_MAX - 5000);
    for (int i = 0; i < test_scaled(1000000, 20000); i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        bool growing = i / 4000 % 2 == 0;
        if (random % 100 < (growing ? 70 : 30) && pushed - popped < FIBERS)
            push();
        else
            pop();
    }
    while (pushed != popped)
        pop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_comes_out_in_order),
        cmocka_unit_test(the_list_is_not_overtaken),
        cmocka_unit_test(a_random_mix_stays_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
