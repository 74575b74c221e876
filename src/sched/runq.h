/* sched/runq.h - fibers that may run, first in, first out: a ring, and behind it a list through the
 * records.
 * SPDX-License-Identifier: MIT
 *
 * Callers   one at a time: the owning worker; for fresh fibers also a thief, by sched/freshq.h.
 *           Anybody may look at the counters.
 * Holds     (1) tail - head <= RUNQ_CAP. (2) The list is empty or the ring was full when it began:
 *           everything in the ring is older than everything in the list. (3) A fiber is in at most
 *           one queue. (4) head counts all that were ever taken off; but not in the fresh queue, of
 *           which freshq.c also takes others than the oldest, and moves the tail back: holes, too,
 *           lie between head and tail there.
 * A ring, because the next records can be fetched ahead of time; a list behind it, because a wake
 * may not fail. */
#ifndef COIR_SCHED_RUNQ_H
#define COIR_SCHED_RUNQ_H

#include "fiber.h"

enum { COIR__RUNQ_CAP = 1024, COIR__RUNQ_AHEAD = 4 };

struct coir__runq {
    _Atomic uint32_t head, tail;
    _Atomic uint32_t listed; /* in the list */
    struct coir__fiber *first, *last;
    struct coir__fiber *ring[COIR__RUNQ_CAP];
};

static inline uint32_t coir__runq_get(const _Atomic uint32_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static inline void coir__runq_set(_Atomic uint32_t *counter, uint32_t n)
{
    atomic_store_explicit(counter, n, memory_order_relaxed);
}

static inline uint32_t coir__runq_in_ring(const struct coir__runq *q)
{
    return coir__runq_get(&q->tail) - coir__runq_get(&q->head);
}

static inline uint32_t coir__runq_len(const struct coir__runq *q)
{
    return coir__runq_in_ring(q) + coir__runq_get(&q->listed);
}

/* For coir__runq_push: behind the ring. */
static inline void coir__runq_list(struct coir__runq *q, struct coir__fiber *f)
{
    uint32_t listed = coir__runq_get(&q->listed);
    f->next = NULL;
    if (listed)
        q->last->next = f;
    else
        q->first = f;
    q->last = f;
    coir__runq_set(&q->listed, listed + 1);
}

/* How many were there before. */
static inline uint32_t coir__runq_push(struct coir__runq *q, struct coir__fiber *f)
{
    uint32_t tail = coir__runq_get(&q->tail), listed = coir__runq_get(&q->listed);
    uint32_t in_ring = tail - coir__runq_get(&q->head);
    if (__builtin_expect(!listed && in_ring < COIR__RUNQ_CAP, 1)) {
        q->ring[tail % COIR__RUNQ_CAP] = f;
        coir__runq_set(&q->tail, tail + 1);
        return in_ring;
    }
    coir__runq_list(q, f);
    return in_ring + listed;
}

/* The list moves up when the ring is empty. */
static inline void coir__runq_refill(struct coir__runq *q)
{
    uint32_t tail = coir__runq_get(&q->tail), listed = coir__runq_get(&q->listed);
    uint32_t room = COIR__RUNQ_CAP - (tail - coir__runq_get(&q->head));
    for (; listed && room; listed--, room--) {
        struct coir__fiber *f = q->first;
        q->first = f->next;
        __builtin_prefetch(q->first);
        q->ring[tail++ % COIR__RUNQ_CAP] = f;
    }
    coir__runq_set(&q->tail, tail);
    coir__runq_set(&q->listed, listed);
}

/* The record twice as far ahead, and the stack top of the one that was fetched so before. A call of
 * a function that only prefetches has no effect in the compiler's eyes, and goes: so there may be
 * none. */
static inline __attribute__((always_inline)) void
coir__runq_fetch_ahead(const struct coir__runq *q, uint32_t head, uint32_t tail)
{
    if (tail - head > 2 * COIR__RUNQ_AHEAD) {
        __builtin_prefetch(q->ring[(head + 2 * COIR__RUNQ_AHEAD) % COIR__RUNQ_CAP], 1);
        __builtin_prefetch(q->ring[(head + COIR__RUNQ_AHEAD) % COIR__RUNQ_CAP]->sp, 1);
    }
}

/* The oldest, or NULL. */
static inline struct coir__fiber *coir__runq_pop(struct coir__runq *q)
{
    uint32_t head = coir__runq_get(&q->head), tail = coir__runq_get(&q->tail);
    if (__builtin_expect(head == tail, 0)) {
        if (!coir__runq_get(&q->listed))
            return NULL;
        coir__runq_refill(q);
        tail = coir__runq_get(&q->tail);
    }
    struct coir__fiber *f = q->ring[head % COIR__RUNQ_CAP];
    coir__runq_set(&q->head, head + 1);
    coir__runq_fetch_ahead(q, head + 1, tail);
    return f;
}

#endif
