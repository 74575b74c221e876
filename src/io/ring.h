/* io/ring.h - one io_uring: set-up, the two queues, enter. For uring.c, which knows what goes
 * through it.
 * SPDX-License-Identifier: MIT
 *
 * Only the thread that made it may touch it (SINGLE_ISSUER). All results are -errno. */
#ifndef COIR_IO_RING_H
#define COIR_IO_RING_H

#include "arch/arch.h"
#include "uring_abi.h"

#include <stdatomic.h>
#include <stdbool.h>

struct coir__ring {
    int fd;
    unsigned features;
    unsigned enter_flags; /* for every enter that may wait */
    /* Shared with the kernel. */
    _Atomic unsigned *sq_head, *sq_tail, *sq_flags;
    _Atomic unsigned *cq_head, *cq_tail;
    unsigned sq_entries, cq_mask;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
    unsigned tail;      /* SQEs prepared; the kernel sees them at the next enter */
    unsigned submitted; /* of those, how many it has taken */
    void *queues;
    size_t queues_bytes, sqes_bytes;
};

/* Zero bits are flags not to use, features not to see: for tests, which play an older kernel. */
COIR_HIDDEN extern unsigned coir__ring_flags_mask, coir__ring_features_mask;

COIR_HIDDEN int coir__ring_open(struct coir__ring *r);
COIR_HIDDEN void coir__ring_close(struct coir__ring *r);

/* A zeroed SQE; NULL when the queue is full, also after an attempt to empty it. */
COIR_HIDDEN struct io_uring_sqe *coir__ring_sqe(struct coir__ring *r);

/* Hand over what was prepared; with wait, until something completes or timeout_ns has passed
 * (negative: no limit). Also makes the kernel's deferred work visible in the completion queue. 0 or
 * -errno, of which none needs an answer: -ETIME, -EINTR, and -EBUSY or -EAGAIN, after which
 * completions have to be reaped first. */
COIR_HIDDEN int coir__ring_enter(struct coir__ring *r, bool wait, int64_t timeout_ns);

/* SQEs not yet taken by the kernel. */
static inline unsigned coir__ring_pending(const struct coir__ring *r)
{
    return r->tail - r->submitted;
}

/* The kernel has completions for us that only an enter brings out. */
static inline bool coir__ring_calls(const struct coir__ring *r)
{
    return atomic_load_explicit(r->sq_flags, memory_order_relaxed) &
           (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

/* The next completion, copied out and given back to the kernel; false: none. */
static inline bool coir__ring_reap(struct coir__ring *r, struct io_uring_cqe *cqe)
{
    unsigned head = atomic_load_explicit(r->cq_head, memory_order_relaxed);
    if (head == atomic_load_explicit(r->cq_tail, memory_order_acquire))
        return false;
    const struct io_uring_cqe *at = &r->cqes[head & r->cq_mask];
    cqe->user_data = at->user_data;
    cqe->res = at->res;
    cqe->flags = at->flags;
    atomic_store_explicit(r->cq_head, head + 1, memory_order_release);
    return true;
}

static inline bool coir__ring_ready(const struct coir__ring *r)
{
    return atomic_load_explicit(r->cq_head, memory_order_relaxed) !=
           atomic_load_explicit(r->cq_tail, memory_order_acquire);
}

#endif
