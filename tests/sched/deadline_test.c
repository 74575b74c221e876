/* tests/sched/deadline_test.c - coir/time.h: sleeping, deadlines, inheritance, shields.
 * SPDX-License-Identifier: MIT
 *
 * Method: a sleep is never shorter than asked and a deadline never early; late by seconds is wrong,
 * late by less is the machine's business. How the blocks of COIR_TIMEOUT may be left is tested in
 * tests/api/timeout_flow.c, at every level of optimisation. */
#include "kit.h"

enum { LATE_MS = 5000 };

struct times {
    struct kit_said said[12];
    int64_t ns[12];
    int wrong, rounds;
    coir_fiber *handle;
    _Atomic bool go;
};

/* How long a call took. */
#define TOOK(call)                                                                                 \
    __extension__({                                                                                \
        int64_t took_begun_ns = coir_now();                                                        \
        (void)(call);                                                                              \
        coir_now() - took_begun_ns;                                                                \
    })

static bool about(int64_t took_ns, int64_t wanted_ns)
{
    if (took_ns >= wanted_ns && took_ns < wanted_ns + COIR_MS(LATE_MS))
        return true;
    print_error("took %lld ns instead of %lld\n", (long long)took_ns, (long long)wanted_ns);
    return false;
}

static void sleeps_of_all_lengths(void *arg)
{
    static const int64_t lengths_ns[] = { 1,           999,         COIR_US(1),  COIR_US(60),
                                          COIR_MS(1),  1234567,     COIR_MS(20), -1,
                                          INT64_MIN,   0 };
    struct times *t = arg;
    for (size_t i = 0; i < sizeof lengths_ns / sizeof *lengths_ns; i++) {
        int64_t ns = lengths_ns[i];
        if (!about(TOOK(t->said[0] = KIT_SAID(coir_sleep(ns))), ns > 0 ? ns : 0))
            t->wrong++;
        t->wrong += t->said[0].result != 0;
    }
}

static void timespecs(void *arg)
{
    const struct timespec two_ms = { 0, 2000000 }, hour = { 3600, 0 }, ever = { INT64_MAX, 0 };
    const struct timespec wrong[] = { { -1, 0 }, { 0, -1 }, { 0, 1000000000 } };
    struct times *t = arg;
    struct timespec left = { 77, 77 };
    t->ns[0] = TOOK(t->said[0] = KIT_SAID(coir_nanosleep(&two_ms, &left)));
    t->wrong += left.tv_sec != 77;
    for (int i = 0; i < 3; i++)
        t->said[1 + i] = KIT_SAID(coir_nanosleep(&wrong[i], NULL));
    t->said[4] = KIT_SAID(coir_nanosleep(NULL, NULL));
    COIR_TIMEOUT(COIR_MS(2)) {
        t->said[5] = KIT_SAID(coir_nanosleep(&hour, &left));
        t->said[6] = KIT_SAID(coir_nanosleep(&ever, NULL));
    }
    t->wrong += left.tv_sec > 3599 || left.tv_sec < 3000;
    t->wrong += left.tv_nsec < 0 || left.tv_nsec >= 1000000000;
}

static void nanosleep_takes_and_returns_timespecs(void **state)
{
    struct times t = { .wrong = 0 };
    (void)state;
    assert_int_equal(fiber_test_run(1, timespecs, &t), 0);
    kit_assert_said(t.said[0], 0, 0);
    assert_true(about(t.ns[0], COIR_MS(2)));
    for (int i = 1; i < 5; i++)
        kit_assert_said(t.said[i], -1, EINVAL);
    kit_assert_said(t.said[5], -1, ETIMEDOUT);
    kit_assert_said(t.said[6], -1, ETIMEDOUT);
    assert_int_equal(t.wrong, 0);
}

static void a_sleep_is_never_shorter(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct times t = { .wrong = 0 };
        assert_int_equal(fiber_test_run(*w, sleeps_of_all_lengths, &t), 0);
        assert_int_equal(t.wrong, 0);
    }
    struct times t = { .wrong = 0 };
    sleeps_of_all_lengths(&t); /* this thread */
    assert_int_equal(t.wrong, 0);
}

static void *sleep_some(void *arg)
{
    struct times *t = arg;
    int64_t ns = COIR_US(1 + (intptr_t)coir_self() / 64 % 5000);
    int64_t took_ns = TOOK(coir_sleep(ns));
    if (took_ns < ns || took_ns > ns + COIR_SEC(KIT_PATIENCE_S))
        __atomic_fetch_add(&t->wrong, 1, __ATOMIC_RELAXED);
    return NULL;
}

static void sleep_all(void *arg)
{
    struct times *t = arg;
    const coir_attr spread = { .flags = COIR_SPREAD };
    coir_fiber **fibers = calloc((size_t)t->rounds, sizeof *fibers);
    for (int i = 0; i < t->rounds; i++)
        fibers[i] = coir_spawn_with(&spread, sleep_some, t);
    for (int i = 0; i < t->rounds; i++)
        coir_join(fibers[i], NULL);
    free(fibers);
}

static void ten_thousand_sleep_at_once(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct times t = { .rounds = test_scaled(10000, 200) };
        assert_int_equal(fiber_test_run(*w, sleep_all, &t), 0);
        assert_int_equal(t.wrong, 0);
    }
}

static void *stay(void *arg)
{
    struct times *t = arg;
    KIT_UNTIL(atomic_load(&t->go));
    return NULL;
}

/* Past a deadline everything that may park fails at once, as long as it stands. */
static void bounded(void *arg)
{
    struct times *t = arg;
    const coir_attr unbounded = { .deadline_ns = COIR_NEVER };
    t->handle = coir_spawn_with(&unbounded, stay, t);
    int64_t begun_ns = coir_now();
    COIR_TIMEOUT(COIR_MS(20)) {
        t->said[0] = KIT_SAID(coir_check());
        t->said[1] = KIT_SAID(coir_sleep(COIR_SEC(3600)));
        t->ns[0] = coir_now() - begun_ns;
        t->said[2] = KIT_SAID(coir_check());
        t->ns[1] = TOOK(t->said[3] = KIT_SAID(coir_sleep(COIR_SEC(3600))));
        t->said[4] = KIT_SAID(coir_sleep(0));
        t->said[5] = KIT_SAID(coir_join(t->handle, NULL));
        t->said[6] = (struct kit_said){ coir_deadline_passed(), 0 };
        coir_yield();
    }
    t->said[7] = KIT_SAID(coir_check());
    t->said[8] = (struct kit_said){ coir_deadline_passed(), 0 };
    t->said[9] = KIT_SAID(coir_sleep(1));
    begun_ns = coir_now();
    COIR_TIMEOUT(COIR_MS(20))
        t->said[10] = KIT_SAID(coir_join(t->handle, NULL));
    t->ns[2] = coir_now() - begun_ns;
    t->go = true;
    t->said[11] = KIT_SAID(coir_join(t->handle, NULL));
}

/* In a child process nothing can be asserted: so this counts, and says, what is wrong. */
static int count_wrong(const struct kit_said *said, const struct kit_said *wanted, int n)
{
    int wrong = 0;
    for (int i = 0; i < n; i++)
        if (said[i].result != wanted[i].result || said[i].err != wanted[i].err) {
            print_error("call %d: %d, errno %d\n", i, said[i].result, said[i].err);
            wrong++;
        }
    return wrong;
}

static int wrong_when_bounded(const struct times *t)
{
    static const struct kit_said wanted[12] = {
        { 0, 0 },          { -1, ETIMEDOUT }, { -1, ETIMEDOUT }, { -1, ETIMEDOUT },
        { -1, ETIMEDOUT }, { -1, ETIMEDOUT }, { 1, 0 },          { 0, 0 },
        { 0, 0 },          { 0, 0 },          { -1, ETIMEDOUT }, { 0, 0 },
    };
    return count_wrong(t->said, wanted, 12) + !about(t->ns[0], COIR_MS(20)) +
           !about(t->ns[1], 0) + !about(t->ns[2], COIR_MS(20));
}

static void a_deadline_ends_waits_and_stands_until_it_is_lifted(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct times t = { .wrong = 0 };
        assert_int_equal(fiber_test_run(*w, bounded, &t), 0);
        assert_int_equal(wrong_when_bounded(&t), 0);
    }
}

static int bounded_thread(void *arg)
{
    struct times t = { .wrong = 0 };
    (void)arg;
    alarm(KIT_PATIENCE_S);
    bounded(&t);
    return wrong_when_bounded(&t);
}

static void a_plain_thread_has_a_deadline_too(void **state)
{
    char text[256];
    (void)state;
    /* In a child: there the runtime starts by itself. */
    assert_int_equal(test_child(bounded_thread, NULL, text, sizeof text), 0);
}

static void set_and_narrow(void *arg)
{
    struct times *t = arg;
    int64_t *ns = t->ns;
    int64_t now_ns = coir_now();
    ns[0] = coir_deadline() == COIR_NEVER;
    ns[1] = coir_deadline_set(now_ns + 5000000000) == COIR_NEVER;
    ns[2] = coir_deadline_narrow(now_ns + 6000000000) == now_ns + 5000000000;
    ns[3] = coir_deadline() == now_ns + 5000000000;
    ns[4] = coir_deadline_narrow(now_ns + 4000000000) == now_ns + 5000000000;
    ns[5] = coir_deadline() == now_ns + 4000000000;
    ns[6] = coir_deadline_set(now_ns + 7000000000) == now_ns + 4000000000;
    ns[7] = coir_deadline() == now_ns + 7000000000 && !coir_deadline_passed();
    ns[8] = coir_deadline_set(1) && coir_deadline_passed() && coir_check() < 0;
    ns[9] = coir_deadline_set(COIR_NEVER) == 1 && !coir_deadline_passed() && coir_check() == 0;
    int64_t after_ns = coir_after(1000);
    ns[10] = after_ns >= now_ns + 1000 && after_ns <= coir_now() + 1000;
    ns[11] = coir_after(COIR_NEVER) == COIR_NEVER && coir_after(COIR_NEVER - 1) == COIR_NEVER &&
             coir_after(-1) < coir_now();
}

static void deadlines_are_set_narrowed_and_asked_for(void **state)
{
    struct times here = { .wrong = 0 };
    (void)state;
    set_and_narrow(&here);
    for (int i = 0; i < 12; i++)
        assert_int_equal(here.ns[i], 1);
    for (const unsigned *w = test_workers; *w; w++) {
        struct times t = { .wrong = 0 };
        assert_int_equal(fiber_test_run(*w, set_and_narrow, &t), 0);
        for (int i = 0; i < 12; i++)
            assert_int_equal(t.ns[i], 1);
    }
}

static void *tell_deadline(void *arg)
{
    __atomic_store_n((int64_t *)arg, coir_deadline(), __ATOMIC_RELEASE);
    return NULL;
}

static void inherit(void *arg)
{
    struct times *t = arg;
    int64_t mine_ns = coir_now() + COIR_SEC(3600);
    const coir_attr attrs[] = { { .flags = 0 },
                                { .flags = COIR_SPREAD },
                                { .deadline_ns = COIR_NEVER },
                                { .deadline_ns = mine_ns + 7 },
                                { .flags = COIR_SPREAD, .deadline_ns = 3 } };
    const coir_attr detached[] = { { .flags = COIR_DETACHED },
                                   { .flags = COIR_DETACHED | COIR_SPREAD },
                                   { .flags = COIR_DETACHED, .deadline_ns = mine_ns - 5 } };
    coir_deadline_set(mine_ns);
    coir_join(coir_spawn(tell_deadline, &t->ns[0]), NULL);
    for (int i = 0; i < 5; i++)
        coir_join(coir_spawn_with(&attrs[i], tell_deadline, &t->ns[1 + i]), NULL);
    for (int i = 0; i < 3; i++)
        coir_spawn_with(&detached[i], tell_deadline, &t->ns[6 + i]);
    for (int i = 6; i < 9; i++)
        KIT_UNTIL(__atomic_load_n(&t->ns[i], __ATOMIC_ACQUIRE));
    COIR_SHIELD(COIR_SEC(10))
        coir_join(coir_spawn(tell_deadline, &t->ns[9]), NULL);
    t->ns[9] = t->ns[9] > coir_now() && t->ns[9] <= coir_after(COIR_SEC(10)) ? mine_ns : 0;
    t->ns[10] = mine_ns;
}

static bool inherited(const int64_t *ns)
{
    int64_t mine_ns = ns[10];
    return ns[0] == mine_ns && ns[1] == mine_ns && ns[2] == mine_ns && ns[3] == COIR_NEVER &&
           ns[4] == mine_ns + 7 && ns[5] == 3 && ns[6] == COIR_NEVER && ns[7] == COIR_NEVER &&
           ns[8] == mine_ns - 5 && ns[9] == mine_ns;
}

static void the_spawned_inherit_but_not_the_detached(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct times t = { .wrong = 0 };
        assert_int_equal(fiber_test_run(*w, inherit, &t), 0);
        assert_true(inherited(t.ns));
    }
}

static int inherit_from_thread(void *arg)
{
    struct times t = { .wrong = 0 };
    (void)arg;
    alarm(KIT_PATIENCE_S);
    inherit(&t);
    return !inherited(t.ns);
}

static void they_inherit_from_plain_threads_too(void **state)
{
    char text[256];
    (void)state;
    assert_int_equal(test_child(inherit_from_thread, NULL, text, sizeof text), 0);
}

/* Cancelled and past its deadline: in a shield neither is seen, after it both are. */
static void *clean_up(void *arg)
{
    struct times *t = arg;
    coir_cancel(coir_self());
    coir_deadline_set(1);
    t->said[0] = KIT_SAID(coir_check());
    COIR_SHIELD(COIR_SEC(KIT_PATIENCE_S)) {
        t->said[1] = KIT_SAID(coir_check());
        t->ns[0] = TOOK(t->said[2] = KIT_SAID(coir_sleep(COIR_MS(5))));
        int64_t begun_ns = coir_now();
        COIR_SHIELD(COIR_MS(5)) {
            t->said[3] = KIT_SAID(coir_check());
            t->said[4] = KIT_SAID(coir_sleep(COIR_SEC(3600)));
        }
        t->ns[1] = coir_now() - begun_ns;
        t->said[5] = KIT_SAID(coir_sleep(1));
        coir_cancel(coir_self());
        t->said[6] = KIT_SAID(coir_join(coir_spawn(kit_nothing, NULL), NULL));
        COIR_TIMEOUT(COIR_MS(1))
            t->said[7] = KIT_SAID(coir_sleep(COIR_SEC(3600)));
    }
    t->said[8] = KIT_SAID(coir_check());
    t->said[9] = KIT_SAID(coir_sleep(1));
    return NULL;
}

static void run_clean_up(void *arg)
{
    coir_join(coir_spawn(clean_up, arg), NULL);
}

static void a_shield_masks_both_and_has_its_own_bound(void **state)
{
    static const struct kit_said wanted[10] = {
        { -1, ECANCELED }, { 0, 0 }, { 0, 0 }, { 0, 0 },          { -1, ETIMEDOUT }, { 0, 0 },
        { 0, 0 },          { -1, ETIMEDOUT },  { -1, ECANCELED }, { -1, ECANCELED },
    };
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct times t = { .wrong = 0 };
        assert_int_equal(fiber_test_run(*w, run_clean_up, &t), 0);
        assert_int_equal(count_wrong(t.said, wanted, 10), 0);
        assert_true(about(t.ns[0], COIR_MS(5)));
        assert_true(about(t.ns[1], COIR_MS(5)));
    }
}

/* A cancel that comes while the fiber is parked in a shield is seen right after it. */
static void *sleep_in_shield(void *arg)
{
    struct times *t = arg;
    COIR_SHIELD(COIR_SEC(KIT_PATIENCE_S))
        t->ns[0] = TOOK(t->said[0] = KIT_SAID(coir_sleep(COIR_MS(20))));
    t->said[1] = KIT_SAID(coir_sleep(COIR_SEC(KIT_PATIENCE_S)));
    return NULL;
}

static void cancel_the_shielded(void *arg)
{
    struct times *t = arg;
    const coir_attr spread = { .flags = COIR_SPREAD };
    t->handle = coir_spawn_with(&spread, sleep_in_shield, t);
    KIT_UNTIL(coir__fiber_state(kit_record(t->handle)) == COIR__PARKED);
    for (int i = 0; i < 5; i++)
        coir_cancel(t->handle);
    coir_join(t->handle, NULL);
}

static void a_cancel_waits_for_the_end_of_the_shield(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct times t = { .wrong = 0 };
        assert_int_equal(fiber_test_run(*w, cancel_the_shielded, &t), 0);
        kit_assert_said(t.said[0], 0, 0);
        assert_true(about(t.ns[0], COIR_MS(20)));
        kit_assert_said(t.said[1], -1, ECANCELED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sleep_is_never_shorter),
        cmocka_unit_test(nanosleep_takes_and_returns_timespecs),
        cmocka_unit_test(ten_thousand_sleep_at_once),
        cmocka_unit_test(a_deadline_ends_waits_and_stands_until_it_is_lifted),
        cmocka_unit_test(a_plain_thread_has_a_deadline_too),
        cmocka_unit_test(deadlines_are_set_narrowed_and_asked_for),
        cmocka_unit_test(the_spawned_inherit_but_not_the_detached),
        cmocka_unit_test(they_inherit_from_plain_threads_too),
        cmocka_unit_test(a_shield_masks_both_and_has_its_own_bound),
        cmocka_unit_test(a_cancel_waits_for_the_end_of_the_shield),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
