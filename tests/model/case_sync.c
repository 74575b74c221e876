/* tests/model/case_sync.c - semaphore, condition, readers-writer lock, once, waitgroup, barrier.
 * SPDX-License-Identifier: MIT */
#include "cases.h"
#include "kit.h"
#include "sync/barrier.h"
#include "sync/cond.h"
#include "sync/once.h"
#include "sync/rwlock.h"
#include "sync/sem.h"
#include "sync/waitgroup.h"

#include <errno.h>

static struct coir__sem sem;
static struct coir__mutex mutex;
static struct coir__cond cond;
static struct coir__rwlock rwlock;
static struct coir__once once;
static struct coir__waitgroup waitgroup;
static struct coir__barrier barrier;
static struct kit_guarded guarded;
static int data, outcomes[4];

static void pass_time(void *arg)
{
    (void)arg;
    model_clock_advance(10);
}

/* Semaphore. */
static void sem_wait(void *arg)
{
    (void)arg;
    if (!coir__sem_take(&sem))
        model_assert(coir__sem_wait_slowly(&sem, COIR__NEVER) == 0);
    model_pay();
}

static void *sem_wait_in_fiber(void *arg)
{
    sem_wait(arg);
    return NULL;
}

static void sem_post_twice(void *arg)
{
    (void)arg;
    coir__sem_post(&sem);
    coir__sem_post(&sem);
    model_pay();
}

static void sem_begin(void)
{
    model_name(&sem, sizeof sem, "the semaphore");
    model_thread("poster", sem_post_twice, NULL);
    model_owe(3);
}

static void sem_threads(void)
{
    sem_begin();
    model_thread("A", sem_wait, NULL);
    model_thread("B", sem_wait, NULL);
}

static void sem_fibers(void)
{
    kit_begin(1, 1);
    sem_begin();
    kit_fiber(0, sem_wait_in_fiber, NULL);
    model_thread("A", sem_wait, NULL);
}

static void sem_is_used_up(void)
{
    model_assert(sem.word == 0 && !sem.waiters);
}

/* As a lock; the last to leave frees it. */
static void sem_lock_and_free(void *arg)
{
    (void)arg;
    if (!coir__sem_take(&sem))
        coir__sem_wait_slowly(&sem, COIR__NEVER);
    bool last = ++guarded.count == 2;
    coir__sem_post(&sem);
    if (last)
        model_gone(&sem, sizeof sem);
    model_pay();
}

static void sem_gone(void)
{
    sem.word = 1;
    model_thread("A", sem_lock_and_free, NULL);
    model_thread("B", sem_lock_and_free, NULL);
    model_owe(2);
}

/* Condition. */
static void cond_await(void *arg)
{
    (void)arg;
    coir__mutex_lock(&mutex);
    while (!data)
        coir__cond_wait(&cond, &mutex, COIR__NEVER);
    coir__mutex_unlock(&mutex);
    model_pay();
}

static void *cond_await_in_fiber(void *arg)
{
    cond_await(arg);
    return NULL;
}

static void cond_signal(void *arg)
{
    coir__mutex_lock(&mutex);
    data = 1;
    if (arg)
        coir__cond_signal(&cond);
    coir__mutex_unlock(&mutex);
    if (!arg)
        coir__cond_signal(&cond);
    model_pay();
}

static void cond_broadcast(void *arg)
{
    (void)arg;
    coir__mutex_lock(&mutex);
    data = 1;
    coir__cond_broadcast(&cond);
    coir__mutex_unlock(&mutex);
    model_pay();
}

static void cond_one(void)
{
    model_name(&mutex, sizeof mutex, "the mutex");
    model_name(&cond, sizeof cond, "the condition");
    model_thread("waiter", cond_await, NULL);
    model_thread("signaller", cond_signal, (void *)1);
    model_owe(2);
}

static void cond_after_unlock(void)
{
    model_thread("waiter", cond_await, NULL);
    model_thread("signaller", cond_signal, NULL);
    model_owe(2);
}

static void cond_fiber(void)
{
    kit_begin(1, 1);
    kit_fiber(0, cond_await_in_fiber, NULL);
    model_thread("signaller", cond_signal, NULL);
    model_owe(2);
}

static void cond_all(void)
{
    model_thread("A", cond_await, NULL);
    model_thread("B", cond_await, NULL);
    model_thread("signaller", cond_broadcast, NULL);
    model_owe(3);
}

/* The waiter frees both once it has seen what it waited for. */
static void cond_await_and_free(void *arg)
{
    cond_await(arg);
    model_gone(&cond, sizeof cond);
    model_gone(&mutex, sizeof mutex);
}

static void cond_gone(void)
{
    model_thread("waiter", cond_await_and_free, NULL);
    model_thread("signaller", cond_signal, (void *)1);
    model_owe(2);
}

static void cond_await_until(void *arg)
{
    (void)arg;
    coir__mutex_lock(&mutex);
    int err = 0;
    while (!data && err == 0)
        err = coir__cond_wait(&cond, &mutex, 10);
    model_assert(data || (err == -ETIMEDOUT && model_now() == 10));
    coir__mutex_unlock(&mutex);
    model_pay();
}

static void cond_in_time(void)
{
    model_thread("waiter", cond_await_until, NULL);
    model_thread("signaller", cond_signal, (void *)1);
    model_thread("time", pass_time, NULL);
    model_owe(2);
}

static void cond_is_free(void)
{
    model_assert(mutex.word == 0 && !mutex.waiters && cond.word == 0 && !cond.waiters);
}

/* Readers-writer lock. */
static void rwlock_read(void *arg)
{
    (void)arg;
    if (!coir__rwlock_take_read(&rwlock))
        coir__rwlock_lock_slowly(&rwlock, false);
    int seen = data;
    model_assert(seen == 0 || seen == 2);
    coir__rwlock_unlock(&rwlock);
    model_pay();
}

static void rwlock_write(void *arg)
{
    (void)arg;
    if (!coir__rwlock_take_write(&rwlock, coir__owner_self()))
        coir__rwlock_lock_slowly(&rwlock, true);
    data++;
    data++;
    coir__rwlock_unlock(&rwlock);
    model_pay();
}

static void rwlock_begin(void)
{
    model_name(&rwlock, sizeof rwlock, "the lock");
    model_thread("reader", rwlock_read, NULL);
    model_thread("writer", rwlock_write, NULL);
    model_owe(2);
}

static void rwlock_two_readers(void)
{
    rwlock_begin();
    model_thread("another reader", rwlock_read, NULL);
    model_owe(1);
}

static void rwlock_write_until(void *arg)
{
    (void)arg;
    int err = 0;
    if (!coir__rwlock_take_write(&rwlock, coir__owner_self()))
        err = coir__rwlock_timedlock_slowly(&rwlock, true, 10);
    model_assert(err == 0 || (err == -ETIMEDOUT && model_now() == 10));
    if (!err) {
        data += 2;
        coir__rwlock_unlock(&rwlock);
    }
    model_pay();
}

/* Held for reading until the writer, and behind it a reader, wait: the writer gives up. */
static void rwlock_unlock_at_last(void *arg)
{
    (void)arg;
    model_await_quiet();
    model_clock_advance(10);
    model_await_quiet();
    coir__rwlock_unlock(&rwlock);
}

static void rwlock_gives_up(void)
{
    rwlock.word = COIR__RWLOCK_READER;
    model_thread("holder", rwlock_unlock_at_last, NULL);
    model_thread("writer", rwlock_write_until, NULL);
    model_thread("reader", rwlock_read, NULL);
    model_owe(2);
}

static void rwlock_is_free(void)
{
    model_assert(rwlock.word == 0 && !rwlock.waiters);
}

/* Once. */
static void do_once(void *arg)
{
    (void)arg;
    if (!coir__once_is_done(&once) && coir__once_begin(&once)) {
        data++;
        coir__once_end(&once);
    }
    model_assert(data == 1);
    model_pay();
}

static void once_two(void)
{
    model_name(&once, sizeof once, "the once");
    model_thread("A", do_once, NULL);
    model_thread("B", do_once, NULL);
    model_owe(2);
}

static void once_three(void)
{
    once_two();
    model_thread("C", do_once, NULL);
    model_owe(1);
}

/* Waitgroup: whoever has waited frees it. */
static void waitgroup_done(void *arg)
{
    outcomes[(uintptr_t)arg] = 1;
    coir__waitgroup_done(&waitgroup);
    model_pay();
}

static void waitgroup_wait(void *arg)
{
    (void)arg;
    if (!coir__waitgroup_is_done(&waitgroup))
        model_assert(coir__waitgroup_wait_slowly(&waitgroup, COIR__NEVER) == 0);
    model_gone(&waitgroup, sizeof waitgroup);
    model_assert(outcomes[0] == 1 && outcomes[1] == 1);
    model_pay();
}

static void waitgroup_two(void)
{
    model_name(&waitgroup, sizeof waitgroup, "the waitgroup");
    waitgroup.word = 2 * COIR__WAITGROUP_ONE;
    model_thread("A", waitgroup_done, (void *)0);
    model_thread("B", waitgroup_done, (void *)1);
    model_thread("waiter", waitgroup_wait, NULL);
    model_owe(3);
}

/* Barrier. */
static void barrier_rounds(void *arg)
{
    uintptr_t rounds = (uintptr_t)arg;
    for (uintptr_t i = 0; i < rounds; i++) {
        int how = coir__barrier_wait(&barrier, COIR__NEVER);
        model_assert(how == 0 || how == 1);
        if (how == 1)
            data++;
    }
    model_pay();
}

static void barrier_two(void)
{
    model_name(&barrier, sizeof barrier, "the barrier");
    barrier.parties = 2;
    model_thread("A", barrier_rounds, (void *)2);
    model_thread("B", barrier_rounds, (void *)2);
    model_owe(2);
}

static void one_was_last_each_time(void)
{
    model_assert(data == 2 && !barrier.arrived && !barrier.waiters);
}

static void barrier_until(void *arg)
{
    uintptr_t i = (uintptr_t)arg;
    outcomes[i] = coir__barrier_wait(&barrier, i == 0 ? 10 : COIR__NEVER);
    if (outcomes[i] < 0) /* so that the other one gets through */
        outcomes[i] = coir__barrier_wait(&barrier, COIR__NEVER);
    model_pay();
}

static void barrier_in_time(void)
{
    barrier.parties = 2;
    model_thread("A", barrier_until, (void *)0);
    model_thread("B", barrier_until, (void *)1);
    model_thread("time", pass_time, NULL);
    model_owe(2);
}

static void *barrier_until_in_fiber(void *arg)
{
    barrier_until(arg);
    return NULL;
}

static void barrier_fiber_in_time(void)
{
    kit_begin(1, 1);
    barrier.parties = 2;
    kit_fiber(0, barrier_until_in_fiber, (void *)0);
    model_thread("B", barrier_until, (void *)1);
    model_thread("time", pass_time, NULL);
    model_owe(2);
}

/* One comes last, but finds that another has just given up: the fiber, whose deadline comes while
 * its place is reserved, may not miss it. */
static void barrier_give_up(void *arg)
{
    int how = coir__barrier_wait(&barrier, 10);
    model_assert(how == 0 || how == 1 || how == -ETIMEDOUT);
    outcomes[(uintptr_t)arg] = how;
    model_pay();
}

static void *barrier_give_up_in_fiber(void *arg)
{
    barrier_give_up(arg);
    return NULL;
}

static void barrier_three_give_up(void)
{
    kit_begin(1, 1);
    barrier.parties = 3;
    kit_fiber(0, barrier_give_up_in_fiber, (void *)0);
    model_thread("B", barrier_give_up, (void *)1);
    model_thread("C", barrier_give_up, (void *)2);
    model_thread("time", pass_time, NULL);
    model_owe(3);
}

static void all_or_none(void)
{
    bool none = outcomes[0] < 0 && outcomes[1] < 0 && outcomes[2] < 0;
    model_assert(none || outcomes[0] + outcomes[1] + outcomes[2] == 1);
    model_assert(!barrier.arrived && !barrier.waiters);
}

static void one_was_last(void)
{
    model_assert(outcomes[0] + outcomes[1] == 1 && !barrier.arrived && !barrier.waiters);
}

const struct model_case cases_sync[] = {
    { "semaphore", "2 threads wait, another posts twice", sem_threads, sem_is_used_up, 0,
      MODEL_ALWAYS },
    { "semaphore, with a fiber", "a fiber and a thread wait, another posts twice", sem_fibers,
      sem_is_used_up, 0, MODEL_ALWAYS },
    { "semaphore, freed by the last", "2 threads use it as a lock, the last frees it", sem_gone,
      NULL, 0, 0 },
    { "condition", "a thread waits, another signals with the mutex", cond_one, cond_is_free, 0, 0 },
    { "condition, after the unlock", "a thread waits, another signals without the mutex",
      cond_after_unlock, cond_is_free, 0, 0 },
    { "condition, with a fiber", "a fiber waits, a thread signals without the mutex", cond_fiber,
      cond_is_free, 0, 0 },
    { "condition, broadcast", "2 threads wait, another wakes them", cond_all, cond_is_free, 0,
      MODEL_ALWAYS },
    { "condition, freed by the waiter", "a thread waits, and frees mutex and condition", cond_gone,
      NULL, 0, 0 },
    { "condition, with a deadline", "a thread waits, another signals, time passes", cond_in_time,
      cond_is_free, MODEL_CLOCK, 0 },
    { "rwlock", "a reader and a writer", rwlock_begin, rwlock_is_free, 0, 0 },
    { "rwlock, 2 readers", "2 readers and a writer", rwlock_two_readers, rwlock_is_free, 0,
      MODEL_ALWAYS },
    { "rwlock, the writer gives up", "a reader waits behind a writer", rwlock_gives_up,
      rwlock_is_free, MODEL_CLOCK, 0 },
    { "once", "2 threads", once_two, NULL, 0, 0 },
    { "once, 3 threads", "3 threads", once_three, NULL, 0, MODEL_ALWAYS },
    { "waitgroup", "2 threads are done, another waits and frees it", waitgroup_two, NULL, 0, 0 },
    { "barrier", "2 threads, 2 rounds", barrier_two, one_was_last_each_time, 0, MODEL_ALWAYS },
    { "barrier, with a deadline", "2 threads, one gives up and comes back", barrier_in_time,
      one_was_last, MODEL_CLOCK, 0 },
    { "barrier, with a fiber's deadline", "a fiber gives up and comes back, a thread",
      barrier_fiber_in_time, one_was_last, MODEL_CLOCK, 0 },
    { "barrier, 3 who give up", "a fiber and two threads with a deadline, time passes",
      barrier_three_give_up, all_or_none, MODEL_CLOCK, MODEL_ALWAYS },
    { 0 },
};
