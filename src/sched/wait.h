/* sched/wait.h - one wait, of a fiber or of a plain thread, and the single way out of it.
 * SPDX-License-Identifier: MIT
 *
 * A waiter lives on the stack of whoever waits. Its word says whether the wait is over:
 * COIR__WAITING, or why it ended (0: what was waited for has happened; else an errno). Whoever
 * changes the word from COIR__WAITING is the waker, and nobody else may wake: waker, cancel and
 * timer compete by coir__waiter_claim.
 *
 * Law of hand-over: take the waiter off the object's list, claim it, let the object go (unlock),
 * then release the waiter. Between claim and release it stays where it is, and does not run; after
 * the release it is gone, and perhaps the object too. */
#ifndef COIR_SCHED_WAIT_H
#define COIR_SCHED_WAIT_H

#include "park.h"
#include "worker.h"

/* In the word of a plain thread that was claimed, until it is released: it could see the rest of
 * the word, and go, at any moment. A fiber sees nothing before its release. The words of a wait
 * that is not over are negative, and have the bit too. COIR__WAITING_LISTS: the waiter is on
 * several lists (sync/select.h). */
enum { COIR__WAITING = -1, COIR__WAITING_LISTS = -2, COIR__CLAIMED = 1 << 30 };

struct coir__waiter {
    struct coir__fiber *fiber; /* NULL: a plain thread, which waits on the word as a futex */
    /* End this wait early with err. Called by the fiber's home worker only, while the fiber is
     * parked in it; may do nothing when the wait is over already. */
    void (*stop)(struct coir__waiter *, int err);
    const void *on; /* the lock, channel, ... that is waited for: for a dump, by `why` */
    _Atomic int32_t word;
    union {
        uint32_t thread; /* a plain thread: its id */
        uint32_t since;  /* a fiber that waits: its worker's stamp when it began to */
    };
};

/* Prepare a waiter for the caller: the current fiber, or this thread. */
COIR_HIDDEN void coir__waiter_init(struct coir__waiter *w);
/* One that goes onto several lists. */
COIR_HIDDEN void coir__waiter_init_lists(struct coir__waiter *w);

/* End the wait with outcome. True: the caller is the waker and must call coir__waiter_release. */
static inline bool coir__waiter_claim(struct coir__waiter *w, int outcome)
{
    int32_t word = atomic_load_explicit(&w->word, memory_order_relaxed);
    return word < 0 && atomic_compare_exchange_strong_explicit(
                           &w->word, &word, w->fiber ? outcome : outcome | COIR__CLAIMED,
                           memory_order_acq_rel, memory_order_acquire);
}

/* The same by who holds the lock of a list that the waiter is on. When it is on no other, nobody
 * else can claim it but its home worker, and if that is the caller, nobody at all. */
static inline bool coir__waiter_claim_listed(struct coir__waiter *w, int outcome)
{
    struct coir__worker *self = coir__worker_self();
    if (!self || !w->fiber || coir__fiber_home(w->fiber) != self ||
        atomic_load_explicit(&w->word, memory_order_relaxed) != COIR__WAITING)
        return coir__waiter_claim(w, outcome);
    atomic_store_explicit(&w->word, outcome, memory_order_relaxed);
    return true;
}

/* Make the fiber READY, or wake the thread, that the caller has claimed. Any thread; never parks or
 * allocates. */
COIR_HIDDEN void coir__waiter_release(struct coir__waiter *w);

/* The stop of plain waits: claim, and wake. */
COIR_HIDDEN void coir__waiter_stop(struct coir__waiter *w, int err);

/* coir__waiter_init by a fiber, f. */
static inline void coir__waiter_init_fiber(struct coir__waiter *w, struct coir__fiber *f)
{
    w->fiber = f;
    w->stop = coir__waiter_stop;
    w->on = NULL;
    atomic_store_explicit(&w->word, COIR__WAITING, memory_order_relaxed);
}

/* The stop of waits that neither cancel nor deadline end: nothing. */
COIR_HIDDEN void coir__waiter_go_on(struct coir__waiter *w, int err);

/* The wait on a futex word while it holds `value`, for plain threads: until_ns as in coir_deadline.
 * 0, -ETIMEDOUT, -EAGAIN (another value), -EINTR. */
COIR_HIDDEN int coir__futex_wait(_Atomic int32_t *word, int32_t value, int64_t until_ns);
COIR_HIDDEN void coir__futex_wake(_Atomic int32_t *word, int count);

/* A lock for what may take system calls: who finds it taken sleeps. 0: free, 1: taken, 2: taken and
 * somebody may sleep. Not to be held over a park. */
static inline void coir__sleep_lock(_Atomic int32_t *lock)
{
    int32_t none = 0;
    if (!atomic_compare_exchange_strong_explicit(lock, &none, 1, memory_order_acquire,
                                                 memory_order_relaxed))
        while (atomic_exchange_explicit(lock, 2, memory_order_acquire))
            coir__futex_wait(lock, 2, COIR__NEVER);
}

static inline void coir__sleep_unlock(_Atomic int32_t *lock)
{
    if (atomic_exchange_explicit(lock, 0, memory_order_release) == 2)
        coir__futex_wake(lock, 1);
}

/* A plain thread's wait on a waiter's word, until claimed or deadline_ns. Returns the
 * outcome. */
COIR_HIDDEN int coir__waiter_wait_as_thread(struct coir__waiter *w, int64_t deadline_ns);

/* The current fiber, on self, parks until somebody releases w. */
static inline __attribute__((always_inline)) void
coir__waiter_park(struct coir__waiter *w, struct coir__worker *self, enum coir__why why,
                  void (*after)(void *), void *arg)
{
    w->since = self->stamp;
    coir__count(&self->counters.parks, 1);
    coir__fiber_more(w->fiber)->wait = w;
    coir__park(why, after, arg);
    coir__fiber_more(w->fiber)->wait = NULL;
}

/* Wait until somebody claims w, deadline_ns comes or the caller is cancelled. after(arg) runs once
 * the caller can be woken (park.h). Returns the outcome: 0, or an errno such as ETIMEDOUT or
 * ECANCELED, for which the caller still has to take w off the object's list. Inline: one frame less
 * between a public call and park(). */
static inline __attribute__((always_inline)) int coir__waiter_wait(struct coir__waiter *w,
                                                                   enum coir__why why,
                                                                   int64_t deadline_ns,
                                                                   void (*after)(void *), void *arg)
{
    if (!w->fiber) {
        if (after)
            after(arg);
        return coir__waiter_wait_as_thread(w, deadline_ns);
    }
    struct coir__timer timer;
    struct coir__worker *self = coir__worker_self();
    if (deadline_ns != COIR__NEVER)
        coir__timer_add(self, &timer, deadline_ns, w);
    coir__waiter_park(w, self, why, after, arg);
    if (deadline_ns != COIR__NEVER)
        coir__timer_remove(coir__worker_self(), &timer);
    return atomic_load_explicit(&w->word, memory_order_acquire);
}

/* The deadline of the caller: f, or, when NULL, the plain thread. */
static inline int64_t coir__fiber_deadline(const struct coir__fiber *f)
{
    return f ? f->deadline_ns : coir__host_thread_deadline();
}

/* May the caller (likewise) still wait? 0, -ECANCELED or -ETIMEDOUT. */
COIR_HIDDEN int coir__fiber_check(struct coir__fiber *f);

static inline bool coir__fiber_cancelled(struct coir__fiber *f)
{
    return atomic_load_explicit(&f->cancelled, memory_order_relaxed) && !f->shields;
}

#endif
