/* io/ring.c - setting up a ring, and entering the kernel.
 * SPDX-License-Identifier: MIT
 *
 * The flags are found by trying, the richest set first, one rung down at each EINVAL: kernels with
 * back-ported parts lie about their version. DEFER_TASKRUN leaves completions where they are until
 * we enter, so that they come in batches; TASKRUN_FLAG is what tells us that there are some.
 * NO_SQARRAY is left alone: then the array must be filled. */
#include "ring.h"

#include "sched/memory.h"

#include <errno.h>
#include <linux/time_types.h>

enum {
    SQ_ENTRIES = 512,
    CQ_ENTRIES = 4096,
    CQ_ENTRIES_MIN = 1024,
    IOWQ_BOUNDED = 4,
    IOWQ_UNBOUNDED = 32
};

unsigned coir__ring_flags_mask = ~0u;
unsigned coir__ring_features_mask = ~0u;

static const unsigned ladder[] = {
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_SUBMIT_ALL,
    0,
};

/* Also halves the completion queue when the kernel finds no memory for it in one piece. */
static long set_up(struct io_uring_params *p)
{
    long fd = -EINVAL;
    for (unsigned rung = 0; rung < sizeof ladder / sizeof *ladder && fd == -EINVAL; rung++)
        for (unsigned cq = CQ_ENTRIES; cq >= CQ_ENTRIES_MIN; cq /= 2) {
            *p = (struct io_uring_params){
                .flags = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE |
                         (ladder[rung] & coir__ring_flags_mask & COIR__SAN_RING_FLAGS),
                .cq_entries = cq,
            };
            fd = coir__sys(SYS_io_uring_setup, SQ_ENTRIES, p);
            if (fd != -ENOMEM)
                break;
        }
    return fd;
}

static long map(int fd, size_t bytes, uint64_t offset)
{
    long at = coir__map_as(bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, offset);
    if (!coir__map_failed(at))
        coir__sys(SYS_madvise, at, bytes, MADV_DONTFORK); /* a child must not submit in our name */
    return at;
}

static int map_queues(struct coir__ring *r, const struct io_uring_params *p)
{
    size_t sq = p->sq_off.array + p->sq_entries * sizeof(unsigned);
    size_t cq = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
    r->queues_bytes = sq > cq ? sq : cq;
    r->sqes_bytes = p->sq_entries * sizeof(struct io_uring_sqe);
    long queues = map(r->fd, r->queues_bytes, IORING_OFF_SQ_RING);
    if (coir__map_failed(queues))
        return (int)queues;
    long sqes = map(r->fd, r->sqes_bytes, IORING_OFF_SQES);
    if (coir__map_failed(sqes)) {
        coir__unmap((void *)queues, r->queues_bytes);
        return (int)sqes;
    }
    char *base = r->queues = (void *)queues;
    r->sqes = (void *)sqes;
    r->sq_head = (void *)(base + p->sq_off.head);
    r->sq_tail = (void *)(base + p->sq_off.tail);
    r->sq_flags = (void *)(base + p->sq_off.flags);
    r->cq_head = (void *)(base + p->cq_off.head);
    r->cq_tail = (void *)(base + p->cq_off.tail);
    r->cqes = (void *)(base + p->cq_off.cqes);
    r->sq_entries = p->sq_entries;
    r->cq_mask = p->cq_entries - 1;
    unsigned *array = (void *)(base + p->sq_off.array);
    for (unsigned i = 0; i < p->sq_entries; i++)
        array[i] = i;
    return 0;
}

/* What the kernel must have for us to work at all: Linux 5.15 does. */
static bool able(const struct io_uring_params *p)
{
    const unsigned needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP |
                            IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_RW_CUR_POS |
                            IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG;
    return (p->features & needed) == needed;
}

int coir__ring_open(struct coir__ring *r)
{
    struct io_uring_params p;
    long fd = set_up(&p);
    if (fd < 0)
        return (int)fd;
    p.features &= coir__ring_features_mask;
    *r = (struct coir__ring){ .fd = (int)fd, .features = p.features };
    int err = able(&p) ? map_queues(r, &p) : -ENOSYS;
    if (err < 0) {
        coir__sys(SYS_close, fd);
        return err;
    }
    if (p.features & COIR__FEAT_NO_IOWAIT)
        r->enter_flags |= COIR__ENTER_NO_IOWAIT;
    /* The kernel's helper threads, for what it cannot do without blocking: by default as many as
     * there may be processes. */
    unsigned workers[2] = { IOWQ_BOUNDED, IOWQ_UNBOUNDED };
    coir__sys(SYS_io_uring_register, fd, IORING_REGISTER_IOWQ_MAX_WORKERS, workers, 2);
    /* A sandbox may let us make a ring, and not let us use it. */
    err = coir__ring_enter(r, false, 0);
    if (err == -EPERM || err == -EACCES || err == -ENOSYS || err == -EINVAL) {
        coir__ring_close(r);
        return err;
    }
    return 0;
}

void coir__ring_close(struct coir__ring *r)
{
    coir__unmap(r->sqes, r->sqes_bytes);
    coir__unmap(r->queues, r->queues_bytes);
    coir__sys(SYS_close, r->fd);
}

struct io_uring_sqe *coir__ring_sqe(struct coir__ring *r)
{
    unsigned head = atomic_load_explicit(r->sq_head, memory_order_acquire);
    if (r->tail - head == r->sq_entries) {
        coir__ring_enter(r, false, 0);
        head = atomic_load_explicit(r->sq_head, memory_order_acquire);
        if (r->tail - head == r->sq_entries)
            return NULL;
    }
    struct io_uring_sqe *sqe = &r->sqes[r->tail++ & (r->sq_entries - 1)];
    *sqe = (struct io_uring_sqe){ 0 };
    return sqe;
}

static int enter(struct coir__ring *r, bool wait, int64_t timeout_ns)
{
    struct __kernel_timespec timeout = { timeout_ns / 1000000000, timeout_ns % 1000000000 };
    struct io_uring_getevents_arg arg = {
        .sigmask_sz = 8,
        .ts = wait && timeout_ns >= 0 ? (uint64_t)(uintptr_t)&timeout : 0,
    };
    unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
    if (wait)
        flags |= r->enter_flags;
    atomic_store_explicit(r->sq_tail, r->tail, memory_order_release);
    long n = coir__sys(SYS_io_uring_enter, r->fd, coir__ring_pending(r), wait ? 1 : 0, flags, &arg,
                       sizeof arg);
    /* How many it took: by its own head, since an error can hide the count. */
    r->submitted = atomic_load_explicit(r->sq_head, memory_order_acquire);
    return n < 0 ? (int)n : 0;
}

int coir__ring_enter(struct coir__ring *r, bool wait, int64_t timeout_ns)
{
    if (COIR__SAN_WAITS_APART && wait) {
        int err = enter(r, false, 0);
        if (err == 0 && !coir__ring_ready(r))
            coir__san_await_ring(r->fd, timeout_ns);
        wait = false;
    }
    return enter(r, wait, timeout_ns);
}
