/* sched/wait.c - waiting with a deadline and a cancel, for fibers and for plain threads.
 * SPDX-License-Identifier: MIT */
#include "wait.h"

#include "worker.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/time_types.h>
#include <sys/syscall.h>

int coir__futex_wait(_Atomic int32_t *word, int32_t value, int64_t until_ns)
{
    /* FUTEX_WAIT_BITSET takes an absolute time of CLOCK_MONOTONIC. */
    until_ns = until_ns > 0 ? until_ns : 0; /* the kernel knows none before */
    struct __kernel_timespec until = { until_ns / 1000000000, until_ns % 1000000000 };
    return (int)coir__sys(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value,
                          until_ns == COIR__NEVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

void coir__futex_wake(_Atomic int32_t *word, int count)
{
    coir__sys(SYS_futex, word, FUTEX_WAKE_PRIVATE, count);
}

int coir__fiber_check(struct coir__fiber *f)
{
    if (f ? coir__fiber_cancelled(f) : coir__host_thread_cancelled())
        return -ECANCELED;
    int64_t deadline_ns = coir__fiber_deadline(f);
    return deadline_ns != COIR__NEVER && deadline_ns <= coir__host_now() ? -ETIMEDOUT : 0;
}

void coir__waiter_init(struct coir__waiter *w)
{
    coir__waiter_init_fiber(w, coir__fiber_self());
    if (!w->fiber)
        w->thread = coir__host_thread_id();
}

void coir__waiter_init_lists(struct coir__waiter *w)
{
    coir__waiter_init(w);
    atomic_store_explicit(&w->word, COIR__WAITING_LISTS, memory_order_relaxed);
}

void coir__waiter_release(struct coir__waiter *w)
{
    if (w->fiber) {
        coir__wake(w->fiber);
        return;
    }
    _Atomic int32_t *word = &w->word;
    int32_t outcome = atomic_load_explicit(word, memory_order_relaxed) & ~COIR__CLAIMED;
    atomic_store_explicit(word, outcome, memory_order_release);
    coir__futex_wake(word, 1); /* the thread may be gone: then this wakes nobody */
}

void coir__waiter_stop(struct coir__waiter *w, int err)
{
    if (coir__waiter_claim(w, err))
        coir__waiter_release(w);
}

void coir__waiter_go_on(struct coir__waiter *w, int err)
{
    (void)w;
    (void)err;
}

int coir__waiter_wait_as_thread(struct coir__waiter *w, int64_t deadline_ns)
{
    int32_t word;
    while ((word = atomic_load_explicit(&w->word, memory_order_acquire)) & COIR__CLAIMED) {
        int64_t until_ns = word < 0 ? deadline_ns : COIR__NEVER;
        if (coir__futex_wait(&w->word, word, until_ns) == -ETIMEDOUT)
            atomic_compare_exchange_strong(&w->word, &word, ETIMEDOUT); /* else it was claimed */
    }
    return word;
}
