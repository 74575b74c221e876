/* io/call.c - see call.h.
 * SPDX-License-Identifier: MIT */
#include "call.h"

#include "io.h"
#include "nowait.h"
#include "pool.h"
#include "sched/memory.h"
#include "sched/runtime.h"

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

struct coir__calls_page {
    struct coir__calls_page *next;
    struct coir__call calls[];
};

static struct coir__pool files = { .threads_max = 16 };
static struct coir__pool waits = { .threads_max = COIR__POOL_THREADS_MAX };
static struct coir__pool peers = { .threads_max = COIR__POOL_THREADS_MAX };

void coir__calls_begin(void)
{
    coir__pool_hold(&files);
    coir__pool_hold(&waits);
    coir__pool_hold(&peers);
}

void coir__calls_end(struct coir__io *io)
{
    coir__pool_let_go(&files);
    coir__pool_let_go(&waits);
    coir__pool_let_go(&peers);
    for (struct coir__calls_page *page = io->calls.pages, *next; page; page = next) {
        next = page->next;
        coir__unmap(page, CALLS_BYTES);
    }
}

static struct coir__call *get(struct coir__calls *c)
{
    if (!c->free) {
        struct coir__calls_page *page = coir__map(CALLS_BYTES);
        if (!page)
            return NULL;
        page->next = c->pages;
        c->pages = page;
        for (size_t i = 0; i < (CALLS_BYTES - sizeof *page) / sizeof page->calls[0]; i++) {
            page->calls[i].next = c->free;
            c->free = &page->calls[i];
        }
    }
    struct coir__call *call = c->free;
    c->free = call->next;
    return call;
}

static void put(struct coir__calls *c, struct coir__call *call)
{
    call->next = c->free;
    c->free = call;
}

static void run(struct coir__job *job)
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

static void handle(struct coir__worker *w, struct coir__mail_call *mail)
{
    struct coir__calls *c = &((struct coir__io *)w->io)->calls;
    struct coir__call *call =
        (struct coir__call *)((char *)mail - offsetof(struct coir__call, mail));
    struct coir__op *op = call->op;
    int32_t res = call->res;
    if (call->stopping) {
        struct coir__call **at = &c->stopping;
        while (*at != call)
            at = &(*at)->next;
        *at = call->next;
    }
    put(c, call);
    op->phase = COIR__OP_HELD;
    coir__op_complete(w, op, res);
}

long coir__io_call(int fd, const struct coir__system_call *call, uint32_t flags)
{
    struct coir__op op = { .code = COIR__OP_CALL,
                           .fd = fd,
                           .addr = call,
                           .flags = flags,
                           .counted = fd >= 0,
                           .dont_wait = true };
    return coir__op_run(&op);
}

bool coir__call_may_wait(const struct coir__op *op)
{
    switch ((enum coir__opcode)op->code) {
    case COIR__OP_OPENAT:
        return op->async;
    case COIR__OP_CALL:
        return op->flags & COIR__CALL_WAITS;
    case COIR__OP_FSYNC:
        return false;
    default:
        return op->offset < 0;
    }
}

static struct coir__pool *pool_for(const struct coir__op *op)
{
    bool peer = op->code == COIR__OP_CALL && op->flags & COIR__CALL_PEER;
    return peer ? &peers : coir__call_may_wait(op) ? &waits : &files;
}

void coir__call_start(struct coir__worker *w, struct coir__op *op)
{
    struct coir__calls *c = &((struct coir__io *)w->io)->calls;
    bool waiting = coir__call_may_wait(op);
    struct coir__call *call = get(c);
    int err = -ENOMEM;
    if (call) {
        *call = (struct coir__call){ .job = { run, send_back, .interruptible = waiting },
                                     .mail.handle = handle,
                                     .op = op,
                                     .worker = w,
                                     .pool = pool_for(op) };
        op->call = call;
        op->phase = COIR__OP_ON_THREAD;
        err = coir__pool_add(call->pool, &call->job);
        if (err == 0)
            return;
        put(c, call);
    }
    op->phase = COIR__OP_HELD;
    coir__op_complete(w, op, (int32_t)(waiting ? coir__start_error(err) : coir__blocking(op)));
}

void coir__call_stop(struct coir__worker *w, struct coir__op *op)
{
    struct coir__calls *c = &((struct coir__io *)w->io)->calls;
    struct coir__call *call = op->call;
    if (coir__pool_stop(call->pool, &call->job)) {
        put(c, call);
        op->phase = COIR__OP_HELD;
        coir__op_complete(w, op, -ECANCELED);
    } else if (call->job.interruptible) {
        call->stopping = true;
        call->next = c->stopping;
        c->stopping = call;
    }
}

int64_t coir__call_stop_again(struct coir__worker *w, int64_t until_ns)
{
    struct coir__calls *c = &((struct coir__io *)w->io)->calls;
    if (!c->stopping)
        return until_ns;
    for (struct coir__call *call = c->stopping; call; call = call->next)
        coir__pool_stop(call->pool, &call->job);
    int64_t again_ns = coir__host_now() + STOP_AGAIN_NS;
    return until_ns < again_ns ? until_ns : again_ns;
}
