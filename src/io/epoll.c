/* io/epoll.c - the epoll engine: an op is tried by a call that does not wait; when it is not ready
 * epoll tells when to try again (ready.h); what can only be done by waiting is done by a thread
 * (call.h).
 * SPDX-License-Identifier: MIT */
#include "call.h"
#include "fdtab.h"
#include "nowait.h"
#include "ready.h"
#include "sched/memory.h"
#include "sched/runtime.h"

#include <errno.h>
#include <sys/epoll.h>

struct epoll {
    struct coir__io io; /* first */
    struct coir__ready ready;
};

static struct epoll *ep_of(struct coir__worker *w)
{
    return w->io;
}

static int ep_init(struct coir__worker *w)
{
    struct epoll *e = coir__map(sizeof *e);
    if (!e)
        return -ENOMEM;
    long err = coir__io_init(&e->io);
    if (err < 0)
        goto free;
    e->ready.cannot = coir__call_start;
    err = coir__ready_open(&e->ready);
    if (err < 0)
        goto fini;
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = (uint32_t)e->io.event_fd };
    err = coir__sys(SYS_epoll_ctl, e->ready.fd, EPOLL_CTL_ADD, e->io.event_fd, &event);
    if (err < 0)
        goto close;
    w->io = e;
    coir__fd_worker_add(w);
    return 0;
close:
    coir__ready_fini(&e->ready);
fini:
    coir__io_fini(&e->io);
free:
    coir__unmap(e, sizeof *e);
    return (int)err;
}

static void ep_fini(struct coir__worker *w)
{
    struct epoll *e = ep_of(w);
    coir__fd_worker_remove(w);
    coir__ready_fini(&e->ready);
    coir__io_fini(&e->io);
    coir__unmap(e, sizeof *e);
    w->io = NULL;
}

/* What has no events is ready when it says that it is not, as some devices do. */
static void arm(struct coir__worker *w, struct epoll *e, struct coir__op *op)
{
    long err = coir__ready_arm(&e->ready, &e->io, op);
    if (err == -EPERM && op->code != COIR__OP_POLL)
        coir__call_start(w, op);
    else if (err < 0)
        coir__op_complete(w, op, (int32_t)err);
}

/* Another call than coir__nowait's may do it. */
static void do_otherwise(struct coir__worker *w, struct epoll *e, struct coir__op *op)
{
    bool polls = op->code != COIR__OP_OPENAT && op->code != COIR__OP_CALL;
    bool typed = op->async && coir__op_is_read(op);
    bool ready = !coir__call_may_wait(op) || !polls || typed ||
                 coir__nowait_poll(op->fd, coir__ready_events(op)) != 0;
    if (ready)
        coir__call_start(w, op);
    else
        arm(w, e, op);
}

/* op->res tells submit why it would wait. After a connect io/op.c knows what follows. */
static bool ep_try(struct coir__worker *w, struct coir__op *op, long *res)
{
    *res = coir__ready_try(&ep_of(w)->ready, op);
    op->res = (int32_t)*res;
    return *res != COIR__CANNOT &&
           (*res != -EAGAIN || op->dont_wait || op->code == COIR__OP_CONNECT);
}

static void ep_submit(struct coir__worker *w, struct coir__op *op)
{
    struct epoll *e = ep_of(w);
    long res;
    op->phase = COIR__OP_HELD;
    op->trusted = 0;
    op->round = 0;
    if (!op->starting && ep_try(w, op, &res))
        coir__op_complete(w, op, (int32_t)res);
    else if (op->res == COIR__CANNOT)
        do_otherwise(w, e, op);
    else
        arm(w, e, op);
}

static void ep_cancel(struct coir__worker *w, struct coir__op *op)
{
    if (op->phase == COIR__OP_ARMED)
        coir__ready_stop(w, &ep_of(w)->ready, op);
    else
        coir__call_stop(w, op);
}

static void clear_kick(struct epoll *e)
{
    uint64_t count;
    coir__sys(SYS_read, e->io.event_fd, &count, sizeof count);
}

static bool ep_look(struct coir__worker *w)
{
    struct epoll *e = ep_of(w);
    uint64_t before = e->io.in_flight;
    if (e->ready.armed)
        coir__ready_wait(w, &e->ready, e->io.event_fd, 0);
    return e->io.in_flight != before;
}

/* No call while there is nothing to wait for. */
static void ep_wait(struct coir__worker *w, int64_t until_ns)
{
    struct epoll *e = ep_of(w);
    uint64_t before = e->io.in_flight;
    until_ns = coir__io_before_wait(w, until_ns);
    until_ns = coir__ready_check(w, &e->ready, until_ns);
    bool block = until_ns != 0 && e->io.in_flight == before; /* else a fiber was woken */
    if (!block && !e->ready.armed)
        return;
    coir__count(&w->counters.enters, 1);
    if (coir__ready_wait(w, &e->ready, e->io.event_fd, block ? until_ns : 0))
        clear_kick(e);
}

const struct coir__io_engine coir__epoll = {
    .sched = {
        .name = "epoll",
        .init = ep_init,
        .fini = ep_fini,
        .wait = ep_wait,
        .look = ep_look,
        .kick = coir__io_kick,
        .stop_all = coir__ops_stop_all,
        .stop_closing = coir__ops_stop_closing,
        .in_flight = coir__ops_in_flight,
    },
    .try = ep_try,
    .submit = ep_submit,
    .cancel = ep_cancel,
};
