/* sched/lock.h - the lock of a fiber's record, biased to the fiber's home worker.
 * SPDX-License-Identifier: MIT
 *
 * Nearly every fiber is spawned, run and joined on one worker. There the lock costs no locked
 * instruction, of which it took two for each fiber (docs/adr/0008).
 * Home     says what it is `holding`, then looks whether anyone has asked for this fiber; if not,
 *          it is in.
 * Others   ask, have the kernel put a memory barrier into every running thread of the process
 *          (membarrier(2)), note that it is revoked, take `lock` and wait while home is holding it.
 *          From then on home takes `lock` as well, for the rest of the fiber's life.
 * Order    the barrier comes before home's two steps, after them or in between: one of the two sees
 *          the other.
 * Stale    handles do no harm: that somebody has asked is noted in one word with the generation,
 *          by a CAS that fails when the record is another fiber's, and what home is holding is
 *          noted in the worker.
 * A fiber that starts away from its spawner, and every one where there is no membarrier, is born
 * revoked; one that is stolen is revoked before it changes its home. */
#ifndef COIR_SCHED_LOCK_H
#define COIR_SCHED_LOCK_H

#include "worker.h"

/* membarrier(2) is there; set by coir__lock_init. */
COIR_HIDDEN extern _Atomic bool coir__lock_biased;

/* Once per process, before the first fiber; cheapest while it has one thread. */
COIR_HIDDEN void coir__lock_init(void);

/* A memory barrier in every running thread of the process. */
COIR_HIDDEN void coir__barrier_everywhere(void);

/* For coir__fiber_lock, by a worker that is not f's home, a plain thread, or when somebody has
 * asked. */
COIR_HIDDEN bool coir__fiber_lock_shared(struct coir__fiber *f, uint16_t generation);

/* A new fiber, not yet seen by anyone else: have everybody use `lock`. */
static inline void coir__fiber_unbias(struct coir__fiber *f)
{
    uint32_t generation = coir__fiber_generation(f);
    atomic_store_explicit(&f->ident, generation | COIR__ASKED | COIR__REVOKED,
                          memory_order_relaxed);
}

/* Fibers that are FRESH and in no queue, of a worker other than the caller: the same. */
COIR_HIDDEN void coir__fibers_unbias(struct coir__fiber **f, uint32_t n);

/* The same for one that is at home with the caller. */
static inline void coir__fiber_unbias_at_home(struct coir__fiber *f)
{
    atomic_fetch_or_explicit(&f->ident, COIR__ASKED | COIR__REVOKED, memory_order_acq_rel);
}

/* w, the calling worker, is f's home: f's ident from within. With COIR__ASKED in it w is not in; it
 * lets go, and may take `lock`. */
static inline uint32_t coir__fiber_hold(struct coir__worker *w, struct coir__fiber *f)
{
    atomic_store_explicit(&w->holding, f, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst); /* pairs with the membarrier of revoke() */
    uint32_t ident = atomic_load_explicit(&f->ident, memory_order_relaxed);
    atomic_signal_fence(memory_order_acquire);
    return ident;
}

static inline void coir__fiber_let_go(struct coir__worker *w)
{
    atomic_store_explicit(&w->holding, NULL, memory_order_release);
}

/* Lock f, if it still is the fiber of that generation, for a few instructions or until the
 * after-hook of a park. A worker locks one at a time. */
static inline bool coir__fiber_lock(struct coir__fiber *f, uint16_t generation)
{
    struct coir__worker *w = coir__worker_self();
    if (w && coir__fiber_home(f) == w) {
        if (__builtin_expect(coir__fiber_hold(w, f) == generation, 1))
            return true;
        coir__fiber_let_go(w);
    }
    return coir__fiber_lock_shared(f, generation);
}

static inline void coir__fiber_unlock(struct coir__fiber *f)
{
    struct coir__worker *w = coir__worker_self();
    if (w && atomic_load_explicit(&w->holding, memory_order_relaxed) == f)
        coir__fiber_let_go(w);
    else
        coir__spin_unlock(&f->lock);
}

#endif
