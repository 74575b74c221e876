/* sync/mutex.h - mutual exclusion: coir_mutex.
 * SPDX-License-Identifier: MIT
 *
 * Word      0: free. Else the owner (waitq.h), MUTEX_TAKEN, and MUTEX_WAITERS while the list is not
 *           empty.
 * Hand-off  unlock gives it to a waiter, and with it the word: nobody comes in between. To the
 *           oldest on the same worker, for a while, then to the oldest (mutex.c). */
#ifndef COIR_SYNC_MUTEX_H
#define COIR_SYNC_MUTEX_H

#include "waitq.h"

enum { COIR__MUTEX_WAITERS = 2, COIR__MUTEX_TAKEN = 4 };

struct coir__mutex {
    _Atomic uint64_t word;
    struct coir__wait_entry *waiters; /* with the word */
};

/* Unless it is taken: true. */
static inline bool coir__mutex_take(struct coir__mutex *m, uint64_t owner)
{
    uint64_t none = 0;
    return atomic_compare_exchange_strong_explicit(&m->word, &none, owner | COIR__MUTEX_TAKEN,
                                                   memory_order_acquire, memory_order_relaxed);
}

/* Who has it, for a dump; 0: nobody. */
static inline uint64_t coir__mutex_owner(const struct coir__mutex *m)
{
    const uint64_t bits = COIR__MUTEX_TAKEN | COIR__MUTEX_WAITERS | COIR__WORD_BUSY;
    uint64_t value = atomic_load_explicit(&m->word, memory_order_relaxed);
    return value & COIR__MUTEX_TAKEN ? value & ~bits : 0;
}

/* The same for trylock: false only when somebody has it. */
static inline bool coir__mutex_trytake(struct coir__mutex *m, uint64_t owner)
{
    while (!coir__mutex_take(m, owner))
        if (coir__word_settled(&m->word, COIR__WORD_BUSY) != 0)
            return false;
    return true;
}

/* The paths that have to wait, or to wake. timedlock: 0, -ETIMEDOUT, -ECANCELED. */
COIR_HIDDEN void coir__mutex_lock_slowly(struct coir__mutex *m);
COIR_HIDDEN int coir__mutex_timedlock_slowly(struct coir__mutex *m, int64_t deadline_ns);
COIR_HIDDEN void coir__mutex_unlock_slowly(struct coir__mutex *m, uint64_t owner);

static inline void coir__mutex_lock(struct coir__mutex *m)
{
    if (__builtin_expect(!coir__mutex_take(m, coir__owner_self()), 0))
        coir__mutex_lock_slowly(m);
}

/* By its owner, or, in the after-hook of the owner's park, for it. */
static inline void coir__mutex_unlock_for(struct coir__mutex *m, uint64_t owner)
{
    uint64_t word = owner | COIR__MUTEX_TAKEN;
    if (__builtin_expect(!atomic_compare_exchange_strong_explicit(
                             &m->word, &word, 0, memory_order_release, memory_order_relaxed),
                         0))
        coir__mutex_unlock_slowly(m, owner);
}

static inline void coir__mutex_unlock(struct coir__mutex *m)
{
    coir__mutex_unlock_for(m, coir__owner_self());
}

/* For cond.c: the mutex for a waiter that was claimed with outcome 0. True: it has it, and is to be
 * released; false: it is on m's list, and gets the mutex, and is released, when its turn comes. */
COIR_HIDDEN bool coir__mutex_lock_for(struct coir__mutex *m, struct coir__wait_entry *e);

#endif
