/* io/uring.c - the io_uring engine: ops into SQEs, completions into ops, and a tick's one enter.
 * SPDX-License-Identifier: MIT
 *
 * user_data of an op is its address, of its cancel the same plus 1; two small numbers are ours.
 * Cancel     An op is over when its own completion is here and its cancel's, if there was one: so
 *            the address cannot carry another op that the cancel would hit. The kernel may find
 *            nothing to cancel because the op is just on its way from one hand to another; then the
 *            cancel is made again a little later.
 * Backlog    When the submission queue has no room even after an enter (the kernel is short of
 *            memory), an op, or its cancel, waits in a list and is tried again at each tick. So
 *            submit and cancel cannot fail.
 * Kick       A read of an eventfd is always in flight; whoever wants the worker up writes to it. */
#include "call.h"
#include "fdtab.h"
#include "io.h"
#include "ring.h"
#include "sched/memory.h"

#include <errno.h>

enum { USER_DATA_KICK = 2, CANCEL_BIT = 1, REAP_MAX = 256 };
enum { RETRY_MIN_NS = 50 * 1000, RETRY_MAX_NS = 10 * 1000 * 1000 };

struct list {
    struct coir__op *first, **end; /* through backlog_next */
};

struct uring {
    struct coir__io io; /* first */
    struct coir__ring ring;
    bool kick_armed;
    uint64_t event; /* what the read of event_fd fills */
    struct list backlog;
    struct list missed; /* cancels that found nothing, to be made again at retry_at_ns */
    int64_t retry_at_ns, retry_ns;
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
    io_uring_prep_read(sqe, u->io.event_fd, &u->event, sizeof u->event, 0);
    sqe->user_data = USER_DATA_KICK;
    return true;
}

static int uring_init(struct coir__worker *w)
{
    struct uring *u = coir__map(sizeof(struct uring));
    if (!u)
        return -ENOMEM;
    u->backlog.end = &u->backlog.first;
    u->missed.end = &u->missed.first;
    u->retry_ns = RETRY_MIN_NS;
    int err = coir__ring_open(&u->ring);
    if (err < 0)
        goto free;
    err = coir__io_init(&u->io);
    if (err < 0)
        goto close;
    u->kick_armed = arm_kick(u);
    w->io = u;
    coir__fd_worker_add(w);
    return 0;
close:
    coir__ring_close(&u->ring);
free:
    coir__unmap(u, sizeof *u);
    return err;
}

/* The read of event_fd is still in flight and ends with the ring; the memory it would write to has
 * to stay until then: a last kick completes it. */
static void uring_fini(struct coir__worker *w)
{
    struct uring *u = uring_of(w);
    coir__fd_worker_remove(w);
    coir__io_kick(w);
    struct io_uring_cqe cqe = { 0 };
    int err = 0;
    while (u->kick_armed && cqe.user_data != USER_DATA_KICK && err != -EBADF)
        if (!coir__ring_reap(&u->ring, &cqe))
            err = coir__ring_enter(&u->ring, true, -1);
    coir__ring_close(&u->ring);
    coir__io_fini(&u->io);
    coir__unmap(u, sizeof *u);
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
    case COIR__OP_RECVMSG:
        io_uring_prep_recvmsg(sqe, op->fd, addr, op->flags);
        break;
    case COIR__OP_SENDMSG:
        io_uring_prep_sendmsg(sqe, op->fd, addr, op->flags | MSG_NOSIGNAL);
        break;
    case COIR__OP_ACCEPT:
        io_uring_prep_accept(sqe, op->fd, addr, op->out_len, (int)op->flags);
        break;
    case COIR__OP_CONNECT:
        io_uring_prep_connect(sqe, op->fd, addr, (socklen_t)len);
        break;
    case COIR__OP_OPENAT:
        io_uring_prep_openat(sqe, op->fd, addr, (int)op->flags, (mode_t)op->len);
        break;
    case COIR__OP_FSYNC:
        io_uring_prep_fsync(sqe, op->fd, op->flags);
        break;
    case COIR__OP_POLL:
        io_uring_prep_poll_add(sqe, op->fd, op->flags);
        break;
    case COIR__OP_CALL: /* a thread does it */
        break;
    }
    sqe->user_data = (uint64_t)(uintptr_t)op;
}

static void list_add(struct list *list, struct coir__op *op)
{
    op->backlog_next = NULL;
    *list->end = op;
    list->end = &op->backlog_next;
}

static struct coir__op *list_pop(struct list *list)
{
    struct coir__op *op = list->first;
    list->first = op->backlog_next;
    if (!list->first)
        list->end = &list->first;
    return op;
}

/* True: it was there. */
static bool list_take(struct list *list, struct coir__op *op)
{
    struct coir__op **at = &list->first;
    while (*at && *at != op)
        at = &(*at)->backlog_next;
    if (!*at)
        return false;
    *at = op->backlog_next;
    if (!*at)
        list->end = at;
    return true;
}

static bool try_submit(struct uring *u, struct coir__op *op)
{
    struct io_uring_sqe *sqe = coir__ring_sqe(&u->ring);
    if (!sqe)
        return false;
    prepare(sqe, op);
    op->submitted = true;
    return true;
}

static bool try_cancel(struct uring *u, struct coir__op *op)
{
    struct io_uring_sqe *sqe = coir__ring_sqe(&u->ring);
    if (!sqe)
        return false;
    io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)op, 0);
    sqe->user_data = (uint64_t)(uintptr_t)op | CANCEL_BIT;
    op->cancelling = true;
    return true;
}

static void reap(struct coir__worker *w, struct uring *u);

/* To a terminal that has room for one byte the kernel writes all it is given while it takes the
 * SQE, and waits there for the rest of the room: with our thread, hence op->async.
 * Who accepts gets the connections that are there one after the other, and not one in each round of
 * all fibers: so their fibers are spawned while it can still be chosen where they run. */
static void uring_submit(struct coir__worker *w, struct coir__op *op)
{
    struct uring *u = uring_of(w);
    op->phase = COIR__OP_HELD;
    op->submitted = op->cancelling = op->finished = false;
    if (op->code == COIR__OP_CALL || op->async) {
        coir__call_start(w, op);
    } else if (u->backlog.first || !try_submit(u, op)) {
        list_add(&u->backlog, op);
    } else if (op->starting && op->code == COIR__OP_ACCEPT) {
        coir__count(&w->counters.enters, 1);
        coir__ring_enter(&u->ring, false, 0);
        reap(w, u);
    }
}

static void cancel_or_wait(struct uring *u, struct coir__op *op)
{
    if (u->backlog.first || !try_cancel(u, op))
        list_add(&u->backlog, op);
}

/* An op that never reached the kernel is over at once. */
static void uring_cancel(struct coir__worker *w, struct coir__op *op)
{
    struct uring *u = uring_of(w);
    if (op->phase == COIR__OP_ON_THREAD) {
        coir__call_stop(w, op);
    } else if (op->submitted) {
        cancel_or_wait(u, op);
    } else {
        list_take(&u->backlog, op);
        coir__op_complete(w, op, -ECANCELED);
    }
}

/* In the backlog a submitted op stands for its cancel. */
static void work_off_backlog(struct uring *u)
{
    while (u->backlog.first) {
        struct coir__op *op = u->backlog.first;
        if (op->submitted ? !try_cancel(u, op) : !try_submit(u, op))
            return;
        list_pop(&u->backlog);
    }
}

/* Returns until_ns, or when to come back for the next attempt. */
static int64_t cancel_again(struct uring *u, int64_t until_ns)
{
    int64_t now_ns = coir__host_now();
    if (now_ns < u->retry_at_ns)
        return until_ns < u->retry_at_ns ? until_ns : u->retry_at_ns;
    struct list missed = u->missed;
    *missed.end = NULL;
    u->missed = (struct list){ .end = &u->missed.first };
    while (missed.first)
        cancel_or_wait(u, list_pop(&missed));
    u->retry_ns = u->retry_ns * 2 < RETRY_MAX_NS ? u->retry_ns * 2 : RETRY_MAX_NS;
    return until_ns;
}

static void reap_op(struct coir__worker *w, struct uring *u, struct coir__op *op, int32_t res)
{
    if (__builtin_expect(u->backlog.first || u->missed.first, 0)) {
        list_take(&u->backlog, op); /* its cancel comes too late */
        list_take(&u->missed, op);
    }
    if (op->cancelling) {
        op->finished = true;
        op->res = res;
    } else {
        coir__op_complete(w, op, res);
    }
}

static void reap_cancel(struct coir__worker *w, struct uring *u, struct coir__op *op, int32_t res)
{
    op->cancelling = false;
    if (op->finished) {
        coir__op_complete(w, op, op->res);
    } else if (res == -ENOENT) {
        if (!u->missed.first)
            u->retry_at_ns = coir__host_now() + u->retry_ns;
        list_add(&u->missed, op);
        return;
    }
    u->retry_ns = RETRY_MIN_NS;
}

static void reap(struct coir__worker *w, struct uring *u)
{
    struct io_uring_cqe cqe;
    for (int n = 0; n < REAP_MAX && coir__ring_reap(&u->ring, &cqe); n++) {
        struct coir__op *op = (struct coir__op *)(uintptr_t)(cqe.user_data & ~(uint64_t)CANCEL_BIT);
        if (cqe.user_data == USER_DATA_KICK)
            u->kick_armed = false;
        else if (cqe.user_data & CANCEL_BIT)
            reap_cancel(w, u, op, cqe.res);
        else
            reap_op(w, u, op, cqe.res);
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
    bool block = until_ns != 0;
    until_ns = coir__io_before_wait(w, until_ns);
    if (u->backlog.first)
        work_off_backlog(u);
    if (u->missed.first)
        until_ns = cancel_again(u, until_ns);
    if (!u->kick_armed)
        u->kick_armed = arm_kick(u);
    block = block && !u->backlog.first && u->kick_armed;
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

static bool uring_look(struct coir__worker *w)
{
    struct coir__ring *r = &uring_of(w)->ring;
    return coir__ring_ready(r) || coir__ring_calls(r);
}

const struct coir__io_engine coir__uring = {
    .sched = {
        .name = "uring",
        .init = uring_init,
        .fini = uring_fini,
        .wait = uring_wait,
        .look = uring_look,
        .kick = coir__io_kick,
        .stop_all = coir__ops_stop_all,
        .stop_closing = coir__ops_stop_closing,
        .in_flight = coir__ops_in_flight,
    },
    .submit = uring_submit,
    .cancel = uring_cancel,
};
