/* tests/sync/storm_test.c - plain threads wake fibers by all means while the runtime ends under
 * them: everybody comes home, and the objects are as before.
 * SPDX-License-Identifier: MIT
 *
 * Method: detached fibers use an object until the drain cancels them; threads, which know nothing
 * of the end, use the same one all the time. */
#include "ways.h"

struct storm {
    coir_mutex mutex;
    coir_cond cond;
    coir_rwlock rwlock;
    coir_sem sem;
    coir_waitgroup wg;
    coir_chan *chan, *other;
    _Atomic bool over;
    _Atomic int fibers, nth;
    void (*use)(struct storm *);
    void (*poke)(struct storm *);
};

static void use_mutex(struct storm *s)
{
    if (coir_mutex_timedlock(&s->mutex, COIR_NEVER) == 0) {
        coir_yield();
        coir_mutex_unlock(&s->mutex);
    }
    coir_mutex_lock(&s->mutex);
    coir_mutex_unlock(&s->mutex);
}

static void poke_mutex(struct storm *s)
{
    coir_mutex_lock(&s->mutex);
    coir_mutex_unlock(&s->mutex);
}

static void use_cond(struct storm *s)
{
    coir_mutex_lock(&s->mutex);
    crowd_ignore(coir_cond_wait(&s->cond, &s->mutex));
    coir_mutex_unlock(&s->mutex);
}

static void poke_cond(struct storm *s)
{
    coir_cond_signal(&s->cond);
    coir_cond_broadcast(&s->cond);
}

static void use_rwlock(struct storm *s)
{
    bool writes = s->nth++ % 4 == 0;
    if (writes ? coir_rwlock_timedwrlock(&s->rwlock, COIR_NEVER)
               : coir_rwlock_timedrdlock(&s->rwlock, COIR_NEVER))
        return;
    coir_yield();
    coir_rwlock_unlock(&s->rwlock);
}

static void poke_rwlock(struct storm *s)
{
    coir_rwlock_rdlock(&s->rwlock);
    coir_rwlock_unlock(&s->rwlock);
    coir_rwlock_wrlock(&s->rwlock);
    coir_rwlock_unlock(&s->rwlock);
}

static void use_sem(struct storm *s)
{
    crowd_ignore(coir_sem_wait(&s->sem));
    coir_yield();
}

static void poke_sem(struct storm *s)
{
    if (coir_sem_trywait(&s->sem) < 0) /* so that it does not grow beyond what is waited for */
        coir_sem_post(&s->sem);
}

static void use_waitgroup(struct storm *s)
{
    crowd_ignore(coir_waitgroup_wait(&s->wg));
    coir_yield();
}

static void poke_waitgroup(struct storm *s)
{
    coir_waitgroup_add(&s->wg, 2);
    coir_waitgroup_done(&s->wg);
    coir_waitgroup_done(&s->wg);
}

static void use_chan(struct storm *s)
{
    if (s->nth++ % 2)
        crowd_ignore(coir_chan_send(s->chan, NULL));
    else
        crowd_ignore(coir_chan_recv(s->chan, NULL));
}

static void use_select(struct storm *s)
{
    coir_case cases[] = { COIR_CASE_RECV(s->chan, NULL), COIR_CASE_SEND(s->other, NULL) };
    crowd_ignore(coir_select(cases, 2, COIR_NEVER));
}

static void poke_chans(struct storm *s)
{
    coir_case cases[] = { COIR_CASE_SEND(s->chan, NULL), COIR_CASE_RECV(s->other, NULL) };
    crowd_ignore(coir_chan_trysend(s->chan, NULL));
    crowd_ignore(coir_chan_tryrecv(s->chan, NULL));
    crowd_ignore(coir_select(cases, 2, 0));
    crowd_ignore(coir_chan_tryrecv(s->other, NULL));
}

static void *use(void *arg)
{
    struct storm *s = arg;
    s->fibers++;
    while (coir_check() == 0)
        s->use(s);
    s->fibers--;
    return NULL;
}

static void *poke(void *arg)
{
    struct storm *s = arg;
    while (!s->over)
        s->poke(s);
    return NULL;
}

static void begin_storm(void *arg)
{
    coir_attr attr = { .flags = COIR_SPREAD | COIR_DETACHED };
    for (int i = 0; i < CROWD_FIBERS; i++)
        coir_spawn_with(&attr, use, arg);
    coir_sleep(COIR_US(300));
}

static void storm(void (*use)(struct storm *), void (*poke_it)(struct storm *))
{
    static const struct storm zero;
    struct storm s = { .use = use, .poke = poke_it };
    s.chan = coir_chan_new(0, 0);
    s.other = coir_chan_new(0, 0);
    pthread_t threads[CROWD_THREADS];
    for (int i = 0; i < CROWD_THREADS; i++)
        pthread_create(&threads[i], NULL, poke, &s);
    for (const unsigned *w = test_workers; *w; w++)
        for (int round = 0; round < test_scaled(60, 3); round++) {
            assert_int_equal(fiber_test_run(*w, begin_storm, &s), 0);
            assert_int_equal(s.fibers, 0);
        }
    s.over = true;
    for (int i = 0; i < CROWD_THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_memory_equal(&s.mutex, &zero.mutex, sizeof zero.mutex);
    assert_memory_equal(&s.cond, &zero.cond, sizeof zero.cond);
    assert_memory_equal(&s.rwlock, &zero.rwlock, sizeof zero.rwlock);
    assert_memory_equal(&s.wg, &zero.wg, sizeof zero.wg);
    assert_int_equal(s.sem.opaque[1], 0);
    assert_true(way_is_at_rest(s.chan) && way_is_at_rest(s.other));
    coir_chan_free(s.chan);
    coir_chan_free(s.other);
}

static void threads_may_unlock_a_mutex_while_the_runtime_ends(void **state)
{
    (void)state;
    storm(use_mutex, poke_mutex);
}

static void threads_may_signal_while_the_runtime_ends(void **state)
{
    (void)state;
    storm(use_cond, poke_cond);
}

static void threads_may_unlock_a_rwlock_while_the_runtime_ends(void **state)
{
    (void)state;
    storm(use_rwlock, poke_rwlock);
}

static void threads_may_post_while_the_runtime_ends(void **state)
{
    (void)state;
    storm(use_sem, poke_sem);
}

static void threads_may_be_done_while_the_runtime_ends(void **state)
{
    (void)state;
    storm(use_waitgroup, poke_waitgroup);
}

static void threads_may_send_and_receive_while_the_runtime_ends(void **state)
{
    (void)state;
    storm(use_chan, poke_chans);
}

static void threads_may_serve_a_select_while_the_runtime_ends(void **state)
{
    (void)state;
    storm(use_select, poke_chans);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_may_unlock_a_mutex_while_the_runtime_ends),
        cmocka_unit_test(threads_may_signal_while_the_runtime_ends),
        cmocka_unit_test(threads_may_unlock_a_rwlock_while_the_runtime_ends),
        cmocka_unit_test(threads_may_post_while_the_runtime_ends),
        cmocka_unit_test(threads_may_be_done_while_the_runtime_ends),
        cmocka_unit_test(threads_may_send_and_receive_while_the_runtime_ends),
        cmocka_unit_test(threads_may_serve_a_select_while_the_runtime_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
