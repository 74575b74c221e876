/* tests/sync/future_race_test.c - futures that are set, awaited, cancelled and freed at once.
 * SPDX-License-Identifier: MIT
 *
 * Method: short rounds, as many as TEST_SCALE says, in which fibers of all workers and plain
 * threads start together. Each value is a place in `drops`: in the end somebody has it, exactly
 * once. Futures are freed as early as it is allowed, for AddressSanitizer to see who comes too
 * late. */
#include "future_kit.h"

struct gate {
    _Atomic int waiting, parties;
};

/* Until all have come. */
static void pass(struct gate *g)
{
    atomic_fetch_add(&g->waiting, 1);
    while (atomic_load(&g->waiting) < atomic_load(&g->parties))
        kit_pause();
}

/* A side of a round: a fiber apart, or a plain thread. */
struct side {
    void *(*fn)(void *);
    void *arg;
    coir_fiber *fiber;
    pthread_t thread;
    _Atomic bool done;
};

static void *play_side(void *arg)
{
    struct side *s = arg;
    s->fn(s->arg);
    s->done = true;
    return NULL;
}

static void start(struct side *s, bool as_thread)
{
    s->fiber = as_thread ? NULL : spawn_apart(s->fn, s->arg);
    if (as_thread)
        EXPECT_EQ(pthread_create(&s->thread, NULL, play_side, s), 0);
}

/* Joining a thread blocks the worker, which that may need before it is done. */
static void join_all(struct side *sides, int n)
{
    for (int i = 0; i < n; i++) {
        if (sides[i].fiber) {
            EXPECT_EQ(coir_join(sides[i].fiber, NULL), 0);
        } else {
            EXPECT(KIT_UNTIL(sides[i].done));
            pthread_join(sides[i].thread, NULL);
        }
    }
}

/* Rounds of sides; bit i of the round's number makes a thread of side i. */
static void play(struct side *sides, int n, int round, struct gate *g)
{
    g->waiting = 0;
    g->parties = n;
    for (int i = 0; i < n; i++)
        start(&sides[i], round >> i & 1);
    join_all(sides, n);
}

struct round {
    struct gate gate;
    coir_future *future;
    int set;     /* what set returned */
    int awaited; /* what await returned, and its errno */
    int err;
    void *value;
    _Atomic(coir_fiber *) awaiter;
};

static void *set_and_free(void *arg)
{
    struct round *r = arg;
    pass(&r->gate);
    r->set = coir_future_set(r->future, &drops[0]) < 0 ? errno : 0;
    coir_future_free(r->future);
    return NULL;
}

static void *only_free(void *arg)
{
    struct round *r = arg;
    pass(&r->gate);
    coir_future_free(r->future);
    return NULL;
}

static void set_and_free_race(void *arg)
{
    (void)arg;
    for (int i = 0; i < test_scaled(400, 20); i++) {
        struct round r = { .future = coir_future_new() };
        struct side sides[] = { { .fn = set_and_free, .arg = &r }, { .fn = only_free, .arg = &r } };
        no_drops();
        coir_future_on_drop(coir_future_ref(r.future), drop);
        play(sides, 2, i, &r.gate);
        EXPECT(r.set == 0 || r.set == ECANCELED);
        EXPECT_EQ(drops[0], r.set == 0);
    }
}

static void a_value_set_while_its_consumers_go_is_dropped_or_refused(void **state)
{
    (void)state;
    run_on_each(set_and_free_race, NULL);
}

static void *await_and_free(void *arg)
{
    struct round *r = arg;
    r->awaiter = coir_self();
    pass(&r->gate);
    r->awaited = coir_await(r->future, &r->value);
    r->err = r->awaited < 0 ? errno : 0;
    coir_future_free(r->future);
    return NULL;
}

static void *only_set(void *arg)
{
    struct round *r = arg;
    pass(&r->gate);
    r->set = coir_future_set(r->future, &drops[0]) < 0 ? errno : 0;
    return NULL;
}

/* The awaiter has the only reference, and frees it as soon as it may. */
static void set_and_await_race(void *arg)
{
    (void)arg;
    for (int i = 0; i < test_scaled(400, 20); i++) {
        struct round r = { .future = coir_future_new() };
        struct side sides[] = { { .fn = only_set, .arg = &r },
                                { .fn = await_and_free, .arg = &r } };
        play(sides, 2, i, &r.gate);
        EXPECT_EQ(r.set, 0);
        EXPECT_EQ(r.awaited, 0);
        EXPECT_EQ(r.value, &drops[0]);
    }
}

static void a_promise_may_be_freed_by_its_waiter_while_set_returns(void **state)
{
    (void)state;
    run_on_each(set_and_await_race, NULL);
}

static void *cancel_awaiter(void *arg)
{
    struct round *r = arg;
    pass(&r->gate);
    coir_cancel(r->awaiter);
    return NULL;
}

static void set_await_cancel_race(void *arg)
{
    (void)arg;
    for (int i = 0; i < test_scaled(400, 20); i++) {
        struct round r = { .future = coir_future_new() };
        struct side sides[] = { { .fn = set_and_free, .arg = &r },
                                { .fn = cancel_awaiter, .arg = &r },
                                { .fn = await_and_free, .arg = &r } };
        no_drops();
        coir_future_on_drop(coir_future_ref(r.future), drop);
        play(sides, 3, i & 3, &r.gate); /* a plain thread cannot be cancelled */
        EXPECT(r.awaited == 0 || r.err == ECANCELED);
        EXPECT(r.awaited < 0 || r.set == 0);
        EXPECT_EQ(drops[0], r.set == 0 && r.awaited < 0);
    }
}

static void a_value_goes_to_the_awaiter_or_is_dropped_or_stays_the_setters(void **state)
{
    (void)state;
    run_on_each(set_await_cancel_race, NULL);
}

static void *cancel_future(void *arg)
{
    struct round *r = arg;
    pass(&r->gate);
    EXPECT_EQ(coir_future_cancel(r->future), 0);
    return NULL;
}

static void set_and_revoke_race(void *arg)
{
    (void)arg;
    for (int i = 0; i < test_scaled(400, 20); i++) {
        struct round r = { .future = coir_future_new() };
        struct side sides[] = { { .fn = only_set, .arg = &r },
                                { .fn = cancel_future, .arg = &r },
                                { .fn = await_and_free, .arg = &r } };
        no_drops();
        coir_future_on_drop(coir_future_ref(r.future), drop);
        play(sides, 3, i, &r.gate);
        EXPECT_EQ(r.awaited == 0, r.set == 0);
        EXPECT(r.set == 0 || (r.set == ECANCELED && r.err == ECANCELED));
        coir_future_free(r.future);
        EXPECT_EQ(drops[0], 0);
    }
}

static void a_promise_is_either_set_or_cancelled(void **state)
{
    (void)state;
    run_on_each(set_and_revoke_race, NULL);
}

/* An async that ends by itself just when it is freed, cancelled and awaited. */
static void *end_soon(void *arg)
{
    coir_yield();
    return arg;
}

static void async_race(void *arg)
{
    (void)arg;
    for (int i = 0; i < test_scaled(400, 20); i++) {
        _Atomic int local = 0; /* what fn uses */
        struct round r = { 0 };
        struct side sides[] = { { .fn = only_free, .arg = &r },
                                { .fn = cancel_awaiter, .arg = &r },
                                { .fn = await_and_free, .arg = &r } };
        r.future = async_apart(end_soon, &local);
        coir_future_on_drop(coir_future_ref(r.future), drop);
        play(sides, 3, i & 3, &r.gate);
        EXPECT_EQ(local, r.awaited < 0);
    }
}

static void an_async_that_is_freed_while_it_ends_drops_its_value_once(void **state)
{
    (void)state;
    run_on_each(async_race, NULL);
}

enum { ROW = 4 };

struct row {
    struct gate gate;
    coir_future *futures[ROW];
    _Atomic(coir_fiber *) awaiter;
    _Atomic int next;
};

static void *set_next(void *arg)
{
    struct row *r = arg;
    int i = atomic_fetch_add(&r->next, 1);
    coir_future *f = r->futures[i];
    pass(&r->gate);
    EXPECT_EQ(coir_future_set(f, as_pointer(i + 1)), 0);
    coir_future_free(f);
    return NULL;
}

/* Its own references go the moment it returns; those of the setters may be gone before. */
static void *any_and_free(void *arg)
{
    struct row *r = arg;
    coir_future *mine[ROW];
    void *value = NULL;
    memcpy(mine, r->futures, sizeof mine);
    r->awaiter = coir_self();
    pass(&r->gate);
    int first = coir_await_any(mine, ROW, &value);
    EXPECT(first >= 0 ? coir_future_error(mine[first]) == 0 && value == as_pointer(first + 1)
                      : errno == ECANCELED);
    COIR_SHIELD(COIR_NEVER)
        EXPECT_EQ(coir_await_all(mine, ROW, NULL), 0);
    coir_future_free_all(mine, ROW);
    return NULL;
}

static void *cancel_row(void *arg)
{
    struct row *r = arg;
    pass(&r->gate);
    coir_cancel(r->awaiter);
    return NULL;
}

static void any_race(void *arg)
{
    bool cancels = arg != NULL;
    for (int i = 0; i < test_scaled(300, 15); i++) {
        struct row r = { 0 };
        struct side sides[] = {
            { .fn = set_next, .arg = &r },     { .fn = set_next, .arg = &r },
            { .fn = set_next, .arg = &r },     { .fn = set_next, .arg = &r },
            { .fn = any_and_free, .arg = &r }, { .fn = cancel_row, .arg = &r }
        };
        for (int k = 0; k < ROW; k++)
            r.futures[k] = coir_future_ref(coir_future_new());
        play(sides, ROW + 1 + cancels, cancels ? i & 15 : i, &r.gate);
    }
}

static void await_any_gets_one_of_those_set_at_once(void **state)
{
    (void)state;
    run_on_each(any_race, NULL);
    run_on_each(any_race, drops);
}

/* Races of asyncs whose ends are near each other, with a promise among them that is set as well. */
static void *race_once(void *arg)
{
    struct row *r = arg;
    _Atomic int locals[ROW] = { 0 };
    coir_future *f[ROW];
    void *value = NULL;
    f[0] = coir_future_ref(r->futures[0]);
    for (int i = 1; i < ROW; i++)
        f[i] = async_apart(end_soon, &locals[i]);
    pass(&r->gate);
    int first = coir_race(f, ROW, &value);
    EXPECT(first >= 0);
    EXPECT_EQ(value, first == 0 ? as_pointer(1) : (void *)&locals[first]);
    for (int i = 1; i < ROW; i++) {
        EXPECT(coir_future_error(f[i]) != EINPROGRESS);
        coir_future_on_drop(f[i], drop);
    }
    coir_future_free_all(f, ROW);
    for (int i = 1; i < ROW; i++)
        EXPECT_EQ(locals[i], i != first);
    return NULL;
}

static void race_race(void *arg)
{
    (void)arg;
    for (int i = 0; i < test_scaled(200, 10); i++) {
        struct row r = { 0 };
        struct side sides[] = { { .fn = set_next, .arg = &r }, { .fn = race_once, .arg = &r } };
        r.futures[0] = coir_future_ref(coir_future_new());
        play(sides, 2, i, &r.gate);
        coir_future_free(r.futures[0]);
    }
}

static void a_race_leaves_no_loser_behind(void **state)
{
    (void)state;
    run_on_each(race_race, NULL);
}

/* Many wait for one, with deadlines around the moment at which it is set. */
enum { CROWD = 12 };

struct crowd {
    coir_future *future;
    _Atomic int got_it, late;
};

static void *wait_a_little(void *arg)
{
    struct crowd *c = arg;
    void *value = NULL;
    COIR_TIMEOUT(COIR_US(300))
        if (coir_await(c->future, &value) == 0)
            atomic_fetch_add(&c->got_it, value == c);
        else
            atomic_fetch_add(&c->late, errno == ETIMEDOUT);
    coir_future_free(c->future);
    return NULL;
}

static void crowd_race(void *arg)
{
    (void)arg;
    for (int i = 0; i < test_scaled(60, 5); i++) {
        struct crowd c = { .future = coir_future_new() };
        struct side sides[CROWD];
        for (int k = 0; k < CROWD; k++) {
            coir_future_ref(c.future);
            sides[k] = (struct side){ .fn = wait_a_little, .arg = &c };
            start(&sides[k], k % 4 == 3);
        }
        coir_sleep(COIR_US(20) * (i % 30));
        int set = coir_future_set(c.future, &c) < 0 ? errno : 0;
        EXPECT(set == 0 || (set == ECANCELED && c.got_it + c.late == CROWD));
        join_all(sides, CROWD);
        EXPECT_EQ(c.got_it + c.late, CROWD);
        EXPECT(set == 0 || c.got_it == 0);
        coir_future_free(c.future);
    }
}

static void each_waiter_gets_the_value_or_its_deadline(void **state)
{
    (void)state;
    run_on_each(crowd_race, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_set_while_its_consumers_go_is_dropped_or_refused),
        cmocka_unit_test(a_promise_may_be_freed_by_its_waiter_while_set_returns),
        cmocka_unit_test(a_value_goes_to_the_awaiter_or_is_dropped_or_stays_the_setters),
        cmocka_unit_test(a_promise_is_either_set_or_cancelled),
        cmocka_unit_test(an_async_that_is_freed_while_it_ends_drops_its_value_once),
        cmocka_unit_test(await_any_gets_one_of_those_set_at_once),
        cmocka_unit_test(a_race_leaves_no_loser_behind),
        cmocka_unit_test(each_waiter_gets_the_value_or_its_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
