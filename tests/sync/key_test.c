/* tests/sync/key_test.c - values of one's own: separate, destroyed at the end, never a stranger's.
 * SPDX-License-Identifier: MIT
 *
 * Method: destructors record what they saw; the test looks at it when the fiber has been joined. */
#include "../sched/kit.h"

enum { FIBERS = 50, KEYS_MAX = 1024 };

static coir_key key, other;
static _Atomic int destroyed;

static void count(void *value)
{
    (void)value;
    destroyed++;
}

static void *keep_own_value(void *arg)
{
    int *wrong = arg, mine;
    *wrong += coir_getspecific(key) != NULL;
    for (int i = 0; i < 20; i++) {
        *wrong += coir_setspecific(key, &mine + i) != 0;
        *wrong += coir_setspecific(other, wrong) != 0;
        kit_pause();
        *wrong += coir_getspecific(key) != &mine + i || coir_getspecific(other) != wrong;
    }
    return NULL;
}

static void keep_own_values(void *arg)
{
    int *wrong = arg;
    coir_attr attr = { .flags = COIR_SPREAD };
    coir_fiber *fibers[FIBERS];
    pthread_t thread;
    pthread_create(&thread, NULL, keep_own_value, &wrong[FIBERS]);
    for (int i = 0; i < FIBERS; i++)
        fibers[i] = coir_spawn_with(&attr, keep_own_value, &wrong[i]);
    for (int i = 0; i < FIBERS; i++)
        coir_join(fibers[i], NULL);
    pthread_join(thread, NULL);
}

static void everybody_has_a_value_of_his_own(void **state)
{
    (void)state;
    assert_int_equal(coir_key_create(&key, count), 0);
    assert_int_equal(coir_key_create(&other, NULL), 0);
    assert_true(key && other && key != other);
    for (const unsigned *w = test_workers; *w; w++) {
        int wrong[FIBERS + 1] = { 0 };
        destroyed = 0;
        assert_int_equal(fiber_test_run(*w, keep_own_values, wrong), 0);
        for (int i = 0; i <= FIBERS; i++)
            assert_int_equal(wrong[i], 0);
        assert_int_equal(destroyed, FIBERS + 1);
    }
    assert_int_equal(coir_key_delete(key), 0);
    assert_int_equal(coir_key_delete(other), 0);
}

struct last {
    coir_fiber *fiber, *destroyed_on;
    void *value;
    struct kit_said unshielded, shielded;
    bool park;
};

static void record_last(void *value)
{
    struct last *last = value;
    last->destroyed_on = coir_self();
    last->value = value;
    errno = EDOM;
    if (!last->park)
        return;
    last->unshielded = KIT_SAID(coir_sleep(1));
    COIR_SHIELD(COIR_SEC(KIT_PATIENCE_S))
        last->shielded = KIT_SAID(coir_sleep(1));
}

static void *set_and_fail(void *arg)
{
    struct last *last = arg;
    coir_setspecific(key, last);
    while (last->park && coir_sleep(COIR_MS(1)) == 0)
        ;
    return coir_fail(EXDEV);
}

struct ended {
    struct last last;
    struct kit_said join;
};

static void end_with_value(void *arg)
{
    struct ended *e = arg;
    e->last.fiber = coir_spawn(set_and_fail, &e->last);
    if (e->last.park)
        coir_cancel(e->last.fiber);
    e->join = KIT_SAID(coir_join(e->last.fiber, NULL));
}

static void destructors_run_on_the_fiber_before_it_is_joined(void **state)
{
    (void)state;
    assert_int_equal(coir_key_create(&key, record_last), 0);
    for (const unsigned *w = test_workers; *w; w++) {
        struct ended e = { .last = { .park = false } };
        assert_int_equal(fiber_test_run(*w, end_with_value, &e), 0);
        assert_ptr_equal(e.last.value, &e.last);
        assert_ptr_equal(e.last.destroyed_on, e.last.fiber);
        kit_assert_said(e.join, -1, EXDEV); /* and not what a destructor left in errno */
    }
    coir_key_delete(key);
}

static void destructors_of_a_cancelled_fiber_run_and_may_park_in_a_shield(void **state)
{
    (void)state;
    assert_int_equal(coir_key_create(&key, record_last), 0);
    struct ended e = { .last = { .park = true } };
    assert_int_equal(fiber_test_run(2, end_with_value, &e), 0);
    assert_ptr_equal(e.last.destroyed_on, e.last.fiber);
    kit_assert_said(e.last.unshielded, -1, ECANCELED);
    kit_assert_said(e.last.shielded, 0, 0);
    coir_key_delete(key);
}

static void a_plain_thread_destroys_its_values_when_it_exits(void **state)
{
    struct last last = { .park = false };
    pthread_t thread;
    (void)state;
    assert_int_equal(coir_key_create(&key, record_last), 0);
    pthread_create(&thread, NULL, set_and_fail, &last);
    pthread_join(thread, NULL);
    assert_ptr_equal(last.value, &last);
    assert_null(last.destroyed_on);
    coir_key_delete(key);
}

static coir_key many[40];
static _Atomic int rounds;

/* Sets its own key anew, and, the first time, others as well: the table grows meanwhile. */
static void set_again(void *value)
{
    if (rounds++ == 0)
        for (int i = 0; i < 40; i++)
            coir_setspecific(many[i], value);
    coir_setspecific(key, value);
}

static void *set_key(void *arg)
{
    coir_setspecific(key, arg);
    return NULL;
}

static void join_one(void *fn)
{
    void *(**body)(void *) = fn;
    coir_join(coir_spawn(*body, &rounds), NULL);
}

static void values_that_destructors_set_are_destroyed_four_times_over(void **state)
{
    void *(*body)(void *) = set_key;
    pthread_t thread;
    (void)state;
    assert_int_equal(coir_key_create(&key, set_again), 0);
    for (int i = 0; i < 40; i++)
        assert_int_equal(coir_key_create(&many[i], count), 0);
    rounds = destroyed = 0;
    assert_int_equal(fiber_test_run(1, join_one, &body), 0);
    assert_int_equal(rounds, 4);
    assert_int_equal(destroyed, 40);
    rounds = destroyed = 0;
    pthread_create(&thread, NULL, set_key, &rounds);
    pthread_join(thread, NULL);
    assert_int_equal(rounds, 4);
    assert_int_equal(destroyed, 40);
    coir_key_delete(key);
    for (int i = 0; i < 40; i++)
        coir_key_delete(many[i]);
}

static _Atomic int seen, refused;

/* Every slot is used again, some of them twice. */
static void *meet_old_values(void *arg)
{
    coir_key old[KEYS_MAX], fresh;
    for (int i = 0; i < KEYS_MAX; i++) {
        coir_key_create(&old[i], count);
        coir_setspecific(old[i], arg);
    }
    for (int i = 0; i < KEYS_MAX; i++)
        coir_key_delete(old[i]);
    for (int i = 0; i < KEYS_MAX; i++) {
        struct kit_said said = KIT_SAID(coir_setspecific(old[i], arg));
        refused += said.err == EINVAL && coir_getspecific(old[i]) == NULL;
    }
    for (int i = 0; i < 3 * KEYS_MAX / 2; i++) {
        coir_key_create(&fresh, count);
        seen += coir_getspecific(fresh) != NULL;
        coir_key_delete(fresh);
    }
    coir_key_create(&key, count);
    return NULL;
}

static void values_of_a_deleted_key_are_not_seen_by_a_new_one(void **state)
{
    void *(*body)(void *) = meet_old_values;
    (void)state;
    destroyed = 0;
    seen = refused = 0;
    assert_int_equal(fiber_test_run(1, join_one, &body), 0);
    assert_int_equal(seen, 0);
    assert_int_equal(refused, KEYS_MAX);
    assert_int_equal(destroyed, 0); /* of deleted keys, and of a new one without a value */
    coir_key_delete(key);
    meet_old_values(&key);
    assert_int_equal(seen, 0);
    coir_key_delete(key);
}

static void *look_only(void *arg)
{
    seen += coir_getspecific(key) != NULL;
    return arg;
}

static void set_then_look(void *arg)
{
    (void)arg;
    for (int i = 0; i < FIBERS; i++) {
        coir_join(coir_spawn(set_key, &key), NULL);
        coir_join(coir_spawn(look_only, NULL), NULL);
    }
}

static void a_fiber_in_the_place_of_another_finds_no_value(void **state)
{
    (void)state;
    seen = 0;
    assert_int_equal(coir_key_create(&key, NULL), 0);
    assert_int_equal(fiber_test_run(1, set_then_look, NULL), 0);
    assert_int_equal(seen, 0);
    coir_key_delete(key);
}

static void there_are_so_many_keys_and_no_more(void **state)
{
    static coir_key all[KEYS_MAX];
    coir_key more = 7;
    (void)state;
    for (int i = 0; i < KEYS_MAX; i++)
        assert_int_equal(coir_key_create(&all[i], NULL), 0);
    kit_assert_said(KIT_SAID(coir_key_create(&more, NULL)), -1, EAGAIN);
    assert_int_equal(more, 7);
    assert_int_equal(coir_key_delete(all[500]), 0);
    kit_assert_said(KIT_SAID(coir_key_delete(all[500])), -1, EINVAL);
    assert_int_equal(coir_key_create(&all[500], NULL), 0);
    for (int i = 0; i < KEYS_MAX; i++)
        assert_int_equal(coir_key_delete(all[i]), 0);
    kit_assert_said(KIT_SAID(coir_setspecific(0, &more)), -1, EINVAL);
    kit_assert_said(KIT_SAID(coir_key_delete(0)), -1, EINVAL);
    assert_null(coir_getspecific(0));
}

/* Keys come and go while others set, get and destroy values. */
static void *come_and_go(void *arg)
{
    for (int i = 0; i < test_scaled(2000, 50); i++) {
        coir_key k;
        if (coir_key_create(&k, count) < 0)
            continue;
        coir_setspecific(k, arg);
        seen += coir_getspecific(k) != arg;
        if (i % 16 == 0)
            kit_pause();
        coir_key_delete(k);
    }
    return NULL;
}

static void come_and_go_together(void *arg)
{
    coir_attr attr = { .flags = COIR_SPREAD };
    coir_fiber *fibers[8];
    for (int i = 0; i < 8; i++)
        fibers[i] = coir_spawn_with(&attr, come_and_go, arg);
    for (int i = 0; i < 8; i++)
        coir_join(fibers[i], NULL);
}

static void keys_may_come_and_go_on_several_workers_at_once(void **state)
{
    (void)state;
    destroyed = 0;
    seen = 0;
    assert_int_equal(fiber_test_run(4, come_and_go_together, &key), 0);
    assert_int_equal(seen, 0);
    assert_int_equal(destroyed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_has_a_value_of_his_own),
        cmocka_unit_test(destructors_run_on_the_fiber_before_it_is_joined),
        cmocka_unit_test(destructors_of_a_cancelled_fiber_run_and_may_park_in_a_shield),
        cmocka_unit_test(a_plain_thread_destroys_its_values_when_it_exits),
        cmocka_unit_test(values_that_destructors_set_are_destroyed_four_times_over),
        cmocka_unit_test(values_of_a_deleted_key_are_not_seen_by_a_new_one),
        cmocka_unit_test(a_fiber_in_the_place_of_another_finds_no_value),
        cmocka_unit_test(there_are_so_many_keys_and_no_more),
        cmocka_unit_test(keys_may_come_and_go_on_several_workers_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
