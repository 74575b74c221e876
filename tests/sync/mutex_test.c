/* tests/sync/mutex_test.c - one at a time, in the order of arrival, fibers and plain threads mixed.
 * SPDX-License-Identifier: MIT */
#include "../sched/kit.h"

enum { USERS = 8, THREADS = 2 };

struct counted {
    coir_mutex mutex;
    long value, each;
    _Atomic int inside, together;
};

static void count_up(struct counted *c)
{
    for (long i = 0; i < c->each; i++) {
        coir_mutex_lock(&c->mutex);
        if (atomic_fetch_add(&c->inside, 1))
            atomic_fetch_add(&c->together, 1);
        c->value++;
        if (i % 3 == 0)
            kit_pause();
        atomic_fetch_sub(&c->inside, 1);
        coir_mutex_unlock(&c->mutex);
    }
}

static void *count_as_fiber(void *arg)
{
    count_up(arg);
    return NULL;
}

static void count_together(void *arg)
{
    coir_attr attr = { .flags = COIR_SPREAD };
    coir_fiber *fibers[USERS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, count_as_fiber, arg);
    for (int i = 0; i < USERS; i++)
        fibers[i] = coir_spawn_with(&attr, count_as_fiber, arg);
    for (int i = 0; i < USERS; i++)
        coir_join(fibers[i], NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void only_one_has_it_at_a_time(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct counted c = { .each = test_scaled(2000, 50) };
        assert_int_equal(fiber_test_run(*w, count_together, &c), 0);
        assert_int_equal(c.together, 0);
        assert_int_equal(c.value, (USERS + THREADS) * c.each);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_one_has_it_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
