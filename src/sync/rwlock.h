/* sync/rwlock.h - one who writes, or many who read: coir_rwlock.
 * SPDX-License-Identifier: MIT
 *
 * Word      RWLOCK_WRITER with the writer (waitq.h), or the number of readers times RWLOCK_READER;
 *           and RWLOCK_WAITERS while the list is not empty.
 * Hand-off  in the order of arrival. Who finds waiters waits behind them, so readers that keep
 *           coming do not starve a writer; readers that are next to each other get it together.
 * Holds     while the list is not empty somebody has it, and the first of the list cannot join him,
 *           or has stopped waiting, and on its way out lets those behind it in. */
#ifndef COIR_SYNC_RWLOCK_H
#define COIR_SYNC_RWLOCK_H

#include "waitq.h"

enum { COIR__RWLOCK_WAITERS = 2, COIR__RWLOCK_WRITER = 4, COIR__RWLOCK_READER = 8 };

struct coir__rwlock {
    _Atomic uint64_t word;
    struct coir__wait_entry *waiters; /* with the word */
    uint64_t reserved[2];
};

/* Who has it for writing, for a dump; 0: nobody. */
static inline uint64_t coir__rwlock_writer(const struct coir__rwlock *rw)
{
    const uint64_t bits = COIR__RWLOCK_WRITER | COIR__RWLOCK_WAITERS | COIR__WORD_BUSY;
    uint64_t value = atomic_load_explicit(&rw->word, memory_order_relaxed);
    return value & COIR__RWLOCK_WRITER ? value & ~bits : 0;
}

static inline bool coir__rwlock_take_read(struct coir__rwlock *rw)
{
    uint64_t value = atomic_load_explicit(&rw->word, memory_order_relaxed);
    while (!(value & (COIR__WORD_BUSY | COIR__RWLOCK_WAITERS | COIR__RWLOCK_WRITER)))
        if (atomic_compare_exchange_weak_explicit(&rw->word, &value, value + COIR__RWLOCK_READER,
                                                  memory_order_acquire, memory_order_relaxed))
            return true;
    return false;
}

static inline bool coir__rwlock_take_write(struct coir__rwlock *rw, uint64_t owner)
{
    uint64_t none = 0;
    return atomic_compare_exchange_strong_explicit(&rw->word, &none, owner | COIR__RWLOCK_WRITER,
                                                   memory_order_acquire, memory_order_relaxed);
}

/* The same for the try forms: false only when somebody has it, or waits for it. */
static inline bool coir__rwlock_trytake(struct coir__rwlock *rw, bool writes)
{
    const uint64_t keeps_out = writes ? ~(uint64_t)0 : COIR__RWLOCK_WAITERS | COIR__RWLOCK_WRITER;
    while (!(writes ? coir__rwlock_take_write(rw, coir__owner_self()) : coir__rwlock_take_read(rw)))
        if (coir__word_settled(&rw->word, COIR__WORD_BUSY) & keeps_out)
            return false;
    return true;
}

/* The paths that have to wait, or to wake. timedlock: 0, -ETIMEDOUT, -ECANCELED. */
COIR_HIDDEN void coir__rwlock_lock_slowly(struct coir__rwlock *rw, bool writes);
COIR_HIDDEN int coir__rwlock_timedlock_slowly(struct coir__rwlock *rw, bool writes,
                                              int64_t deadline_ns);
COIR_HIDDEN void coir__rwlock_unlock_slowly(struct coir__rwlock *rw);

static inline bool coir__rwlock_unlock_write(struct coir__rwlock *rw)
{
    uint64_t word = coir__owner_self() | COIR__RWLOCK_WRITER;
    return atomic_compare_exchange_strong_explicit(&rw->word, &word, 0, memory_order_release,
                                                   memory_order_relaxed);
}

/* Unless it is the last reader, and somebody waits: true. */
static inline bool coir__rwlock_unlock_read(struct coir__rwlock *rw, uint64_t value)
{
    while (value >= COIR__RWLOCK_READER && !(value & (COIR__WORD_BUSY | COIR__RWLOCK_WRITER)) &&
           (value >= 2 * COIR__RWLOCK_READER || !(value & COIR__RWLOCK_WAITERS)))
        if (atomic_compare_exchange_weak_explicit(&rw->word, &value, value - COIR__RWLOCK_READER,
                                                  memory_order_release, memory_order_relaxed))
            return true;
    return false;
}

static inline void coir__rwlock_unlock(struct coir__rwlock *rw)
{
    uint64_t value = atomic_load_explicit(&rw->word, memory_order_relaxed);
    if (!(value & COIR__RWLOCK_WRITER ? coir__rwlock_unlock_write(rw)
                                      : coir__rwlock_unlock_read(rw, value)))
        coir__rwlock_unlock_slowly(rw);
}

#endif
