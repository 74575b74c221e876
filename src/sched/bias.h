/* sched/bias.h - a lock that costs its home worker no locked instruction: for channels.
 * SPDX-License-Identifier: MIT
 *
 * As sched/lock.h, for objects that are not type-stable and may outlive their worker.
 * Home     says in its slot what it is holding, then looks whether anyone has asked; if not, it is
 *          in.
 * Others   ask, put a barrier into every running thread, note that it is revoked, take `lock` and
 *          wait while home is holding it. From then on home takes `lock` as well, for ever.
 * Slots    are static, and one worker's at a time: a slot whose worker has ended holds nothing, and
 *          the next worker that gets it is home in its place.
 * Rule     a worker holds one biased lock at a time. Who needs several revokes them first.
 * Debt     revoking costs microseconds; where it happens to more than one object in BIAS_DEBT, the
 *          next ones are born revoked. */
#ifndef COIR_SCHED_BIAS_H
#define COIR_SCHED_BIAS_H

#include "lock.h"

struct coir__slot {
    void *_Atomic holding;
} __attribute__((aligned(COIR__CACHE_LINE)));

enum { COIR__BIASED, COIR__BIAS_ASKED, COIR__BIAS_REVOKED };

struct coir__bias {
    struct coir__slot *home; /* constant; NULL: born revoked */
    _Atomic uint8_t asked;   /* COIR__BIASED, ..., only grows */
    _Atomic uint8_t lock;
};

/* For the calling worker, or for nobody. */
COIR_HIDDEN void coir__bias_init(struct coir__bias *b);

/* From now on everybody uses `lock`. Any thread that holds no biased lock. */
COIR_HIDDEN void coir__bias_revoke(struct coir__bias *b);

/* The lock of who is not home, or of everybody once it is revoked. */
COIR_HIDDEN void coir__bias_lock_shared(struct coir__bias *b);

/* w, the calling worker, lets go of the lock that coir__bias_enter gave it. */
static inline void coir__bias_leave(struct coir__worker *w)
{
    atomic_store_explicit(&w->slot->holding, NULL, memory_order_release);
}

/* w, the calling worker, is home. True: nobody has asked, and it has the lock. */
static inline bool coir__bias_enter(struct coir__worker *w, struct coir__bias *b)
{
    atomic_store_explicit(&w->slot->holding, b, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst); /* pairs with the barrier in coir__bias_revoke() */
    uint8_t asked = atomic_load_explicit(&b->asked, memory_order_relaxed);
    atomic_signal_fence(memory_order_acquire);
    if (__builtin_expect(asked == COIR__BIASED, 1))
        return true;
    coir__bias_leave(w);
    return false;
}

static inline void coir__bias_lock(struct coir__bias *b)
{
    struct coir__worker *w = coir__worker_self();
    if (!w || w->slot != b->home || !coir__bias_enter(w, b))
        coir__bias_lock_shared(b);
}

/* The last touch of b. */
static inline void coir__bias_unlock(struct coir__bias *b)
{
    struct coir__worker *w = coir__worker_self();
    if (w && atomic_load_explicit(&w->slot->holding, memory_order_relaxed) == b)
        coir__bias_leave(w);
    else
        coir__spin_unlock(&b->lock);
}

/* The slot of worker number index of the runtime that coir_run started, or of the other one. */
COIR_HIDDEN struct coir__slot *coir__slot_of(bool main_runtime, unsigned index);

#endif
