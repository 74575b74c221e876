/* tests/sync/sem_test.c - as many as there are, and none of them lost.
 * SPDX-License-Identifier: MIT
 *
 * What holds for every wait is in waits_test.c. */
#include "crowd.h"

enum { PLACES = 3 };

struct places {
    coir_sem sem;
    _Atomic int inside, most, wrong;
    _Atomic long nth, got_it, posted;
    long each;
};

static void use_place(struct places *p, bool pause)
{
    int inside = ++p->inside;
    p->wrong += inside > PLACES;
    if (inside > p->most)
        p->most = inside;
    if (pause)
        kit_pause();
    p->inside--;
}

static void *take_places(void *arg)
{
    struct places *p = arg;
    unsigned seed = (unsigned)p->nth++;
    for (long i = 0; i < p->each; i++) {
        bool got_it = false;
        if (i % 4 == 0)
            got_it = coir_sem_trywait(&p->sem) == 0;
        else
            COIR_TIMEOUT(i % 4 == 1 ? (int64_t)crowd_pick(&seed, 20000) : COIR_NEVER)
                got_it = coir_sem_wait(&p->sem) == 0;
        if (!got_it)
            continue;
        use_place(p, i % 3 == 0);
        coir_sem_post(&p->sem);
    }
    return NULL;
}

static void take_places_together(void *arg)
{
    coir_fiber *cancelled[CROWD_FIBERS];
    for (int i = 0; i < CROWD_FIBERS; i++)
        cancelled[i] = crowd_spawn(take_places, arg);
    for (int i = 0; i < CROWD_FIBERS; i++) {
        coir_sleep(COIR_US(100));
        coir_cancel(cancelled[i]);
    }
    crowd_run(take_places, arg);
    for (int i = 0; i < CROWD_FIBERS; i++)
        coir_join(cancelled[i], NULL);
}

static void no_more_are_inside_than_there_are_places(void **state)
{
    const coir_sem full = COIR_SEM_INIT(PLACES);
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct places p = { .sem = COIR_SEM_INIT(PLACES), .each = test_scaled(1000, 50) };
        assert_int_equal(fiber_test_run(*w, take_places_together, &p), 0);
        assert_int_equal(p.wrong, 0);
        assert_int_equal(p.most, PLACES);
        assert_memory_equal(&p.sem, &full, sizeof full);
    }
}

/* Two of three post, the others wait, with deadlines that are short enough to pass. */
static void *post_or_take(void *arg)
{
    struct places *p = arg;
    long nth = p->nth++;
    unsigned seed = (unsigned)nth;
    for (long i = 0; i < p->each; i++) {
        if (nth % 3) {
            coir_sem_post(&p->sem);
            p->posted++;
            if (i % 8 == 0)
                kit_pause();
        } else {
            COIR_TIMEOUT((int64_t)crowd_pick(&seed, 20000))
                p->got_it += coir_sem_wait(&p->sem) == 0;
        }
    }
    return NULL;
}

static void post_and_take(void *arg)
{
    crowd_run(post_or_take, arg);
}

static void what_was_posted_was_taken_or_is_there(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct places p = { .each = test_scaled(2000, 50) };
        assert_int_equal(fiber_test_run(*w, post_and_take, &p), 0);
        coir_sem left = COIR_SEM_INIT((unsigned)(p.posted - p.got_it));
        assert_memory_equal(&p.sem, &left, sizeof left);
    }
}

struct steps {
    coir_sem sem;
    bool got_it;
    struct kit_said said[3];
};

static void *wait_for_step(void *arg)
{
    struct steps *s = arg;
    s->got_it = coir_sem_wait(&s->sem) == 0;
    return NULL;
}

static void post_and_try(void *arg)
{
    struct steps *s = arg;
    s->said[0] = KIT_SAID(coir_sem_trywait(&s->sem));
    coir_fiber *waiter = coir_spawn(wait_for_step, s);
    crowd_is_parked(waiter);
    coir_sem_post(&s->sem);
    s->said[1] = KIT_SAID(coir_sem_trywait(&s->sem));
    coir_join(waiter, NULL);
    coir_sem_post(&s->sem);
    s->said[2] = KIT_SAID(coir_sem_trywait(&s->sem));
}

static void a_post_goes_to_the_waiter_and_not_to_who_comes_first(void **state)
{
    struct steps s = { .got_it = false };
    (void)state;
    assert_int_equal(fiber_test_run(1, post_and_try, &s), 0);
    kit_assert_said(s.said[0], -1, EAGAIN);
    kit_assert_said(s.said[1], -1, EAGAIN);
    assert_true(s.got_it);
    kit_assert_said(s.said[2], 0, 0);
}

static void it_begins_with_what_it_was_given(void **state)
{
    coir_sem a = COIR_SEM_INIT(2), b, most = COIR_SEM_INIT(UINT32_MAX);
    (void)state;
    coir_sem_init(&b, 2);
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(coir_sem_trywait(&a), 0);
    assert_int_equal(coir_sem_trywait(&a), 0);
    assert_int_equal(coir_sem_trywait(&a), -1);
    coir_sem_post(&most);
    assert_int_equal(coir_sem_wait(&most), 0);
    coir_sem_init(&b, UINT32_MAX);
    assert_memory_equal(&most, &b, sizeof most);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_more_are_inside_than_there_are_places),
        cmocka_unit_test(what_was_posted_was_taken_or_is_there),
        cmocka_unit_test(a_post_goes_to_the_waiter_and_not_to_who_comes_first),
        cmocka_unit_test(it_begins_with_what_it_was_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
