/* sched/lock.h - the lock of a fiber's record, biased to the fiber's home worker.
 * SPDX-License-Identifier: MIT
 *
 * Nearly every fiber is spawned, run and joined on one worker. There the lock costs no locked
 * instruction, of which it took two for each fiber (docs/adr/0008).
 * Home     says `held`, then looks whether anyone has asked for this fiber; if not, it is in.
 * Others   ask, have the kernel put a memory barrier into every running thread of the process
 *          (membarrier(2)), note that (`revoked`), take `lock` and wait while it is held. From then
 *          on home takes `lock` as well, for the rest of the fiber's life.
 * Order    the barrier comes before home's two steps, after them or in between: one of the two sees
 *          the other.
 * `asked` and `revoked` hold the generation they are about, so that a record's next fiber begins
 * biased without anything being reset. A fiber that starts away from its spawner, and every one
 * where there is no membarrier, is born revoked. */
#ifndef COIR_SCHED_LOCK_H
#define COIR_SCHED_LOCK_H

#include "worker.h"

/* membarrier(2) is there; set by coir__lock_init. */
COIR_HIDDEN extern bool coir__lock_biased;

/* Once per process, before the first fiber; cheapest while it has one thread. */
COIR_HIDDEN void coir__lock_init(void);

/* For coir__fiber_lock: by a worker that is not f's home, or a plain thread. */
COIR_HIDDEN void coir__fiber_lock_as_other(struct coir__fiber *f);

static inline uint16_t coir__fiber_generation(struct coir__fiber *f)
{
    return atomic_load_explicit(&f->generation, memory_order_relaxed);
}

/* A new fiber, not yet seen by anyone else: have everybody use `lock`. */
static inline void coir__fiber_unbias(struct coir__fiber *f)
{
    uint16_t generation = coir__fiber_generation(f);
    atomic_store_explicit(&f->asked, generation, memory_order_relaxed);
    atomic_store_explicit(&f->revoked, generation, memory_order_relaxed);
}

static inline bool coir__fiber_is_home(struct coir__fiber *f)
{
    struct coir__worker *w = coir__worker_self();
    return w && coir__fiber_home(f) == w;
}

/* Home's first attempt. False: somebody has asked. */
static inline bool coir__fiber_hold(struct coir__fiber *f)
{
    atomic_store_explicit(&f->held, true, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst); /* pairs with revoke()'s membarrier */
    if (__builtin_expect(atomic_load_explicit(&f->asked, memory_order_relaxed) !=
                             coir__fiber_generation(f),
                         1)) {
        atomic_signal_fence(memory_order_acquire);
        return true;
    }
    atomic_store_explicit(&f->held, false, memory_order_release);
    return false;
}

static inline void coir__fiber_release(struct coir__fiber *f)
{
    atomic_store_explicit(&f->held, false, memory_order_release);
}

/* For a few instructions, or until the after-hook of a park. */
static inline void coir__fiber_lock(struct coir__fiber *f)
{
    if (!coir__fiber_is_home(f))
        coir__fiber_lock_as_other(f);
    else if (!coir__fiber_hold(f))
        coir__spin_lock(&f->lock);
}

static inline void coir__fiber_unlock(struct coir__fiber *f)
{
    /* Only home sets `held`, and it clears it before it takes `lock`. */
    if (coir__fiber_is_home(f) && atomic_load_explicit(&f->held, memory_order_relaxed))
        coir__fiber_release(f);
    else
        coir__spin_unlock(&f->lock);
}

#endif
