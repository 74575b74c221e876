/* sched/runq.h - fibers that may run, first in, first out: a ring, and behind it a list through the
 * records.
 * SPDX-License-Identifier: MIT
 *
 * Callers   the owning worker only.
 * Holds     (1) tail - head <= RUNQ_CAP. (2) The list is empty or the ring was full when it began:
 *           everything in the ring is older than everything in the list. (3) A fiber is in at most
 *           one queue.
 * A ring, because the next records can be fetched ahead of time; a list behind it, because a wake
 * may not fail. */
#ifndef COIR_SCHED_RUNQ_H
#define COIR_SCHED_RUNQ_H

#include "fiber.h"

enum { COIR__RUNQ_CAP = 1024, COIR__RUNQ_AHEAD = 4 };

struct coir__runq {
    uint32_t head, tail;
    uint32_t listed; /* in the list */
    struct coir__fiber *first, *last;
    struct coir__fiber *ring[COIR__RUNQ_CAP];
};

static inline uint32_t coir__runq_len(const struct coir__runq *q)
{
    return q->tail - q->head + q->listed;
}

static inline void coir__runq_push(struct coir__runq *q, struct coir__fiber *f)
{
    if (__builtin_expect(!q->listed && q->tail - q->head < COIR__RUNQ_CAP, 1)) {
        q->ring[q->tail++ % COIR__RUNQ_CAP] = f;
        return;
    }
    f->next = NULL;
    if (q->listed++)
        q->last->next = f;
    else
        q->first = f;
    q->last = f;
}

/* The list moves up when the ring is empty. */
static inline void coir__runq_refill(struct coir__runq *q)
{
    while (q->listed && q->tail - q->head < COIR__RUNQ_CAP) {
        struct coir__fiber *f = q->first;
        q->first = f->next;
        __builtin_prefetch(q->first);
        q->listed--;
        q->ring[q->tail++ % COIR__RUNQ_CAP] = f;
    }
}

/* The record twice as far ahead, and the stack top of the one that was fetched so before. */
static inline void coir__runq_fetch_ahead(const struct coir__runq *q)
{
    if (q->tail - q->head > 2 * COIR__RUNQ_AHEAD) {
        __builtin_prefetch(q->ring[(q->head + 2 * COIR__RUNQ_AHEAD) % COIR__RUNQ_CAP], 1);
        __builtin_prefetch(q->ring[(q->head + COIR__RUNQ_AHEAD) % COIR__RUNQ_CAP]->sp, 1);
    }
}

/* The oldest, or NULL. */
static inline struct coir__fiber *coir__runq_pop(struct coir__runq *q)
{
    if (__builtin_expect(q->head == q->tail, 0)) {
        if (!q->listed)
            return NULL;
        coir__runq_refill(q);
    }
    struct coir__fiber *f = q->ring[q->head++ % COIR__RUNQ_CAP];
    coir__runq_fetch_ahead(q);
    return f;
}

#endif
