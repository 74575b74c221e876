/* sched/freshq.h - one worker's fresh fibers, which others may steal.
 * SPDX-License-Identifier: MIT
 *
 * The owner pushes and pops all the time, a thief comes seldom: so the owner takes no locked
 * instruction, as in sched/lock.h.
 * Owner    says that it is `in_fresh`, then looks whether a thief has asked; if not, it is in. If
 *          so, it leaves and takes `lock`. It may be holding a record meanwhile.
 * Thief    takes `lock`, asks, has a barrier put into every running thread, and waits while the
 *          owner is in. When he has what he wants he asks no more, and unlocks.
 * Without membarrier(2) `asked` is always set. */
#ifndef COIR_SCHED_FRESHQ_H
#define COIR_SCHED_FRESHQ_H

#include "worker.h"

/* For the two below, when a thief has asked. */
COIR_HIDDEN bool coir__freshq_push_slowly(struct coir__worker *w, struct coir__fiber *f);
COIR_HIDDEN struct coir__fiber *coir__freshq_pop_slowly(struct coir__worker *w);

/* The calling fiber is about to wait for the end of f. If f is still to start here it starts next,
 * and after it what was spawned since, before all that is older. A hint: f may be anything that is
 * or was a fiber, and nothing needs to be locked. */
COIR_HIDDEN void coir__freshq_first(struct coir__fiber *f);

/* The rest is for who has w's queue. The youngest level's oldest; the oldest of all; or NULL. */
COIR_HIDDEN struct coir__fiber *coir__freshq_take_deep(struct coir__worker *w);
COIR_HIDDEN struct coir__fiber *coir__freshq_take_oldest(struct coir__worker *w);

static inline bool coir__freshq_has_levels(const struct coir__worker *w)
{
    return w->fresh.depth | w->fresh.holes;
}

/* How many were there before. */
static inline uint32_t coir__freshq_put(struct coir__worker *w, struct coir__fiber *f)
{
    uint32_t place = coir__runq_get(&w->fresh.q.tail) % COIR__RUNQ_CAP;
    atomic_store_explicit(&f->place, (uint16_t)place, memory_order_relaxed);
    return coir__runq_push(&w->fresh.q, f);
}

static inline struct coir__fiber *coir__freshq_take(struct coir__worker *w)
{
    if (__builtin_expect(coir__freshq_has_levels(w), 0))
        return coir__freshq_take_deep(w);
    return coir__runq_pop(&w->fresh.q);
}

/* w, the calling worker, has its queue, unless a thief has asked. */
static inline bool coir__freshq_enter(struct coir__worker *w)
{
    atomic_store_explicit(&w->in_fresh, true, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst); /* pairs with the barrier in lock_queue(): steal.c */
    return __builtin_expect(!atomic_load_explicit(&w->fresh.asked, memory_order_acquire), 1);
}

static inline void coir__freshq_leave(struct coir__worker *w)
{
    atomic_store_explicit(&w->in_fresh, false, memory_order_release);
}

/* True: it was empty. w: the caller. */
static inline bool coir__freshq_push(struct coir__worker *w, struct coir__fiber *f)
{
    if (!coir__freshq_enter(w))
        return coir__freshq_push_slowly(w, f);
    bool empty = !coir__freshq_put(w, f);
    coir__freshq_leave(w);
    return empty;
}

/* The next one, or NULL. w: the caller. */
static inline struct coir__fiber *coir__freshq_pop(struct coir__worker *w)
{
    if (!coir__freshq_enter(w))
        return coir__freshq_pop_slowly(w);
    struct coir__fiber *f = coir__freshq_take(w);
    coir__freshq_leave(w);
    return f;
}

/* Send a fresh fiber that is in no queue to its home, another worker. */
COIR_HIDDEN void coir__freshq_send(struct coir__fiber *f);

/* How many were ever taken off. As below. */
static inline uint32_t coir__freshq_taken(const struct coir__worker *w)
{
    return coir__runq_get(&w->fresh.q.head) + coir__runq_get(&w->fresh.early);
}

/* How many wait there, and holes. Anybody; exact for the owner only, and only until a thief
 * comes. */
static inline uint32_t coir__freshq_len(const struct coir__worker *w)
{
    return coir__runq_len(&w->fresh.q);
}

#endif
