/* io/epoll.c - the epoll engine: an op is tried by a call that does not wait; when it is not ready
 * epoll tells when to try again (ready.h); what can only be done by waiting is done by a thread
 * (io/pool.h).
 * SPDX-License-Identifier: MIT
 *
 * Threads   a call takes place on one for files, which always come to an end, or on one for what
 *           may wait for ever: terminals, FIFOs, and whatever else is neither told not to wait nor
 *           ready. There only the last instant is at risk: it was ready when the thread began.
 * Stop      an op that is armed, or in a pool's queue, is over at once. A call for ever is
 *           interrupted by a signal, again and again until it is over; one of a file is awaited. */
#include "ready.h"

#include "fdtab.h"
#include "nowait.h"
#include "pool.h"
#include "sched/memory.h"
#include "sched/runtime.h"

#include <errno.h>
#include <sys/epoll.h>

enum { CALLS_BYTES = 4096, STOP_AGAIN_NS = 1000 * 1000 };

/* An op on a thread. */
struct coir__call {
    struct coir__job job;        /* first */
    struct coir__mail_call mail; /* brings it back */
    struct coir__op *op;
    struct coir__worker *worker;
    struct coir__pool *pool;
    int32_t res;
    bool stopping;
    struct coir__call *next; /* of the worker's free ones, or of those that are being stopped */
};

struct calls_page {
    struct calls_page *next;
    struct coir__call calls[];
};

struct epoll {
    struct coir__io io; /* first */
    struct coir__ready ready;
    struct coir__call *free, *stopping;
    struct calls_page *pages;
};

static struct coir__pool files = { .threads_max = 16 };
static struct coir__pool waits = { .threads_max = COIR__POOL_THREADS_MAX };

static struct epoll *ep_of(struct coir__worker *w)
{
    return w->io;
}

static void do_on_thread(struct coir__worker *w, struct coir__op *op);

static int ep_init(struct coir__worker *w)
{
    struct epoll *e = coir__map(sizeof *e);
    if (!e)
        return -ENOMEM;
    long err = coir__io_init(&e->io);
    if (err < 0)
        goto free;
    e->ready.cannot = do_on_thread;
    err = coir__ready_open(&e->ready);
    if (err < 0)
        goto fini;
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = (uint32_t)e->io.event_fd };
    err = coir__sys(SYS_epoll_ctl, e->ready.fd, EPOLL_CTL_ADD, e->io.event_fd, &event);
    if (err < 0)
        goto close;
    coir__pool_hold(&files);
    coir__pool_hold(&waits);
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
    coir__pool_let_go(&files);
    coir__pool_let_go(&waits);
    coir__ready_fini(&e->ready);
    coir__io_fini(&e->io);
    for (struct calls_page *page = e->pages, *next; page; page = next) {
        next = page->next;
        coir__unmap(page, CALLS_BYTES);
    }
    coir__unmap(e, sizeof *e);
    w->io = NULL;
}

static struct coir__call *call_get(struct epoll *e)
{
    if (!e->free) {
        struct calls_page *page = coir__map(CALLS_BYTES);
        if (!page)
            return NULL;
        page->next = e->pages;
        e->pages = page;
        for (size_t i = 0; i < (CALLS_BYTES - sizeof *page) / sizeof page->calls[0]; i++) {
            page->calls[i].next = e->free;
            e->free = &page->calls[i];
        }
    }
    struct coir__call *call = e->free;
    e->free = call->next;
    return call;
}

static void call_put(struct epoll *e, struct coir__call *call)
{
    call->next = e->free;
    e->free = call;
}

static void run_call(struct coir__job *job)
{
    struct coir__call *call = (struct coir__call *)job;
    call->res = (int32_t)coir__blocking(call->op);
}

/* Until the mail is read the op is in flight, so its runtime stays; after that, for a visitor. */
static void send_back(struct coir__job *job)
{
    struct coir__call *call = (struct coir__call *)job;
    struct coir__runtime *rt = call->worker->rt;
    atomic_fetch_add(&rt->visitors, 1);
    coir__worker_mail_call(call->worker, &call->mail);
    atomic_fetch_sub(&rt->visitors, 1);
}

static void handle_call(struct coir__worker *w, struct coir__mail_call *mail)
{
    struct epoll *e = ep_of(w);
    struct coir__call *call =
        (struct coir__call *)((char *)mail - offsetof(struct coir__call, mail));
    struct coir__op *op = call->op;
    int32_t res = call->res;
    if (call->stopping) {
        struct coir__call **at = &e->stopping;
        while (*at != call)
            at = &(*at)->next;
        *at = call->next;
    }
    call_put(e, call);
    op->phase = COIR__TRYING;
    coir__op_complete(w, op, res);
}

/* May it take for ever, until somebody else does something? */
static bool may_wait(const struct coir__op *op)
{
    return op->code == COIR__OP_OPENAT ? op->async : op->code != COIR__OP_FSYNC && op->offset < 0;
}

/* Without a thread, or memory, a file's op is done right here; what may wait for ever fails. */
static void do_on_thread(struct coir__worker *w, struct coir__op *op)
{
    struct epoll *e = ep_of(w);
    bool waiting = may_wait(op);
    struct coir__call *call = call_get(e);
    int err = -ENOMEM;
    if (call) {
        *call = (struct coir__call){ .job = { run_call, send_back, .interruptible = waiting },
                                     .mail.handle = handle_call,
                                     .op = op,
                                     .worker = w,
                                     .pool = waiting ? &waits : &files };
        op->call = call;
        op->phase = COIR__ELSEWHERE;
        err = coir__pool_add(call->pool, &call->job);
        if (err == 0)
            return;
        call_put(e, call);
    }
    op->phase = COIR__TRYING;
    coir__op_complete(w, op, waiting ? err : (int32_t)coir__blocking(op));
}

/* What has no events is ready when it says that it is not, as some devices do. */
static void arm(struct coir__worker *w, struct epoll *e, struct coir__op *op)
{
    long err = coir__ready_arm(&e->ready, &e->io, op);
    if (err == -EPERM && op->code != COIR__OP_POLL)
        do_on_thread(w, op);
    else if (err < 0)
        coir__op_complete(w, op, (int32_t)err);
}

/* Another call than coir__nowait's may do it. */
static void do_otherwise(struct coir__worker *w, struct epoll *e, struct coir__op *op)
{
    bool ready = !may_wait(op) || op->code == COIR__OP_OPENAT ||
                 coir__nowait_poll(op->fd, coir__ready_events(op)) != 0;
    if (ready)
        do_on_thread(w, op);
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

static void ep_submit(struct coir__worker *w, struct coir__op *op, bool tried)
{
    struct epoll *e = ep_of(w);
    long res;
    op->phase = COIR__TRYING;
    op->trusted = 0;
    op->round = 0;
    if (!tried && ep_try(w, op, &res))
        coir__op_complete(w, op, (int32_t)res);
    else if (op->res == COIR__CANNOT)
        do_otherwise(w, e, op);
    else
        arm(w, e, op);
}

static void ep_cancel(struct coir__worker *w, struct coir__op *op)
{
    struct epoll *e = ep_of(w);
    if (op->phase == COIR__ARMED) {
        coir__ready_stop(w, &e->ready, op);
        return;
    }
    struct coir__call *call = op->call;
    if (coir__pool_stop(call->pool, &call->job)) {
        call_put(e, call);
        op->phase = COIR__TRYING;
        coir__op_complete(w, op, -ECANCELED);
    } else if (call->job.interruptible) {
        call->stopping = true;
        call->next = e->stopping;
        e->stopping = call;
    }
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

static int64_t stop_again(struct epoll *e, int64_t until_ns)
{
    for (struct coir__call *call = e->stopping; call; call = call->next)
        coir__pool_stop(call->pool, &call->job);
    int64_t again_ns = coir__host_now() + STOP_AGAIN_NS;
    return until_ns < again_ns ? until_ns : again_ns;
}

/* No call while there is nothing to wait for. */
static void ep_wait(struct coir__worker *w, int64_t until_ns)
{
    struct epoll *e = ep_of(w);
    bool block = until_ns != 0;
    e->io.at_once = 0;
    if (e->stopping)
        until_ns = stop_again(e, until_ns);
    until_ns = coir__ready_check(w, &e->ready, until_ns);
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
