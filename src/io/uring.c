/* io/uring.c - the io_uring engine: ops into SQEs, completions into ops, and a tick's one enter.
 * SPDX-License-Identifier: MIT
 *
 * user_data of an op is its address; two small numbers are ours. A cancel names its target by that
 * address, on a stack that
 *            may carry another op soon: safe, because the queue keeps its order. The cancel is only
 *            made while the target is in flight, it runs when it is submitted, and whatever op
 *            comes to the same address is submitted behind it.
 * Backlog    When the submission queue has no room even after an enter (the kernel is short of
 *            memory), an op, or its cancel, waits in a list and is tried again at each tick. So
 *            submit and cancel cannot fail.
 * Kick       A read of an eventfd is always in flight; whoever wants the worker up writes to it. */
#include "io.h"

#include "fdtab.h"
#include "ring.h"

#include <errno.h>
#include <linux/time_types.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { USER_DATA_NONE = 0, USER_DATA_KICK = 1, REAP_MAX = 256, EFD_CLOEXEC_ = 02000000 };

struct uring {
    struct coir__io io; /* first */
    struct coir__ring ring;
    int event_fd;
    bool kick_armed;
    bool sigpipe_blocked; /* by us */
    uint64_t event;       /* what the read of event_fd fills */
    struct coir__op *backlog, **backlog_end;
};

static struct uring *uring_of(struct coir__worker *w)
{
    return w->io;
}

static bool arm_kick(struct uring *u)
{
    struct io_uring_sqe *sqe = coir__ring_sqe(&u->ring);
    if (!sqe)
        return false;
    io_uring_prep_read(sqe, u->event_fd, &u->event, sizeof u->event, 0);
    sqe->user_data = USER_DATA_KICK;
    return true;
}

static void uring_free(struct uring *u)
{
    coir__sys(SYS_munmap, u, sizeof *u);
}

static const uint64_t SIGPIPE_BIT = (uint64_t)1 << (SIGPIPE - 1);

/* A write that the kernel does while we submit it raises SIGPIPE on this thread, and only for
 * send(2) there is a flag against it. True: it was not blocked before. */
static bool block_sigpipe(void)
{
    uint64_t before = 0;
    coir__sys(SYS_rt_sigprocmask, SIG_BLOCK, &SIGPIPE_BIT, &before, sizeof before);
    return !(before & SIGPIPE_BIT);
}

/* Those that were raised meanwhile are forgotten. */
static void unblock_sigpipe(void)
{
    struct __kernel_timespec none = { 0 };
    while (coir__sys(SYS_rt_sigtimedwait, &SIGPIPE_BIT, NULL, &none, sizeof SIGPIPE_BIT) > 0)
        ;
    coir__sys(SYS_rt_sigprocmask, SIG_UNBLOCK, &SIGPIPE_BIT, NULL, sizeof SIGPIPE_BIT);
}

static int uring_init(struct coir__worker *w)
{
    long at = coir__sys(SYS_mmap, NULL, sizeof(struct uring), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at < 0 && at > -4096)
        return -ENOMEM;
    struct uring *u = (struct uring *)at;
    u->backlog_end = &u->backlog;
    int err = coir__ring_open(&u->ring);
    if (err < 0)
        goto free;
    long fd = coir__sys(SYS_eventfd2, 0, EFD_CLOEXEC_);
    if (fd < 0) {
        err = (int)fd;
        goto close;
    }
    u->event_fd = (int)fd;
    u->kick_armed = arm_kick(u);
    u->sigpipe_blocked = block_sigpipe();
    w->io = u;
    coir__fd_worker_add(w);
    return 0;
close:
    coir__ring_close(&u->ring);
free:
    uring_free(u);
    return err;
}

/* The read of event_fd is still in flight and ends with the ring; the memory it would write to has
 * to stay until then: a last kick completes it. */
static void uring_fini(struct coir__worker *w)
{
    struct uring *u = uring_of(w);
    coir__fd_worker_remove(w);
    uint64_t one = 1;
    coir__sys(SYS_write, u->event_fd, &one, sizeof one);
    struct io_uring_cqe cqe = { 0 };
    int err = 0;
    while (u->kick_armed && cqe.user_data != USER_DATA_KICK && err != -EBADF)
        if (!coir__ring_reap(&u->ring, &cqe))
            err = coir__ring_enter(&u->ring, true, -1);
    coir__sys(SYS_close, u->event_fd);
    coir__ring_close(&u->ring);
    if (u->sigpipe_blocked)
        unblock_sigpipe();
    uring_free(u);
    w->io = NULL;
}

static void prepare(struct io_uring_sqe *sqe, const struct coir__op *op)
{
    void *addr = (void *)(uintptr_t)op->addr;
    unsigned len =
        op->len > INT32_MAX ? INT32_MAX : (unsigned)op->len; /* as read(2): a short count */
    switch ((enum coir__opcode)op->code) {
    case COIR__OP_READ:
        io_uring_prep_read(sqe, op->fd, addr, len, (uint64_t)op->offset);
        break;
    case COIR__OP_WRITE:
        io_uring_prep_write(sqe, op->fd, addr, len, (uint64_t)op->offset);
        break;
    case COIR__OP_READV:
        io_uring_prep_readv(sqe, op->fd, addr, len, (uint64_t)op->offset);
        break;
    case COIR__OP_WRITEV:
        io_uring_prep_writev(sqe, op->fd, addr, len, (uint64_t)op->offset);
        break;
    case COIR__OP_RECV:
        io_uring_prep_recv(sqe, op->fd, addr, len, (int)op->flags);
        break;
    case COIR__OP_SEND:
        io_uring_prep_send(sqe, op->fd, addr, len, (int)op->flags | MSG_NOSIGNAL);
        break;
    case COIR__OP_ACCEPT:
        io_uring_prep_accept(sqe, op->fd, addr, op->out_len, (int)op->flags);
        break;
    case COIR__OP_CONNECT:
        io_uring_prep_connect(sqe, op->fd, addr, (socklen_t)len);
        break;
    case COIR__OP_OPENAT:
        io_uring_prep_openat(sqe, op->fd, addr, (int)op->flags, (mode_t)op->len);
        if (op->async)
            sqe->flags |= IOSQE_ASYNC;
        break;
    case COIR__OP_FSYNC:
        io_uring_prep_fsync(sqe, op->fd, op->flags);
        break;
    case COIR__OP_POLL:
        io_uring_prep_poll_add(sqe, op->fd, op->flags);
        break;
    }
    sqe->user_data = (uint64_t)(uintptr_t)op;
}

static void wait_in_backlog(struct uring *u, struct coir__op *op)
{
    op->backlog_next = NULL;
    *u->backlog_end = op;
    u->backlog_end = &op->backlog_next;
}

static bool in_backlog(struct uring *u, const struct coir__op *op)
{
    for (const struct coir__op *o = u->backlog; o; o = o->backlog_next)
        if (o == op)
            return true;
    return false;
}

static void take_from_backlog(struct uring *u, struct coir__op *op)
{
    struct coir__op **at = &u->backlog;
    while (*at != op)
        at = &(*at)->backlog_next;
    *at = op->backlog_next;
    if (!*at)
        u->backlog_end = at;
}

static bool try_submit(struct uring *u, struct coir__op *op)
{
    struct io_uring_sqe *sqe = coir__ring_sqe(&u->ring);
    if (sqe)
        prepare(sqe, op);
    return sqe != NULL;
}

static bool try_cancel(struct uring *u, struct coir__op *op)
{
    struct io_uring_sqe *sqe = coir__ring_sqe(&u->ring);
    if (!sqe)
        return false;
    io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)op, 0);
    sqe->user_data = USER_DATA_NONE;
    return true;
}

static void uring_submit(struct coir__worker *w, struct coir__op *op)
{
    struct uring *u = uring_of(w);
    op->submitted = !u->backlog && try_submit(u, op);
    if (!op->submitted)
        wait_in_backlog(u, op);
}

/* An op that never reached the kernel is over at once. */
static void uring_cancel(struct coir__worker *w, struct coir__op *op)
{
    struct uring *u = uring_of(w);
    if (!op->submitted) {
        take_from_backlog(u, op);
        coir__op_complete(w, op, -ECANCELED);
    } else if (u->backlog || !try_cancel(u, op)) {
        wait_in_backlog(u, op);
    }
}

/* In the backlog a submitted op stands for its cancel. */
static void work_off_backlog(struct uring *u)
{
    while (u->backlog) {
        struct coir__op *op = u->backlog;
        if (op->submitted ? !try_cancel(u, op) : !try_submit(u, op))
            return;
        op->submitted = true;
        u->backlog = op->backlog_next;
        if (!u->backlog)
            u->backlog_end = &u->backlog;
    }
}

static void reap(struct coir__worker *w, struct uring *u)
{
    struct io_uring_cqe cqe;
    for (int n = 0; n < REAP_MAX && coir__ring_reap(&u->ring, &cqe); n++) {
        if (cqe.user_data == USER_DATA_KICK) {
            u->kick_armed = false;
        } else if (cqe.user_data != USER_DATA_NONE) {
            struct coir__op *op = (struct coir__op *)(uintptr_t)cqe.user_data;
            if (__builtin_expect(u->backlog && in_backlog(u, op), 0))
                take_from_backlog(u, op); /* its cancel comes too late */
            coir__op_complete(w, op, cqe.res);
        }
    }
    if (!u->kick_armed)
        u->kick_armed = arm_kick(u);
}

/* One enter a tick, none while there is nothing to do. The kernel runs only 20 deferred completions
 * in an enter that need not wait, and says so by its flag: then again. */
static void uring_wait(struct coir__worker *w, int64_t until_ns)
{
    struct uring *u = uring_of(w);
    struct coir__ring *r = &u->ring;
    enum { ENTERS_MAX = 8 };
    if (u->backlog)
        work_off_backlog(u);
    if (!u->kick_armed)
        u->kick_armed = arm_kick(u);
    bool block = until_ns != 0 && !u->backlog && u->kick_armed;
    for (int i = 0; i < ENTERS_MAX; i++) {
        block = block && !coir__ring_ready(r);
        if (!block && !coir__ring_pending(r) && !coir__ring_calls(r))
            break;
        int64_t timeout_ns = -1;
        if (block && until_ns != COIR__NEVER) {
            timeout_ns = until_ns - coir__host_now();
            timeout_ns = timeout_ns > 0 ? timeout_ns : 0;
        }
        coir__count(&w->counters.enters, 1);
        coir__ring_enter(r, block, timeout_ns);
        block = false;
        if (!coir__ring_calls(r))
            break;
        reap(w, u);
    }
    reap(w, u);
}

/* Any thread, as long as the worker is there. */
static void uring_kick(struct coir__worker *w)
{
    uint64_t one = 1;
    coir__sys(SYS_write, uring_of(w)->event_fd, &one, sizeof one);
}

static const struct coir__io_engine uring = {
    .sched = {
        .name = "uring",
        .init = uring_init,
        .fini = uring_fini,
        .wait = uring_wait,
        .kick = uring_kick,
        .stop_all = coir__ops_stop_all,
        .stop_closing = coir__ops_stop_closing,
        .in_flight = coir__ops_in_flight,
    },
    .submit = uring_submit,
    .cancel = uring_cancel,
};

const struct coir__engine *coir__engine_choose(void)
{
    return &uring.sched;
}
