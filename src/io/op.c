/* io/op.c - the life of an op above the engines: start, wait, stop, retry.
 * SPDX-License-Identifier: MIT */
#include "op.h"

#include "fdtab.h"
#include "io.h"
#include "sched/sanitize.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* What TSan is told to be one lock around everything that goes through the kernel:
 * sched/sanitize.h. */
static char kernel_sync;

static struct coir__op **bucket(struct coir__worker *w, int fd)
{
    return &((struct coir__io *)w->io)->by_fd[(unsigned)fd % COIR__OP_BUCKETS];
}

void coir__op_start(struct coir__worker *w, struct coir__op *op)
{
    struct coir__op **head = bucket(w, op->fd);
    op->state = COIR__OP_IN_FLIGHT;
    op->prev = NULL;
    op->next = *head;
    if (op->next)
        op->next->prev = op;
    *head = op;
    ((struct coir__io *)w->io)->in_flight++;
    coir__count(&w->counters.ops, 1);
    coir__san_to_kernel(&kernel_sync);
    coir__io_engine(w)->submit(w, op);
}

static void complete_group(struct coir__op_group *g)
{
    g->in_flight--;
    if (g->in_flight && g->all)
        return;
    struct coir__released who = coir__waiter_released(&g->waiter);
    if (coir__waiter_claim(&g->waiter, 0))
        coir__waiter_release(who);
}

void coir__op_complete(struct coir__worker *w, struct coir__op *op, int32_t res)
{
    if (op->prev)
        op->prev->next = op->next;
    else
        *bucket(w, op->fd) = op->next;
    if (op->next)
        op->next->prev = op->prev;
    ((struct coir__io *)w->io)->in_flight--;
    op->state = COIR__OP_IDLE;
    op->res = res;
    coir__san_from_kernel(&kernel_sync);
    if (op->counted)
        coir__fd_end(op->fd);
    if (op->group) {
        complete_group(op->group);
        return;
    }
    struct coir__released who = coir__waiter_released(&op->waiter);
    coir__waiter_claim(&op->waiter, 0);
    coir__waiter_release(who);
}

void coir__op_stop(struct coir__op *op, int err)
{
    if (op->state != COIR__OP_IN_FLIGHT || op->stop_error)
        return;
    op->stop_error = err;
    struct coir__worker *w = coir__worker_self();
    coir__io_engine(w)->cancel(w, op);
}

static void stop_waiting(struct coir__waiter *waiter, int err)
{
    coir__op_stop((struct coir__op *)waiter, err);
}

void coir__ops_stop_fd(struct coir__worker *w, int fd)
{
    struct coir__op *next;
    for (struct coir__op *op = *bucket(w, fd); op; op = next) {
        next = op->next; /* stopping may complete it at once */
        if (op->fd == fd && op->counted)
            coir__op_stop(op, EBADF);
    }
}

void coir__ops_stop_all(struct coir__worker *w)
{
    struct coir__op *next;
    for (int i = 0; i < COIR__OP_BUCKETS; i++)
        for (struct coir__op *op = *bucket(w, i); op; op = next) {
            next = op->next;
            coir__op_stop(op, ECANCELED);
        }
}

void coir__ops_stop_closing(struct coir__worker *w)
{
    struct coir__op *next;
    for (int i = 0; i < COIR__OP_BUCKETS; i++)
        for (struct coir__op *op = *bucket(w, i); op; op = next) {
            next = op->next;
            if (op->counted && coir__fd_closing(op->fd))
                coir__op_stop(op, EBADF);
        }
}

uint64_t coir__ops_in_flight(struct coir__worker *w)
{
    return ((struct coir__io *)w->io)->in_flight;
}

/* What became of it, once it is complete. An op asked to end may report -EINTR when a kernel thread
 * was at it. */
static long outcome(struct coir__op *op)
{
    if (op->stop_error && (op->res == -ECANCELED || op->res == -EINTR))
        return -op->stop_error;
    return op->res;
}

static short readiness(const struct coir__op *op)
{
    switch ((enum coir__opcode)op->code) {
    case COIR__OP_WRITE:
    case COIR__OP_WRITEV:
    case COIR__OP_SEND:
    case COIR__OP_CONNECT:
        return POLLOUT;
    default:
        return POLLIN;
    }
}

/* The kernel would not wait by itself, as for a descriptor with O_NONBLOCK: wait until it is ready.
 * 0: try again. */
static __attribute__((noinline)) long wait_ready(struct coir__op *op)
{
    struct coir__op poll = {
        .code = COIR__OP_POLL, .fd = op->fd, .counted = true, .flags = (uint32_t)readiness(op)
    };
    long res = coir__op_run(&poll);
    return res < 0 ? res : 0;
}

/* A connect that goes on in the background. */
static long connected(struct coir__op *op)
{
    int err = 0;
    socklen_t len = sizeof err;
    long res = wait_ready(op);
    if (res == 0)
        res = coir__sys(SYS_getsockopt, op->fd, SOL_SOCKET, SO_ERROR, &err, &len);
    return res < 0 ? res : -err;
}

/* Is that the end? False: *res may have to be tried again. */
static bool settled(struct coir__op *op, long *res)
{
    if (*res >= 0)
        return true;
    if (*res == -EINTR)
        return false;
    if (*res == -EAGAIN && !op->dont_wait) {
        *res = wait_ready(op);
        return *res < 0;
    }
    if (*res == -EINPROGRESS && op->code == COIR__OP_CONNECT)
        *res = connected(op);
    return true;
}

/* A plain thread's op is started, and stopped, by mail. The bits say what the mail is about; who
 * makes them nonzero posts it. The worker clears them with its last touch, so that the thread knows
 * when it may leave. */
struct lent {
    struct coir__op *op;
    struct coir__mail_call mail;
    _Atomic uint32_t wish;
    struct coir__runtime *rt;
    struct coir__worker *worker;
};

enum { WISH_START = 1, WISH_STOP = 2 };

/* A close may have looked for ops to end after this one was counted, and before it was here. */
static void start_lent(struct coir__worker *w, struct coir__op *op)
{
    coir__op_start(w, op);
    if (op->counted && coir__fd_closing(op->fd))
        coir__op_stop(op, EBADF);
}

static void handle_lent(struct coir__worker *w, struct coir__mail_call *call)
{
    struct lent *lent = (struct lent *)((char *)call - offsetof(struct lent, mail));
    uint32_t wish = atomic_load_explicit(&lent->wish, memory_order_acquire), seen = 0;
    do {
        if (wish & ~seen & WISH_START)
            start_lent(w, lent->op);
        if (wish & ~seen & WISH_STOP)
            coir__op_stop(lent->op, ETIMEDOUT);
        seen = wish;
    } while (!atomic_compare_exchange_strong_explicit(&lent->wish, &wish, 0, memory_order_acq_rel,
                                                      memory_order_acquire));
}

static void post(struct lent *lent, uint32_t wish)
{
    if (atomic_fetch_or_explicit(&lent->wish, wish, memory_order_acq_rel) == 0)
        coir__worker_mail_call(lent->worker, &lent->mail);
}

/* As long as the op is in flight its runtime does not end, but right after. */
static void post_stop(struct lent *lent)
{
    if (!coir__host_runtime_reenter(lent->rt))
        return; /* it is ending, and stops the op itself */
    if (atomic_load_explicit(&lent->op->waiter.word, memory_order_acquire) == COIR__WAITING)
        post(lent, WISH_STOP);
    coir__host_runtime_leave(lent->rt);
}

static long lend(struct coir__op *op, int64_t deadline_ns)
{
    struct lent lent = { .op = op, .mail.handle = handle_lent };
    int err = coir__host_runtime_enter(&lent.rt);
    if (err < 0)
        return err;
    err = op->counted ? coir__fd_begin(op->fd) : 0;
    if (err < 0) {
        coir__host_runtime_leave(lent.rt);
        return err;
    }
    lent.worker =
        &lent.rt
             ->workers[atomic_fetch_add_explicit(&lent.rt->next_worker, 1, memory_order_relaxed) %
                       lent.rt->config.workers];
    coir__waiter_init(&op->waiter);
    op->stop_error = 0;
    post(&lent, WISH_START);
    coir__host_runtime_leave(lent.rt);
    while (atomic_load_explicit(&op->waiter.word, memory_order_acquire) == COIR__WAITING)
        if (coir__futex_wait(&op->waiter.word, COIR__WAITING, deadline_ns) == -ETIMEDOUT) {
            post_stop(&lent);
            deadline_ns = COIR__NEVER; /* the completion comes soon */
        }
    while (atomic_load_explicit(&lent.wish, memory_order_acquire))
        coir__sys(SYS_sched_yield);
    return outcome(op);
}

static __attribute__((noinline)) long run_as_thread(struct coir__op *op)
{
    int64_t deadline_ns = coir__host_thread_deadline();
    long res;
    do {
        if (deadline_ns != COIR__NEVER && deadline_ns <= coir__host_now())
            return -ETIMEDOUT;
        res = lend(op, deadline_ns);
    } while (!settled(op, &res));
    return res;
}

__attribute__((noinline)) long coir__op_run(struct coir__op *op)
{
    struct coir__fiber *f = coir__fiber_self();
    if (!f)
        return run_as_thread(op);
    long res;
    do {
        res = coir__fiber_check(f);
        if (res < 0)
            return res;
        res = op->counted ? coir__fd_begin(op->fd) : 0;
        if (res < 0)
            return res;
        op->waiter.fiber = f;
        op->waiter.stop = stop_waiting;
        atomic_store_explicit(&op->waiter.word, COIR__WAITING, memory_order_relaxed);
        op->stop_error = 0;
        coir__op_start(coir__worker_self(), op);
        coir__waiter_wait(&op->waiter, COIR__WHY_IO, f->deadline_ns, NULL, NULL);
        res = outcome(op);
    } while (!settled(op, &res));
    return res;
}
