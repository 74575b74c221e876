/* tests/sync/void_test.c - calls that return nothing cannot fail: neither cancel nor deadline end
 * them, and errno is afterwards what it was before.
 * SPDX-License-Identifier: MIT */
#include "crowd.h"

union any {
    coir_mutex mutex;
    coir_rwlock rwlock;
};

static void mutex_lock(union any *o)
{
    coir_mutex_lock(&o->mutex);
}

static void mutex_unlock(union any *o)
{
    coir_mutex_unlock(&o->mutex);
}

static void rwlock_read(union any *o)
{
    coir_rwlock_rdlock(&o->rwlock);
}

static void rwlock_write(union any *o)
{
    coir_rwlock_wrlock(&o->rwlock);
}

static void rwlock_unlock(union any *o)
{
    coir_rwlock_unlock(&o->rwlock);
}

static const struct lock {
    const char *name;
    void (*hold)(union any *), (*lock)(union any *), (*unlock)(union any *);
} locks[] = {
    { "mutex", mutex_lock, mutex_lock, mutex_unlock },
    { "rwlock, to read", rwlock_write, rwlock_read, rwlock_unlock },
    { "rwlock, to write", rwlock_read, rwlock_write, rwlock_unlock },
};

enum { LOCKS = sizeof locks / sizeof *locks };

struct stubborn {
    const struct lock *lock;
    union any object;
    bool late; /* its deadline has passed; else it is cancelled */
    int errno_after, errno_free;
    _Atomic bool held, got_it;
    bool early;
};

static void *lock_stubbornly(void *arg)
{
    struct stubborn *s = arg;
    if (s->late)
        coir_deadline_set(coir_now());
    errno = EXDEV;
    s->lock->lock(&s->object);
    s->errno_after = errno;
    s->got_it = true;
    s->lock->unlock(&s->object);
    s->lock->lock(&s->object);
    s->lock->unlock(&s->object);
    s->errno_free = errno;
    coir_deadline_set(COIR_NEVER);
    return NULL;
}

/* It changes errno while the other is parked on the same worker. */
static void hold_and_cancel(void *arg)
{
    struct stubborn *s = arg;
    s->lock->hold(&s->object);
    coir_fiber *fiber = crowd_spawn(lock_stubbornly, s);
    crowd_is_parked(fiber);
    if (!s->late)
        coir_cancel(fiber);
    for (int i = 0; i < 20; i++) {
        errno = EDOM;
        coir_sleep(COIR_US(10));
    }
    s->early = s->got_it;
    s->lock->unlock(&s->object);
    coir_join(fiber, NULL);
}

static void neither_cancel_nor_deadline_end_a_lock_and_errno_stays(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        for (int i = 0; i < LOCKS; i++)
            for (int late = 0; late < 2; late++) {
                struct stubborn s = { .lock = &locks[i], .late = late };
                assert_int_equal(fiber_test_run(*w, hold_and_cancel, &s), 0);
                assert_false(s.early);
                assert_true(s.got_it);
                assert_int_equal(s.errno_after, EXDEV);
                assert_int_equal(s.errno_free, EXDEV);
            }
}

static void *hold_for_a_while(void *arg)
{
    struct stubborn *s = arg;
    s->lock->hold(&s->object);
    s->held = true;
    usleep(2000);
    s->lock->unlock(&s->object);
    return NULL;
}

static void a_thread_past_its_deadline_locks_all_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < LOCKS; i++) {
        struct stubborn s = { .lock = &locks[i], .late = true };
        pthread_t holder;
        pthread_create(&holder, NULL, hold_for_a_while, &s);
        assert_true(KIT_UNTIL(s.held));
        lock_stubbornly(&s);
        pthread_join(holder, NULL);
        assert_int_equal(s.errno_after, EXDEV);
    }
}

/* The others never park. */
static void all_the_others(void *arg)
{
    int *err = arg;
    coir_cond cond = COIR_COND_INIT;
    coir_sem sem = COIR_SEM_INIT(0);
    coir_waitgroup wg = COIR_WAITGROUP_INIT;
    errno = EXDEV;
    coir_cond_signal(&cond);
    coir_cond_broadcast(&cond);
    coir_sem_init(&sem, 1);
    coir_sem_post(&sem);
    coir_waitgroup_add(&wg, 1);
    coir_waitgroup_done(&wg);
    coir_getspecific(1);
    *err = errno;
}

static void calls_that_never_park_leave_errno_as_it_is(void **state)
{
    int as_fiber = 0, as_thread = 0;
    (void)state;
    assert_int_equal(fiber_test_run(1, all_the_others, &as_fiber), 0);
    all_the_others(&as_thread);
    assert_int_equal(as_fiber, EXDEV);
    assert_int_equal(as_thread, EXDEV);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neither_cancel_nor_deadline_end_a_lock_and_errno_stays),
        cmocka_unit_test(a_thread_past_its_deadline_locks_all_the_same),
        cmocka_unit_test(calls_that_never_park_leave_errno_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
