/* sync/cond.h - waiting for what a mutex guards: coir_cond.
 * SPDX-License-Identifier: MIT
 *
 * Word      COND_WAITERS while the list is not empty.
 * Hand-off  whoever is signalled gets the mutex, or a place in its list, by the signaller: he wakes
 *           up once, with the mutex, and however many there are, they do not run for it. Each
 *           waiter knows its mutex; the object does not. */
#ifndef COIR_SYNC_COND_H
#define COIR_SYNC_COND_H

#include "mutex.h"

enum { COIR__COND_WAITERS = 2 };

struct coir__cond {
    _Atomic uint64_t word;
    struct coir__wait_entry *waiters; /* with the word */
};

/* The caller has m, and has it again afterwards. 0, -ETIMEDOUT, -ECANCELED. */
COIR_HIDDEN int coir__cond_wait(struct coir__cond *c, struct coir__mutex *m, int64_t deadline_ns);

/* For a dump: the mutex of a waiter of COIR__WHY_COND, which it waits for once it is claimed. */
COIR_HIDDEN const struct coir__mutex *coir__cond_mutex_of(const struct coir__waiter *waiter);

COIR_HIDDEN void coir__cond_signal_slowly(struct coir__cond *c);
COIR_HIDDEN void coir__cond_broadcast_slowly(struct coir__cond *c);

/* Who entered the list before he let the mutex go, as everybody does, is seen by whoever has had
 * the mutex since. */
static inline bool coir__cond_unused(struct coir__cond *c)
{
    return atomic_load_explicit(&c->word, memory_order_relaxed) == 0;
}

static inline void coir__cond_signal(struct coir__cond *c)
{
    if (!coir__cond_unused(c))
        coir__cond_signal_slowly(c);
}

static inline void coir__cond_broadcast(struct coir__cond *c)
{
    if (!coir__cond_unused(c))
        coir__cond_broadcast_slowly(c);
}

#endif
