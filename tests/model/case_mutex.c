/* tests/model/case_mutex.c - the mutex: exclusion, no lost wake, order, and its end.
 * SPDX-License-Identifier: MIT */
#include "cases.h"
#include "kit.h"
#include "sync/mutex.h"

#include <errno.h>

static struct coir__mutex mutex;
static struct kit_guarded guarded;
static struct coir__wait_entry *order[2];
static uint64_t owners[2];
static unsigned order_len, ended;
static int outcomes[4];

static void begin(void)
{
    model_name(&mutex, sizeof mutex, "the mutex");
}

static void lock_once(void)
{
    coir__mutex_lock(&mutex);
    kit_enter(&guarded);
    kit_leave(&guarded);
    coir__mutex_unlock(&mutex);
    model_pay();
}

static void threads_lock(void *arg)
{
    (void)arg;
    lock_once();
}

static void threads_lock_twice(void *arg)
{
    (void)arg;
    lock_once();
    lock_once();
}

static void *fibers_lock(void *arg)
{
    lock_once();
    return arg;
}

static void two_threads(void)
{
    begin();
    model_thread("A", threads_lock, NULL);
    model_thread("B", threads_lock, NULL);
    model_owe(2);
}

static void two_threads_twice(void)
{
    begin();
    model_thread("A", threads_lock_twice, NULL);
    model_thread("B", threads_lock_twice, NULL);
    model_owe(4);
}

static void three_threads(void)
{
    two_threads();
    model_thread("C", threads_lock, NULL);
    model_owe(1);
}

/* Fibers of two workers. */
static void two_fibers(void)
{
    begin();
    kit_begin(2, 2);
    kit_fiber(0, fibers_lock, NULL);
    kit_fiber(1, fibers_lock, NULL);
    model_owe(2);
}

static void fiber_and_thread(void)
{
    begin();
    kit_begin(1, 1);
    kit_fiber(0, fibers_lock, NULL);
    model_thread("A", threads_lock, NULL);
    model_owe(2);
}

static void three_fibers(void)
{
    two_fibers();
    kit_fiber(0, fibers_lock, NULL);
    model_owe(1);
}

/* Two fibers of each worker. */
static void four_fibers(void)
{
    three_fibers();
    kit_fiber(1, fibers_lock, NULL);
    model_owe(1);
}

/* The last one to leave frees it. */
static void lock_and_free(void *arg)
{
    (void)arg;
    coir__mutex_lock(&mutex);
    bool last = ++guarded.count == 2;
    coir__mutex_unlock(&mutex);
    if (last)
        model_gone(&mutex, sizeof mutex);
    model_pay();
}

static void freed_by_the_last(void)
{
    begin();
    model_thread("A", lock_and_free, NULL);
    model_thread("B", lock_and_free, NULL);
    model_owe(2);
}

/* Two wait; they get it in the order in which they stand in the list. */
static void unlock_when_two_wait(void *arg)
{
    (void)arg;
    model_await_quiet();
    uint64_t value = coir__word_lock(&mutex.word);
    order[0] = mutex.waiters;
    order[1] = mutex.waiters->next;
    model_assert(order[1] != order[0] && order[1]->next == order[0]);
    owners[0] = coir__owner_of(order[0]->waiter);
    owners[1] = coir__owner_of(order[1]->waiter);
    coir__word_unlock(&mutex.word, value);
    coir__mutex_unlock(&mutex);
    model_pay();
}

static void wait_in_order(void *arg)
{
    (void)arg;
    coir__mutex_lock(&mutex);
    model_assert(owners[order_len] == coir__owner_self());
    order_len++;
    coir__mutex_unlock(&mutex);
    model_pay();
}

static void first_come_first_served(void)
{
    begin();
    mutex.word = (uint64_t)100 << COIR__OWNER_THREAD_SHIFT | COIR__OWNER_THREAD | COIR__MUTEX_TAKEN;
    model_thread("A", unlock_when_two_wait, NULL);
    model_thread("B", wait_in_order, NULL);
    model_thread("C", wait_in_order, NULL);
    model_owe(3);
}

/* A deadline: in time or not, the mutex is not lost. */
static void timedlock(void *arg)
{
    int i = (int)(uintptr_t)arg;
    if (!coir__mutex_take(&mutex, coir__owner_self()))
        outcomes[i] = coir__mutex_timedlock_slowly(&mutex, 10);
    if (outcomes[i] == 0) {
        kit_enter(&guarded);
        kit_leave(&guarded);
        coir__mutex_unlock(&mutex);
    } else {
        model_assert(outcomes[i] == -ETIMEDOUT && model_now() >= 10);
    }
    if (++ended == 2)
        model_assert(mutex.word == 0);
    model_pay();
}

static void pass_time(void *arg)
{
    (void)arg;
    model_clock_advance(10);
}

static void is_free(void)
{
    model_assert(mutex.word == 0 && !mutex.waiters);
}

static void thread_times_out(void)
{
    begin();
    model_thread("A", threads_lock, NULL);
    model_thread("B", timedlock, NULL);
    model_thread("time", pass_time, NULL);
    model_owe(2);
}

static void *fiber_timedlock(void *arg)
{
    timedlock(arg);
    return NULL;
}

static void fiber_times_out(void)
{
    begin();
    kit_begin(1, 1);
    kit_fiber(0, fiber_timedlock, NULL);
    model_thread("A", threads_lock, NULL);
    model_thread("time", pass_time, NULL);
    model_owe(2);
}

const struct model_case cases_mutex[] = {
    { "mutex, 2 threads", "each locks once", two_threads, is_free, 0, 0 },
    { "mutex, 2 threads, twice", "each locks twice", two_threads_twice, is_free, 0, MODEL_ALWAYS },
    { "mutex, 3 threads", "each locks once", three_threads, is_free, 0, MODEL_ALWAYS },
    { "mutex, 2 fibers", "on two workers, each locks once", two_fibers, is_free, 0, 0 },
    { "mutex, a fiber and a thread", "each locks once", fiber_and_thread, is_free, 0, 0 },
    { "mutex, 3 fibers", "on two workers, each locks once", three_fibers, is_free, 0, 0 },
    { "mutex, 4 fibers", "on two workers, each locks once", four_fibers, is_free, 0, MODEL_ALWAYS },
    { "mutex, freed by the last", "2 threads lock, the last frees it", freed_by_the_last, NULL, 0,
      0 },
    { "mutex, order", "2 threads wait until a third unlocks", first_come_first_served, is_free, 0,
      0 },
    { "mutex, a thread's deadline", "a thread locks, one with a deadline, time passes",
      thread_times_out, is_free, MODEL_CLOCK, 0 },
    { "mutex, a fiber's deadline", "a thread locks, a fiber with a deadline, time passes",
      fiber_times_out, is_free, MODEL_CLOCK, 0 },
    { 0 },
};
