/* tests/api/dump_waits_test.c - what dumps say of fibers that wait for locks, channels and each
 * other; and which deadlocks they find, and do not find.
 * SPDX-License-Identifier: MIT
 *
 * Method: main has, or keeps from the others, what they want; when each is parked for the expected
 * reason it dumps, and gives way. */
#include "../sched/kit.h"
#include "dump_kit.h"

#include <sys/eventfd.h>
#include <unistd.h>

struct scene {
    coir_mutex mutex, unlocked;
    coir_cond cond;
    coir_rwlock lock;
    coir_sem sem, once_sem;
    coir_barrier barrier;
    coir_waitgroup wg;
    coir_chan *empty, *full;
    coir_future *future;
    coir_fiber *joined;
    _Atomic int stop;
    char *text, *text_signalled;
};

static struct scene *now; /* for coir_once's function, which has no argument */

static void *locks(void *arg)
{
    struct scene *s = arg;
    coir_mutex_lock(&s->mutex);
    coir_mutex_unlock(&s->mutex);
    return NULL;
}

static void *waits_for_cond(void *arg)
{
    struct scene *s = arg;
    coir_mutex_lock(&s->unlocked);
    if (coir_cond_wait(&s->cond, &s->unlocked) == 0)
        s->stop = 1;
    coir_mutex_unlock(&s->unlocked);
    return NULL;
}

static void *reads_locked(void *arg)
{
    struct scene *s = arg;
    coir_rwlock_rdlock(&s->lock);
    coir_rwlock_unlock(&s->lock);
    return NULL;
}

static void *writes_locked(void *arg)
{
    struct scene *s = arg;
    coir_rwlock_wrlock(&s->lock);
    coir_rwlock_unlock(&s->lock);
    return NULL;
}

static void *waits_for_sem(void *arg)
{
    struct scene *s = arg;
    return coir_sem_wait(&s->sem) < 0 ? COIR_FAILED : NULL;
}

static void *waits_at_barrier(void *arg)
{
    struct scene *s = arg;
    return coir_barrier_wait(&s->barrier) < 0 ? COIR_FAILED : NULL;
}

static void *waits_for_group(void *arg)
{
    struct scene *s = arg;
    return coir_waitgroup_wait(&s->wg) < 0 ? COIR_FAILED : NULL;
}

static void *sends(void *arg)
{
    struct scene *s = arg;
    int n = 0;
    return coir_chan_send(s->full, &n) < 0 ? COIR_FAILED : NULL;
}

static void *receives(void *arg)
{
    struct scene *s = arg;
    int n = 0;
    return coir_chan_recv(s->empty, &n) < 0 ? COIR_FAILED : NULL;
}

static void *selects(void *arg)
{
    struct scene *s = arg;
    int n = 0;
    int fd = eventfd(0, EFD_CLOEXEC);
    coir_case cases[] = { COIR_CASE_RECV(s->empty, &n), COIR_CASE_SEND(s->full, &n),
                          COIR_CASE_FD(fd, POLLIN), COIR_CASE_TIMER(COIR_NEVER),
                          COIR_CASE_RECV(NULL, &n) };
    int index = coir_select(cases, 5, -1);
    close(fd);
    return index < 0 ? COIR_FAILED : NULL;
}

static void *awaits(void *arg)
{
    struct scene *s = arg;
    return coir_await(s->future, NULL) < 0 ? COIR_FAILED : NULL;
}

static void do_once(void)
{
    if (coir_sem_wait(&now->once_sem) < 0)
        return; /* cancelled */
}

static coir_once_flag flag;

static void *does_once(void *arg)
{
    coir_once(&flag, do_once);
    return arg;
}

static int waits_in_scope(void *arg)
{
    struct scene *s = arg;
    return coir_sem_wait(&s->sem);
}

static void *opens_scope(void *arg)
{
    coir_scope scope;
    if (coir_scope_open(&scope) < 0 || coir_scope_spawn(&scope, waits_in_scope, arg) < 0)
        return COIR_FAILED;
    return coir_scope_wait(&scope) < 0 ? COIR_FAILED : NULL;
}

static const struct {
    const char *name, *says;
    enum coir__why why;
    void *(*fn)(void *);
} waits[] = {
    { "locker", ": mutex 0x* held by fiber 0x* \"main\"\n", COIR__WHY_MUTEX, locks },
    { "condition", ": cond 0x*\n", COIR__WHY_COND, waits_for_cond },
    { "reader", ": rwlock 0x* (to read) held by fiber 0x* \"main\"\n", COIR__WHY_RWLOCK_READ,
      reads_locked },
    { "writer", ": rwlock 0x* (to write) held by fiber 0x* \"main\"\n", COIR__WHY_RWLOCK_WRITE,
      writes_locked },
    { "semaphore", ": sem 0x*\n", COIR__WHY_SEM, waits_for_sem },
    { "barrier", ": barrier 0x*\n", COIR__WHY_BARRIER, waits_at_barrier },
    { "group", ": waitgroup 0x*\n", COIR__WHY_WAITGROUP, waits_for_group },
    { "sender", ": send to 0x*\n", COIR__WHY_SEND, sends },
    { "receiver", ": receive from 0x*\n", COIR__WHY_RECV, receives },
    { "selector", ": select of receive from 0x*, send to 0x*, fd *, timer, and 1 more\n",
      COIR__WHY_SELECT, selects },
    { "awaiter", ": future 0x*\n", COIR__WHY_FUTURE, awaits },
    { "doer", ": sem 0x*\n", COIR__WHY_SEM, does_once },
    { "onlooker", ": once 0x*\n", COIR__WHY_ONCE, does_once },
    { "opener", ": scope 0x*\n", COIR__WHY_SCOPE, opens_scope },
};
enum { WAITS = sizeof waits / sizeof *waits };

static bool parked(coir_fiber *fiber, enum coir__why why)
{
    uint8_t state = kit_record(fiber)->state;
    return (state & COIR__STATE_MASK) == COIR__PARKED && state >> COIR__WHY_SHIFT == why;
}

static void set_scene(struct scene *s)
{
    int n = 0;
    now = s;
    flag = (coir_once_flag)COIR_ONCE_INIT;
    coir_mutex_lock(&s->mutex);
    coir_rwlock_wrlock(&s->lock);
    coir_barrier_init(&s->barrier, 2);
    coir_waitgroup_add(&s->wg, 1);
    s->empty = coir_chan_new(sizeof(int), 1);
    s->full = coir_chan_new(sizeof(int), 1);
    s->future = coir_future_new();
    coir_chan_send(s->full, &n);
}

static void end_scene(struct scene *s, coir_fiber **fibers)
{
    coir_mutex_unlock(&s->mutex);
    coir_rwlock_unlock(&s->lock);
    for (int i = 0; i < WAITS; i++)
        coir_cancel(fibers[i]);
    coir_sem_post(&s->once_sem);
    for (int i = 0; i < WAITS; i++)
        coir_join(fibers[i], NULL);
    coir_chan_free(s->empty);
    coir_chan_free(s->full);
    coir_future_free(s->future);
}

static void wait_in_all_ways(void *arg)
{
    struct scene *s = arg;
    coir_fiber *fibers[WAITS];
    set_scene(s);
    for (int i = 0; i < WAITS; i++) {
        coir_attr attr = { .name = waits[i].name, .flags = COIR_SPREAD };
        fibers[i] = coir_spawn_with(&attr, waits[i].fn, s);
        KIT_UNTIL(parked(fibers[i], waits[i].why));
    }
    s->text = dump_text();
    /* The condition is signalled, but its mutex taken. */
    coir_mutex_lock(&s->unlocked);
    coir_cond_signal(&s->cond);
    s->text_signalled = dump_text();
    coir_mutex_unlock(&s->unlocked);
    end_scene(s, fibers);
}

static void each_is_shown_with_what_it_waits_for_and_who_has_it(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct scene s = { 0 };
        assert_int_equal(fiber_test_run(*w, wait_in_all_ways, &s), 0);
        assert_non_null(s.text);
        assert_non_null(s.text_signalled);
        for (int i = 0; i < WAITS; i++)
            dump_assert(dump_block(s.text, waits[i].name), waits[i].says);
        dump_assert(dump_block(s.text_signalled, "condition"),
                    ": mutex 0x* held by fiber 0x* \"main\"\n");
        assert_int_equal(s.stop, 1);
        free(s.text);
        free(s.text_signalled);
    }
}

/* Two fibers that wait for each other until a deadline comes to one of them. */
static void *joins(void *arg)
{
    struct scene *s = arg;
    coir_mutex_lock(&s->mutex);
    KIT_UNTIL(s->joined);
    COIR_TIMEOUT(COIR_SEC(KIT_PATIENCE_S))
    {
        coir_join(s->joined, NULL);
    }
    coir_mutex_unlock(&s->mutex);
    return NULL;
}

static void *writes_then_locks(void *arg)
{
    struct scene *s = arg;
    coir_rwlock_wrlock(&s->lock);
    s->stop++;
    KIT_UNTIL(s->stop == 2);
    coir_mutex_lock(&s->mutex);
    coir_mutex_unlock(&s->mutex);
    coir_rwlock_unlock(&s->lock);
    return NULL;
}

static void *locks_then_writes(void *arg)
{
    struct scene *s = arg;
    coir_mutex_lock(&s->mutex);
    s->stop++;
    KIT_UNTIL(s->stop == 2);
    if (coir_rwlock_timedwrlock(&s->lock, coir_after(COIR_SEC(KIT_PATIENCE_S))) == 0)
        coir_rwlock_unlock(&s->lock);
    coir_mutex_unlock(&s->mutex);
    return NULL;
}

static const struct ring {
    void *(*one)(void *), *(*two)(void *);
    enum coir__why one_for, two_for;
    const char *says;
} rings[] = {
    { joins, locks, COIR__WHY_JOIN, COIR__WHY_MUTEX,
      "\ndeadlock, unless a deadline ends it: fiber 0x* \"one\" waits for join of fiber 0x* "
      "\"two\"; fiber 0x* \"two\" waits for mutex 0x* held by fiber 0x* \"one\"\n" },
    { locks_then_writes, writes_then_locks, COIR__WHY_RWLOCK_WRITE, COIR__WHY_MUTEX,
      "\ndeadlock, unless a deadline ends it: fiber 0x* \"one\" waits for rwlock 0x* (to write) "
      "held by fiber 0x* \"two\"; fiber 0x* \"two\" waits for mutex 0x* held by fiber 0x* "
      "\"one\"\n" },
};

struct ring_scene {
    struct scene scene;
    const struct ring *ring;
};

static void go_round(void *arg)
{
    struct ring_scene *r = arg;
    struct scene *s = &r->scene;
    coir_attr one = { .name = "one" }, two = { .name = "two", .flags = COIR_SPREAD };
    kit_nobody_steals(); /* they are told of by workers, in order */
    coir_fiber *first = coir_spawn_with(&one, r->ring->one, s);
    KIT_UNTIL(*(_Atomic uint64_t *)&s->mutex != 0);
    coir_fiber *second = s->joined = coir_spawn_with(&two, r->ring->two, s);
    KIT_UNTIL(parked(first, r->ring->one_for) && parked(second, r->ring->two_for));
    s->text = dump_text();
    coir_cancel(first); /* the deadline, for the impatient */
    coir_join(first, NULL);
    coir_join(second, NULL);
}

static void rings_of_different_waits_are_deadlocks_too(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rings / sizeof *rings; i++)
        for (const unsigned *w = test_workers; *w; w++) {
            struct ring_scene r = { .ring = &rings[i] };
            assert_int_equal(fiber_test_run(*w, go_round, &r), 0);
            assert_non_null(r.scene.text);
            dump_assert(r.scene.text, rings[i].says);
            free(r.scene.text);
        }
}

/* Fibers that take two mutexes in the same order: there is no deadlock, but to who looks at them
 * one after the other it may seem so. */
enum { LOCKERS = 8 };

struct lockers {
    coir_mutex first, second;
    _Atomic int stop, said, failed;
    int dumps;
};

static void *lock_both(void *arg)
{
    struct lockers *l = arg;
    while (!l->stop) {
        coir_mutex_lock(&l->first);
        coir_yield();
        coir_mutex_lock(&l->second);
        coir_mutex_unlock(&l->first);
        coir_yield();
        coir_mutex_unlock(&l->second);
    }
    return NULL;
}

static void lock_while_dumped(void *arg)
{
    struct lockers *l = arg;
    coir_fiber *fibers[LOCKERS];
    coir_attr attr = { .flags = COIR_SPREAD };
    for (int i = 0; i < LOCKERS; i++)
        fibers[i] = coir_spawn_with(&attr, lock_both, l);
    for (int i = 0; i < l->dumps; i++) {
        char *text = dump_text();
        l->failed += text == NULL;
        l->said += text && strstr(text, "deadlock") != NULL;
        free(text);
    }
    l->stop = 1;
    for (int i = 0; i < LOCKERS; i++)
        coir_join(fibers[i], NULL);
}

static void what_only_seems_a_deadlock_is_not_said_to_be_one(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct lockers l = { .dumps = test_scaled(500, 20) };
        assert_int_equal(fiber_test_run(*w, lock_while_dumped, &l), 0);
        assert_int_equal(l.failed, 0);
        assert_int_equal(l.said, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_shown_with_what_it_waits_for_and_who_has_it),
        cmocka_unit_test(rings_of_different_waits_are_deadlocks_too),
        cmocka_unit_test(what_only_seems_a_deadlock_is_not_said_to_be_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
