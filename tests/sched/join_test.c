/* tests/sched/join_test.c - who gets a fiber's result when several want it, or want it no longer.
 * SPDX-License-Identifier: MIT
 *
 * Method: the orders that can be forced are forced; the races are repeated, and exactly one of the
 * rivals has to win each time. */
#include "kit.h"

enum { RIVALS = 4 };

struct rivals {
    coir_fiber *target;
    _Atomic int arrived, won, invalid, timed_out, other;
    _Atomic bool go, leave;
    void *result;
    struct kit_said said[4];
    int rounds, wrong;
    int64_t pause_ns;
};

static void note(struct rivals *r, struct kit_said said)
{
    _Atomic int *where = said.result == 0                         ? &r->won
                         : said.result == -1 && said.err == EINVAL ? &r->invalid
                         : said.result == -1 && said.err == ETIMEDOUT ? &r->timed_out
                                                                      : &r->other;
    atomic_fetch_add(where, 1);
}

static void *stay(void *arg)
{
    struct rivals *r = arg;
    KIT_UNTIL(atomic_load(&r->leave));
    return r;
}

static void *join_target(void *arg)
{
    struct rivals *r = arg;
    void *result = NULL;
    struct kit_said said = KIT_SAID(coir_join(r->target, &result));
    if (said.result == 0)
        r->result = result;
    note(r, said);
    return NULL;
}

/* Wait until somebody is parked in a join of f. */
static void until_joined(coir_fiber *f)
{
    struct coir__fiber *record = kit_record(f);
    KIT_UNTIL(record->joiner != NULL);
}

static void two_joiners(void *arg)
{
    struct rivals *r = arg;
    r->target = coir_spawn(stay, r);
    coir_fiber *first = coir_spawn(join_target, r);
    until_joined(r->target);
    r->said[0] = KIT_SAID(coir_join(r->target, NULL));
    r->said[1] = KIT_SAID(coir_detach(r->target));
    atomic_store(&r->leave, true);
    r->said[2] = KIT_SAID(coir_join(first, NULL));
}

static void a_second_joiner_is_einval_and_so_is_detach(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct rivals r = { .won = 0 };
        assert_int_equal(fiber_test_run(*w, two_joiners, &r), 0);
        kit_assert_said(r.said[0], -1, EINVAL);
        kit_assert_said(r.said[1], -1, EINVAL);
        kit_assert_said(r.said[2], 0, 0);
        assert_int_equal(r.won, 1);
        assert_ptr_equal(r.result, &r);
    }
}

/* The target ends while its joiner is parked: between that and the joiner's turn, others ask. */
static void late_rival(void *arg)
{
    struct rivals *r = arg;
    r->target = coir_spawn(stay, r);
    coir_fiber *first = coir_spawn(join_target, r);
    until_joined(r->target);
    struct coir__fiber *record = kit_record(r->target);
    atomic_store(&r->leave, true);
    KIT_UNTIL(coir__fiber_state(record) != COIR__PARKED && record->done);
    r->said[0] = KIT_SAID(coir_join(r->target, NULL));
    r->said[1] = KIT_SAID(coir_detach(r->target));
    r->said[2] = KIT_SAID(coir_join(first, NULL));
}

static void who_waited_gets_the_result_however_late_it_wakes(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        for (int i = 0; i < test_scaled(200, 20); i++) {
            struct rivals r = { .won = 0 };
            assert_int_equal(fiber_test_run(*w, late_rival, &r), 0);
            kit_assert_said(r.said[0], -1, EINVAL);
            kit_assert_said(r.said[1], -1, EINVAL);
            kit_assert_said(r.said[2], 0, 0);
            assert_int_equal(r.won, 1);
            assert_ptr_equal(r.result, &r);
        }
}

static void *rival(void *arg)
{
    struct rivals *r = arg;
    atomic_fetch_add(&r->arrived, 1);
    while (!atomic_load(&r->go))
        kit_pause();
    return join_target(r);
}

static void *detaching_rival(void *arg)
{
    struct rivals *r = arg;
    atomic_fetch_add(&r->arrived, 1);
    while (!atomic_load(&r->go))
        kit_pause();
    note(r, KIT_SAID(coir_detach(r->target)));
    return NULL;
}

static void race(struct rivals *r, void *(*last)(void *))
{
    const coir_attr spread = { .flags = COIR_SPREAD };
    coir_fiber *fibers[RIVALS];
    for (int round = 0; round < r->rounds; round++) {
        r->arrived = r->won = r->invalid = r->other = 0;
        r->go = r->leave = round % 2; /* every other target has ended before they come */
        /* Every fourth and the one before: on this worker, to which its lock is biased. */
        r->target = round % 4 < 2 ? coir_spawn(stay, r) : coir_spawn_with(&spread, stay, r);
        if (round % 2)
            KIT_UNTIL(kit_record(r->target)->done);
        r->go = false;
        for (int i = 0; i < RIVALS; i++)
            fibers[i] = coir_spawn_with(&spread, i == RIVALS - 1 ? last : rival, r);
        KIT_UNTIL(atomic_load(&r->arrived) == RIVALS);
        atomic_store(&r->go, true);
        atomic_store(&r->leave, true);
        for (int i = 0; i < RIVALS; i++)
            coir_join(fibers[i], NULL);
        r->wrong += r->won != 1 || r->invalid != RIVALS - 1 || r->other;
    }
}

static void race_joins(void *arg)
{
    race(arg, rival);
}

static void race_with_detach(void *arg)
{
    race(arg, detaching_rival);
}

static void of_many_joiners_exactly_one_wins(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct rivals r = { .rounds = test_scaled(2000, 100) };
        assert_int_equal(fiber_test_run(*w, race_joins, &r), 0);
        assert_int_equal(r.wrong, 0);
    }
}

static void of_joiners_and_a_detach_exactly_one_wins(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct rivals r = { .rounds = test_scaled(2000, 100) };
        assert_int_equal(fiber_test_run(*w, race_with_detach, &r), 0);
        assert_int_equal(r.wrong, 0);
    }
}

static void *join_briefly(void *arg)
{
    struct rivals *r = arg;
    COIR_TIMEOUT(COIR_MS(5))
        r->said[0] = KIT_SAID(coir_join(r->target, NULL));
    coir_cancel(coir_self());
    r->said[1] = KIT_SAID(coir_join(r->target, NULL));
    return NULL;
}

static void *join_until_cancelled(void *arg)
{
    struct rivals *r = arg;
    r->said[2] = KIT_SAID(coir_join(r->target, NULL));
    return NULL;
}

static void give_up(void *arg)
{
    struct rivals *r = arg;
    r->target = coir_spawn(stay, r);
    coir_join(coir_spawn(join_briefly, r), NULL);
    coir_fiber *second = coir_spawn(join_until_cancelled, r);
    until_joined(r->target);
    coir_cancel(second);
    coir_join(second, NULL);
    atomic_store(&r->leave, true);
    r->said[3] = KIT_SAID(coir_join(r->target, &r->result));
}

static void a_join_that_gives_up_leaves_the_handle_valid(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct rivals r = { .won = 0 };
        assert_int_equal(fiber_test_run(*w, give_up, &r), 0);
        kit_assert_said(r.said[0], -1, ETIMEDOUT);
        kit_assert_said(r.said[1], -1, ECANCELED);
        kit_assert_said(r.said[2], -1, ECANCELED);
        kit_assert_said(r.said[3], 0, 0);
        assert_ptr_equal(r.result, &r);
    }
}

static void *end_after(void *arg)
{
    struct rivals *r = arg;
    coir_sleep(r->pause_ns);
    return r;
}

/* The deadline and the end come at about the same time, in any order. */
static void close_finish(void *arg)
{
    struct rivals *r = arg;
    const coir_attr spread = { .flags = COIR_SPREAD, .deadline_ns = COIR_NEVER };
    for (int round = 0; round < r->rounds; round++) {
        r->pause_ns = COIR_US(50 + round % 50);
        coir_fiber *f = coir_spawn_with(&spread, end_after, r);
        struct kit_said said = { -2, -2 };
        void *result = NULL;
        COIR_TIMEOUT(COIR_US(50 + round % 37))
            said = KIT_SAID(coir_join(f, &result));
        note(r, said);
        if (said.result < 0)
            said = KIT_SAID(coir_join(f, &result));
        r->wrong += said.result != 0 || result != r;
        r->wrong += coir_join(f, NULL) != -1 || errno != EINVAL;
    }
}

static void end_and_deadline_at_once_lose_nothing(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct rivals r = { .rounds = test_scaled(2000, 200) };
        assert_int_equal(fiber_test_run(*w, close_finish, &r), 0);
        assert_int_equal(r.wrong, 0);
        assert_int_equal(r.won + r.timed_out, r.rounds);
    }
}

/* Several want it, none has patience: each comes again and again until one has it. */
static void *join_impatiently(void *arg)
{
    struct rivals *r = arg;
    int64_t until_ns = coir_after(COIR_SEC(KIT_PATIENCE_S));
    for (int i = 0; !atomic_load(&r->won) && coir_now() < until_ns; i++) {
        struct kit_said said = { -1, EINVAL };
        COIR_TIMEOUT(COIR_US(5 + i % 20))
            said = KIT_SAID(coir_join(r->target, NULL));
        if (said.result == 0)
            atomic_fetch_add(&r->won, 1);
        else if (said.err != ETIMEDOUT && said.err != EINVAL)
            atomic_fetch_add(&r->other, 1);
        if (i % 2)
            coir_yield();
    }
    return NULL;
}

static void impatient_joiners(void *arg)
{
    struct rivals *r = arg;
    const coir_attr spread = { .flags = COIR_SPREAD };
    coir_fiber *fibers[RIVALS];
    for (int round = 0; round < r->rounds; round++) {
        r->won = 0;
        r->pause_ns = COIR_US(20 + round % 50);
        r->target = coir_spawn_with(&spread, end_after, r);
        for (int i = 0; i < RIVALS; i++)
            fibers[i] = coir_spawn_with(&spread, join_impatiently, r);
        for (int i = 0; i < RIVALS; i++)
            coir_join(fibers[i], NULL);
        r->wrong += r->won != 1 || r->other;
    }
}

static void of_many_impatient_joiners_exactly_one_wins(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct rivals r = { .rounds = test_scaled(300, 20) };
        assert_int_equal(fiber_test_run(*w, impatient_joiners, &r), 0);
        assert_int_equal(r.wrong, 0);
    }
}

static void *cancel_soon(void *arg)
{
    struct rivals *r = arg;
    coir_cancel(r->target);
    return NULL;
}

static void *sleep_long(void *arg)
{
    coir_sleep(COIR_SEC(KIT_PATIENCE_S));
    return arg;
}

/* The joined fiber and the joiner are both cancelled, from other workers. */
static void *cancelled_join(void *arg)
{
    struct rivals *r = arg;
    const coir_attr spread = { .flags = COIR_SPREAD };
    r->target = coir_spawn_with(&spread, sleep_long, r);
    coir_fiber *canceller = coir_spawn_with(&spread, cancel_soon, r);
    struct kit_said said = KIT_SAID(coir_join(r->target, NULL));
    COIR_SHIELD(COIR_SEC(KIT_PATIENCE_S)) {
        coir_join(canceller, NULL);
        if (said.result < 0)
            r->wrong += coir_join(r->target, NULL) != 0;
    }
    note(r, said);
    return NULL;
}

static void cancel_both(void *arg)
{
    struct rivals *r = arg;
    const coir_attr spread = { .flags = COIR_SPREAD };
    for (int round = 0; round < r->rounds; round++) {
        coir_fiber *joiner = coir_spawn_with(&spread, cancelled_join, r);
        for (int i = round % 7; i > 0; i--)
            coir_yield();
        coir_cancel(joiner);
        coir_join(joiner, NULL);
    }
}

static void end_and_cancel_at_once_lose_nothing(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct rivals r = { .rounds = test_scaled(2000, 100) };
        assert_int_equal(fiber_test_run(*w, cancel_both, &r), 0);
        assert_int_equal(r.wrong, 0);
        assert_int_equal(r.won + r.other, r.rounds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_joiner_is_einval_and_so_is_detach),
        cmocka_unit_test(who_waited_gets_the_result_however_late_it_wakes),
        cmocka_unit_test(of_many_joiners_exactly_one_wins),
        cmocka_unit_test(of_joiners_and_a_detach_exactly_one_wins),
        cmocka_unit_test(a_join_that_gives_up_leaves_the_handle_valid),
        cmocka_unit_test(end_and_deadline_at_once_lose_nothing),
        cmocka_unit_test(of_many_impatient_joiners_exactly_one_wins),
        cmocka_unit_test(end_and_cancel_at_once_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
