/* sync/waitgroup.h - waiting until so many things are done: coir_waitgroup.
 * SPDX-License-Identifier: MIT
 *
 * Word      what is still to be done times WAITGROUP_ONE, and WAITGROUP_WAITERS while the list is
 *           not empty. It is 0 only once the last coir_waitgroup_done is through with the object:
 *           whoever sees that may free it. */
#ifndef COIR_SYNC_WAITGROUP_H
#define COIR_SYNC_WAITGROUP_H

#include "waitq.h"

enum { COIR__WAITGROUP_WAITERS = 2, COIR__WAITGROUP_ONE = 4 };

struct coir__waitgroup {
    _Atomic uint64_t word;
    struct coir__wait_entry *waiters; /* with the word */
};

/* The paths that have to wait, or to wake. wait: 0, -ETIMEDOUT, -ECANCELED. */
COIR_HIDDEN int coir__waitgroup_wait_slowly(struct coir__waitgroup *wg, int64_t deadline_ns);
COIR_HIDDEN void coir__waitgroup_done_slowly(struct coir__waitgroup *wg);

static inline void coir__waitgroup_add(struct coir__waitgroup *wg, unsigned n)
{
    uint64_t value;
    do
        value = coir__word_settled(&wg->word, COIR__WORD_BUSY);
    while (!atomic_compare_exchange_weak_explicit(&wg->word, &value,
                                                  value + (uint64_t)n * COIR__WAITGROUP_ONE,
                                                  memory_order_relaxed, memory_order_relaxed));
}

/* Unless it is the last, and somebody waits. */
static inline void coir__waitgroup_done(struct coir__waitgroup *wg)
{
    uint64_t value = atomic_load_explicit(&wg->word, memory_order_relaxed);
    while (!(value & COIR__WORD_BUSY) && value >= COIR__WAITGROUP_ONE &&
           (value >= 2 * COIR__WAITGROUP_ONE || !(value & COIR__WAITGROUP_WAITERS)))
        if (atomic_compare_exchange_weak_explicit(&wg->word, &value, value - COIR__WAITGROUP_ONE,
                                                  memory_order_release, memory_order_relaxed))
            return;
    coir__waitgroup_done_slowly(wg);
}

/* All done? Pairs with the release of every coir__waitgroup_done(). */
static inline bool coir__waitgroup_is_done(struct coir__waitgroup *wg)
{
    return atomic_load_explicit(&wg->word, memory_order_acquire) == 0;
}

#endif
