/* io/op.h - one request in flight.
 * SPDX-License-Identifier: MIT
 *
 * An op lives on the stack of whoever waits for it, and until its completion: nobody returns from
 * an I/O call while the kernel may still write to his buffer. Cancel, deadline and close only ask
 * the engine to end it; the completion then says what became of it. What the completion brings in
 * data is delivered even if it was asked to end.
 *
 *   IDLE -> IN_FLIGHT coir__op_start: counted in the descriptor table, listed at its worker,
 *                       given to the engine
 *   IN_FLIGHT -> IDLE coir__op_complete, by the engine, on the same worker
 *
 * Everything above the engines is here, in op.c and in group.c: retry, deadline, cancel, close. */
#ifndef COIR_IO_OP_H
#define COIR_IO_OP_H

#include "fdmap.h"
#include "sched/wait.h"
#include "sched/worker.h"

#include <errno.h>

enum coir__opcode {
    COIR__OP_READ, /* addr len offset; offset -1: the file's own, or none */
    COIR__OP_WRITE,
    COIR__OP_READV, /* addr: iovec, len: how many, offset */
    COIR__OP_WRITEV,
    COIR__OP_RECV, /* addr len flags */
    COIR__OP_SEND,
    COIR__OP_RECVMSG, /* addr: msghdr, flags; without MSG_WAITALL */
    COIR__OP_SENDMSG,
    COIR__OP_ACCEPT,  /* addr, out_len, flags */
    COIR__OP_CONNECT, /* addr, len */
    COIR__OP_OPENAT,  /* addr: path, flags, len: mode */
    COIR__OP_FSYNC,   /* flags: COIR__SYNC_DATA_ONLY, or 0 */
    COIR__OP_POLL,    /* flags: events */
    COIR__OP_CALL,    /* addr: struct coir__system_call, flags: COIR__CALL_WAITS, or 0 */
};

enum { COIR__SYNC_DATA_ONLY = 1 }; /* IORING_FSYNC_DATASYNC */

/* Any system call, on a thread. WAITS: it may for ever; else it cannot be ended early. PEER: for a
 * peer, who may be hostile: then it is apart from the others that wait. */
struct coir__system_call {
    long nr, args[6];
};
enum { COIR__CALL_WAITS = 1, COIR__CALL_PEER = 2 };

/* Who has an op that is in flight. */
enum coir__op_phase {
    COIR__OP_HELD,      /* the engine itself */
    COIR__OP_ARMED,     /* ready.h */
    COIR__OP_ON_THREAD, /* call.h */
};

enum coir__op_state { COIR__OP_IDLE, COIR__OP_IN_FLIGHT };

struct coir__op {
    struct coir__waiter waiter; /* first: its stop gets the op by its address */
    int32_t res;                /* after completion: a count, a descriptor, or -errno */
    int32_t stop_error;         /* asked to end: the errno that explains it; else 0 */
    uint8_t code;               /* enum coir__opcode */
    uint8_t state;              /* enum coir__op_state; its worker only */
    uint8_t phase;              /* enum coir__op_phase */
    uint8_t trusted;            /* ready.h: 0, or for how many checks it has waited, and one */
    bool dont_wait;             /* -EAGAIN is a result, not a reason to wait */
    bool interrupted;           /* -EINTR once: a CONNECT may go on without us */
    bool connecting;            /* CONNECT: it has begun, and goes on without us */
    bool starting;              /* its fiber has tried it, is still awake, and sees it complete */
    bool counted;               /* fd is in the descriptor table: unless OPENAT has no directory */
    bool submitted : 1;         /* uring's: the kernel has, or is about to get, its SQE; */
    bool cancelling : 1;        /* the SQE that cancels it; */
    bool finished : 1;          /* and only the cancel's completion is still to come */
    bool looked_at : 1;         /* sock_timeout.h: in this wait; */
    bool timed : 1;             /* and it has a timeout */
    bool for_another : 1;       /* POLL: waits for what an op of the caller's needs */
    bool async;                 /* may block whatever it is told, so on a thread: OPENAT (open.c),
                                 * reads and writes of terminals (file.c) */
    bool uncached;              /* READ, READV: not in the page cache just now; file.c */
    int32_t fd;
    uint32_t generation; /* counted: which file of that number; 0: not known yet */
    uint32_t flags;
    const void *addr;
    uint64_t len;
    union {
        int64_t offset;
        void *out_len;
        uint64_t done; /* RECV with MSG_WAITALL, by readiness: bytes that have come */
    };
    struct coir__op *prev, *next; /* in its worker's list of the same descriptors, oldest first; the
                                   * oldest's prev is the newest */
    union {
        struct coir__op *backlog_next; /* uring's: no room to submit it, or its cancel, yet */
        struct coir__call *call;       /* call.h */
        uint64_t round;                /* ready.h: when it was last tried */
    };
    struct coir__op_group *group; /* several ops, one waiter: group.c; else NULL */
};

/* Ops that are waited for together: the first to complete has the others stopped, and claims
 * `first` if there is one; the last one wakes the waiter. */
struct coir__op_group {
    struct coir__waiter waiter; /* first: its stop gets the group by its address */
    struct coir__waiter *first; /* or NULL */
    struct coir__op *ops;       /* one that is counted, with fd < 0, takes no part */
    uint32_t n;
    uint32_t begun;     /* those before it are counted; or the one that could not be */
    uint32_t in_flight; /* and one more while they are being started */
    bool stopping;
};

/* A plain thread's op, or group, is started and stopped by mail. The bits of wish say what the mail
 * is about; who makes them nonzero posts it. The worker clears them with its last touch, so that
 * the thread knows when it may leave. */
struct coir__lent {
    struct coir__waiter *waiter; /* its stop ends it early */
    void (*start)(struct coir__worker *w, struct coir__waiter *waiter);
    struct coir__mail_call mail;
    _Atomic uint32_t wish;
    struct coir__runtime *rt;
    struct coir__worker *worker;
};

/* What somebody waits for, to show it. */
struct coir__op_view {
    uint32_t n;   /* so many ops; 0: only for time */
    int32_t fd;   /* of the first; negative: none */
    uint8_t code; /* likewise, enum coir__opcode */
};

enum { COIR__OP_BUCKETS = 64 };

/* Calls that are under way to threads, or back. */
struct coir__calls {
    struct coir__call *free, *stopping;
    struct coir__calls_page *pages;
};

/* sock_timeout.h: lists of descriptors, negative: empty; and when to look at them. */
struct coir__sock_timeouts {
    struct coir__fdmap fds;
    int32_t fresh, timed, slow;
    int64_t check_ns, slow_ns; /* fresh and timed; slow */
};

/* What every engine keeps in w->io first: the ops in flight on this worker, by descriptor. */
struct coir__io {
    uint64_t in_flight;
    uint32_t at_once;                       /* ops of this tick that did not have to wait */
    struct coir__op **by_fd;                /* a table that grows */
    uint32_t buckets;                       /* its length, a power of two */
    int event_fd;                           /* a write to it is a kick */
    bool sigpipe_blocked;                   /* on this thread, by us */
    struct coir__op *few[COIR__OP_BUCKETS]; /* it, at first */
    struct coir__calls calls;
    struct coir__sock_timeouts timeouts;
    struct coir__worker *next; /* in the list of all workers with an engine (fdtab.c) */
};

/* On the worker's thread. init: 0, or -errno. */
COIR_HIDDEN int coir__io_init(struct coir__io *io);
COIR_HIDDEN void coir__io_fini(struct coir__io *io);
/* What engine->wait begins with: a tick is over, and until_ns, or when to come back before it. */
COIR_HIDDEN int64_t coir__io_before_wait(struct coir__worker *w, int64_t until_ns);
/* coir__engine's kick, the same for every engine: any thread, as long as the worker is there. */
COIR_HIDDEN void coir__io_kick(struct coir__worker *w);

static inline struct coir__op **coir__io_bucket(struct coir__io *io, int fd)
{
    return &io->by_fd[(uint32_t)fd & (io->buckets - 1)];
}

/* What io asks of an engine, besides what sched does. */
struct coir__io_engine {
    struct coir__engine sched; /* first */
    /* By op's fiber: do op, which is counted, if that is possible without waiting. True: *res is
     * the result. NULL: the engine starts them all. */
    bool (*try)(struct coir__worker *w, struct coir__op *op, long *res);
    /* Start op; ends in exactly one coir__op_complete, later or at once. */
    void (*submit)(struct coir__worker *w, struct coir__op *op);
    /* Ask for an early end of an op in flight on w: it then completes with -ECANCELED, or with what
     * it had done. */
    void (*cancel)(struct coir__worker *w, struct coir__op *op);
};

/* Run op to its end: the calling fiber parks, a plain thread lends it to a worker. -errno, or the
 * result. */
COIR_HIDDEN long coir__op_run(struct coir__op *op);

/* A read at an offset, by a fiber that may wait for ever: all of it from the page cache, without
 * an op? MISSED: it is not there now, so that op->uncached; UNTRIED: or not for certain. */
enum coir__read_now { COIR__READ_DONE, COIR__READ_MISSED, COIR__READ_UNTRIED };
COIR_HIDDEN enum coir__read_now coir__op_read_now(int fd, const void *buf, uint64_t len,
                                                  int64_t offset);

/* For op.c. Do op, which is counted and at no given offset, by a system call, if that is possible
 * without waiting. True: *res is the result, as after a completion. */
COIR_HIDDEN bool coir__op_try(struct coir__op *op, long *res);

/* 0, or why the caller may not wait any more: -ECANCELED, -ETIMEDOUT. */
COIR_HIDDEN long coir__op_check(void);

/* The caller's deadline, fiber or thread. */
COIR_HIDDEN int64_t coir__op_deadline(void);

/* Let time pass, until until_ns or until the caller is stopped. */
COIR_HIDDEN void coir__op_pause(int64_t until_ns);

/* Of those that files have, too: does it read? */
static inline bool coir__op_is_read(const struct coir__op *op)
{
    return op->code == COIR__OP_READ || op->code == COIR__OP_READV;
}

/* What an op that ends early with err has brought all the same. */
static inline long coir__op_partly(const struct coir__op *op, long err)
{
    return op->code == COIR__OP_RECV && op->done ? (long)op->done : err;
}

/* A poll that fails with this will never say anything: what has no events of its own, such as a
 * regular file, is ready at once for those that it has. */
static inline bool coir__op_never_polls(int32_t res)
{
    return res == -EINVAL || res == -EOPNOTSUPP || res == -EPERM;
}

/* Run the ops of g until the first of them is over, until_ns comes or the caller is stopped; then
 * all are over, and their res says how. 0; -EBADF: a descriptor was closed meanwhile; -ENOMEM. */
COIR_HIDDEN long coir__group_run(struct coir__op_group *g, int64_t until_ns);

/* The same for who waits for other things, too, with g->first: start the ops, 0 or -errno; and,
 * when that wait is over, have them ended. lent is for plain threads. */
COIR_HIDDEN int coir__group_enter(struct coir__op_group *g, struct coir__lent *lent);
COIR_HIDDEN void coir__group_leave(struct coir__op_group *g, struct coir__lent *lent);

/* Why a runtime could not start, as an I/O call says it: EAGAIN means something else there. */
static inline long coir__start_error(long err)
{
    return err == -EAGAIN ? -ENOMEM : err;
}

/* The wait of a fiber that is parked with COIR__WHY_IO. By its home worker. */
COIR_HIDDEN struct coir__op_view coir__op_view(const struct coir__waiter *waiter);
COIR_HIDDEN struct coir__op_view coir__group_view(const struct coir__waiter *waiter);

/* For group.c. An op of the group is over. */
COIR_HIDDEN void coir__group_complete(struct coir__op_group *g);
/* For group.c. Count op: as coir__fd_begin. */
COIR_HIDDEN int coir__op_begin(struct coir__op *op);
/* For group.c. Have a worker of lent->rt, which the caller has entered, start what lent->waiter
 * stands for, and leave the runtime. */
COIR_HIDDEN void coir__lend(struct coir__lent *lent);
/* Wait until it is over; from until_ns on, have it stopped. */
COIR_HIDDEN void coir__lend_await(struct coir__lent *lent, int64_t until_ns);

/* The engine's word that op is over. On the worker it was started on. */
COIR_HIDDEN void coir__op_complete(struct coir__worker *w, struct coir__op *op, int32_t res);

/* Give op, already counted, to w's engine. On w. */
COIR_HIDDEN void coir__op_start(struct coir__worker *w, struct coir__op *op);

/* Ask an op in flight on this worker to end, err being the reason given to its caller. True: it was
 * over at once, and perhaps others of its group with it. */
COIR_HIDDEN bool coir__op_stop(struct coir__op *op, int err);

/* For op.c: an op in flight, and no more. */
COIR_HIDDEN void coir__io_add(struct coir__io *io, struct coir__op *op);
COIR_HIDDEN void coir__io_remove(struct coir__io *io, struct coir__op *op);

/* For fdtab.c: end the ops of w, the caller, on fd. */
COIR_HIDDEN void coir__ops_stop_fd(struct coir__worker *w, int fd);

/* coir__engine's stop_all, stop_closing and in_flight, the same for every engine. */
COIR_HIDDEN void coir__ops_stop_all(struct coir__worker *w);
COIR_HIDDEN void coir__ops_stop_closing(struct coir__worker *w);
COIR_HIDDEN uint64_t coir__ops_in_flight(struct coir__worker *w);

#endif
