/* io/epoll.c - the epoll engine: an op is tried by a call that does not wait; when it is not ready
 * epoll tells when to try again; what can only be done by waiting is done by a thread (io/pool.h).
 * SPDX-License-Identifier: MIT
 *
 * Armed     each descriptor that ops wait for is in the worker's epoll with EPOLLONESHOT, for the
 *           events of all of them. An event has all of them tried that it is for, oldest first;
 *           what is left is armed again. Nobody keeps account of what the kernel has: MOD says
 *           whether it is there. So it does no harm when the program closes a descriptor by
 *           itself, and its number comes to mean another file.
 * Stale     what was armed for an op that is gone fires once, and finds nobody.
 * Threads   a call takes place on one for files, which always come to an end, or on one for what
 *           may wait for ever: terminals, FIFOs, and whatever else is neither told not to wait nor
 *           ready. There only the last instant is at risk: it was ready when the thread began.
 * Stop      an op that is armed, or in a pool's queue, is over at once. A call for ever is
 *           interrupted by a signal, again and again until it is over; one of a file is awaited. */
#include "io.h"

#include "fdtab.h"
#include "nowait.h"
#include "pool.h"
#include "sched/memory.h"
#include "sched/runtime.h"

#include <errno.h>
#include <linux/time_types.h>
#include <poll.h>
#include <sys/epoll.h>

enum { TRYING, ARMED, ON_THREAD }; /* an op's phase */

enum {
    EVENTS = 128, /* taken from the kernel at once, */
    ROUNDS = 4,   /* and so often in a tick */
    CALLS_BYTES = 4096,
    STOP_AGAIN_NS = 1000 * 1000
};

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
    int fd;
    uint32_t armed;  /* ops */
    bool arms_later; /* an event is being handled: its descriptor is armed after it */
    uint64_t round;  /* counts events */
    struct coir__call *free, *stopping;
    struct calls_page *pages;
};

static struct coir__pool files = { .threads_max = 16 };
static struct coir__pool waits = { .threads_max = COIR__POOL_THREADS_MAX };

static struct epoll *ep_of(struct coir__worker *w)
{
    return w->io;
}

static long control(struct epoll *e, int command, int fd, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.u64 = (uint32_t)fd };
    return coir__sys(SYS_epoll_ctl, e->fd, command, fd, &event);
}

static int ep_init(struct coir__worker *w)
{
    struct epoll *e = coir__map(sizeof *e);
    if (!e)
        return -ENOMEM;
    long err = coir__io_init(&e->io);
    if (err < 0)
        goto free;
    err = coir__sys(SYS_epoll_create1, EPOLL_CLOEXEC);
    if (err < 0)
        goto fini;
    e->fd = (int)err;
    err = control(e, EPOLL_CTL_ADD, e->io.event_fd, EPOLLIN);
    if (err < 0)
        goto close;
    coir__pool_hold(&files);
    coir__pool_hold(&waits);
    w->io = e;
    coir__fd_worker_add(w);
    return 0;
close:
    coir__sys(SYS_close, e->fd);
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
    coir__sys(SYS_close, e->fd);
    coir__io_fini(&e->io);
    for (struct calls_page *page = e->pages, *next; page; page = next) {
        next = page->next;
        coir__unmap(page, CALLS_BYTES);
    }
    coir__unmap(e, sizeof *e);
    w->io = NULL;
}

static uint32_t events_of(const struct coir__op *op)
{
    switch ((enum coir__opcode)op->code) {
    case COIR__OP_POLL:
        return op->flags | EPOLLERR | EPOLLHUP;
    case COIR__OP_WRITE:
    case COIR__OP_WRITEV:
    case COIR__OP_SEND:
    case COIR__OP_SENDMSG:
        return EPOLLOUT;
    default:
        return EPOLLIN;
    }
}

/* Arm fd for all that wait for it on this worker, if any do. 0, or -errno: -EPERM, it has no
 * events. */
static long arm_fd(struct epoll *e, int fd)
{
    uint32_t events = 0;
    for (struct coir__op *op = *coir__io_bucket(&e->io, fd); op; op = op->next)
        if (op->fd == fd && op->phase == ARMED)
            events |= events_of(op);
    if (!events)
        return 0;
    events |= EPOLLONESHOT;
    long err = control(e, EPOLL_CTL_MOD, fd, events);
    return err == -ENOENT ? control(e, EPOLL_CTL_ADD, fd, events) : err;
}

static void set_phase(struct epoll *e, struct coir__op *op, uint8_t phase)
{
    e->armed += (phase == ARMED) - (op->phase == ARMED);
    op->phase = phase;
}

/* What no memory is left for has a name of its own there, which read(2) does not know. */
static int32_t told(long err)
{
    return err == -ENOSPC ? -ENOMEM : (int32_t)err;
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
    op->phase = TRYING;
    coir__op_complete(w, op, res);
}

/* May it take for ever, until somebody else does something? */
static bool may_wait(const struct coir__op *op)
{
    return op->code == COIR__OP_OPENAT ? op->async : op->code != COIR__OP_FSYNC && op->offset < 0;
}

/* Without a thread, or memory, a file's op is done right here; what may wait for ever fails. */
static void do_on_thread(struct coir__worker *w, struct epoll *e, struct coir__op *op)
{
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
        op->phase = ON_THREAD;
        err = coir__pool_add(call->pool, &call->job);
        if (err == 0)
            return;
        call_put(e, call);
    }
    op->phase = TRYING;
    coir__op_complete(w, op, waiting ? err : (int32_t)coir__blocking(op));
}

/* What has no events is ready when it says that it is not, as some devices do. */
static void arm(struct coir__worker *w, struct epoll *e, struct coir__op *op)
{
    set_phase(e, op, ARMED);
    long err = e->arms_later ? 0 : arm_fd(e, op->fd);
    if (err == 0)
        return;
    set_phase(e, op, TRYING);
    if (err == -EPERM && op->code != COIR__OP_POLL)
        do_on_thread(w, e, op);
    else
        coir__op_complete(w, op, told(err));
}

static void try(struct coir__worker *w, struct epoll *e, struct coir__op *op)
{
    long res = coir__nowait(op);
    bool connects = op->code == COIR__OP_CONNECT; /* io/op.c knows what follows */
    if (res == COIR__CANNOT) {
        bool ready = !may_wait(op) || op->code == COIR__OP_OPENAT ||
                     coir__nowait_poll(op->fd, events_of(op)) != 0;
        if (ready)
            do_on_thread(w, e, op);
        else
            arm(w, e, op);
    } else if (res == -EAGAIN && !op->dont_wait && !connects) {
        arm(w, e, op);
    } else {
        coir__op_complete(w, op, (int32_t)res);
    }
}

static void ep_submit(struct coir__worker *w, struct coir__op *op)
{
    op->phase = TRYING;
    op->round = 0;
    try(w, ep_of(w), op);
}

static void ep_cancel(struct coir__worker *w, struct coir__op *op)
{
    struct epoll *e = ep_of(w);
    if (op->phase == ARMED) {
        set_phase(e, op, TRYING);
        bool some = op->code == COIR__OP_RECV && op->done;
        coir__op_complete(w, op, some ? (int32_t)op->done : -ECANCELED);
        return;
    }
    struct coir__call *call = op->call;
    if (coir__pool_stop(call->pool, &call->job)) {
        call_put(e, call);
        op->phase = TRYING;
        coir__op_complete(w, op, -ECANCELED);
    } else if (call->job.interruptible) {
        call->stopping = true;
        call->next = e->stopping;
        e->stopping = call;
    }
}

/* Those that wait for fd and have not been tried yet in this round, oldest first. NULL: no more. */
static struct coir__op *next_waiting(struct epoll *e, int fd, uint32_t events)
{
    for (struct coir__op *op = *coir__io_bucket(&e->io, fd); op; op = op->next)
        if (op->fd == fd && op->phase == ARMED && op->round != e->round && events_of(op) & events)
            return op;
    return NULL;
}

/* It cannot be armed any more: all who wait for it are told. */
static void give_up(struct coir__worker *w, struct epoll *e, int fd, long err)
{
    struct coir__op *op;
    e->round++;
    while ((op = next_waiting(e, fd, ~0u))) {
        set_phase(e, op, TRYING);
        coir__op_complete(w, op, told(err));
    }
}

/* When one finds nothing left, the next ones of its kind would not either. */
static void handle(struct coir__worker *w, struct epoll *e, int fd, uint32_t events)
{
    struct coir__op *op;
    if (events & (EPOLLERR | EPOLLHUP))
        events = ~0u;
    e->round++;
    e->arms_later = true;
    while ((op = next_waiting(e, fd, events))) {
        op->round = e->round;
        uint32_t its = events_of(op);
        bool polls = op->code == COIR__OP_POLL;
        set_phase(e, op, TRYING);
        uint64_t before = e->io.in_flight;
        try(w, e, op);
        if (e->io.in_flight == before && !polls)
            events &= ~its;
    }
    e->arms_later = false;
    long err = arm_fd(e, fd);
    if (err < 0)
        give_up(w, e, fd, err);
}

static void clear_kick(struct epoll *e)
{
    uint64_t count;
    coir__sys(SYS_read, e->io.event_fd, &count, sizeof count);
}

static long wait_for(struct epoll *e, struct epoll_event *events, int64_t until_ns)
{
    static _Atomic bool no_pwait2;
    int64_t ns = until_ns == 0 ? 0 : until_ns - coir__host_now();
    ns = ns > 0 ? ns : 0;
    if (!atomic_load_explicit(&no_pwait2, memory_order_relaxed)) {
        enum { NR_EPOLL_PWAIT2 = 441 };
        struct __kernel_timespec timeout = { ns / 1000000000, ns % 1000000000 };
        long n = coir__sys(NR_EPOLL_PWAIT2, e->fd, events, EVENTS,
                           until_ns == COIR__NEVER ? NULL : &timeout, NULL, 0);
        if (n != -ENOSYS && n != -EPERM)
            return n;
        atomic_store_explicit(&no_pwait2, true, memory_order_relaxed);
    }
    int64_t ms = until_ns == COIR__NEVER ? -1 : (ns + 999999) / 1000000;
    return coir__sys(SYS_epoll_pwait, e->fd, events, EVENTS, ms < INT32_MAX ? ms : INT32_MAX, NULL,
                     0);
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
    struct epoll_event events[EVENTS];
    e->io.at_once = 0;
    if (e->stopping)
        until_ns = stop_again(e, until_ns);
    for (int i = 0; i < ROUNDS && (until_ns || e->armed); i++) {
        coir__count(&w->counters.enters, 1);
        long n = wait_for(e, events, until_ns);
        for (long k = 0; k < n; k++) {
            int fd = (int)events[k].data.u64;
            if (fd == e->io.event_fd)
                clear_kick(e);
            else
                handle(w, e, fd, events[k].events);
        }
        if (n < EVENTS)
            break;
        until_ns = 0;
    }
}

const struct coir__io_engine coir__epoll = {
    .sched = {
        .name = "epoll",
        .init = ep_init,
        .fini = ep_fini,
        .wait = ep_wait,
        .kick = coir__io_kick,
        .stop_all = coir__ops_stop_all,
        .stop_closing = coir__ops_stop_closing,
        .in_flight = coir__ops_in_flight,
    },
    .submit = ep_submit,
    .cancel = ep_cancel,
};
