/* sync/sem.h - a number of things to be had: coir_sem.
 * SPDX-License-Identifier: MIT
 *
 * Word      the count, so that COIR_SEM_INIT(n) is n; above it SEM_WAITERS, while the list is not
 *           empty: the count is 0 then; and SEM_BUSY in the place of COIR__WORD_BUSY.
 * Hand-off  a post to one who waits does not raise the count: nobody comes in between. */
#ifndef COIR_SYNC_SEM_H
#define COIR_SYNC_SEM_H

#include "waitq.h"

#define COIR__SEM_WAITERS ((uint64_t)1 << 62)
#define COIR__SEM_BUSY    ((uint64_t)1 << 63)

struct coir__sem {
    _Atomic uint64_t word;
    struct coir__wait_entry *waiters; /* with the word */
};

static inline bool coir__sem_take(struct coir__sem *s)
{
    uint64_t value = atomic_load_explicit(&s->word, memory_order_relaxed);
    while (value && value < COIR__SEM_WAITERS)
        if (atomic_compare_exchange_weak_explicit(&s->word, &value, value - 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
    return false;
}

/* The same for trywait: false only when there is nothing to be had. */
static inline bool coir__sem_trytake(struct coir__sem *s)
{
    while (!coir__sem_take(s))
        if (!(coir__word_settled(&s->word, COIR__SEM_BUSY) % COIR__SEM_WAITERS))
            return false;
    return true;
}

/* The paths that have to wait, or to wake. wait: 0, -ETIMEDOUT, -ECANCELED. */
COIR_HIDDEN int coir__sem_wait_slowly(struct coir__sem *s, int64_t deadline_ns);
COIR_HIDDEN void coir__sem_post_slowly(struct coir__sem *s);

static inline void coir__sem_post(struct coir__sem *s)
{
    uint64_t value = atomic_load_explicit(&s->word, memory_order_relaxed);
    while (value < COIR__SEM_WAITERS)
        if (atomic_compare_exchange_weak_explicit(&s->word, &value, value + 1, memory_order_release,
                                                  memory_order_relaxed))
            return;
    coir__sem_post_slowly(s);
}

#endif
