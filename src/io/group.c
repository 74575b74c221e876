/* io/group.c - several ops, one waiter.
 * SPDX-License-Identifier: MIT */
#include "fdtab.h"
#include "op.h"

#include <errno.h>

static bool takes_part(const struct coir__op *op)
{
    return op->fd >= 0 || !op->counted;
}

static void stop_group(struct coir__waiter *waiter, int err)
{
    struct coir__op_group *g = (struct coir__op_group *)waiter;
    (void)err;
    if (g->stopping)
        return;
    g->stopping = true;
    for (uint32_t i = 0; i < g->n; i++)
        coir__op_stop(&g->ops[i], ECANCELED);
}

struct coir__op_view coir__group_view(const struct coir__waiter *waiter)
{
    const struct coir__op_group *g = (const struct coir__op_group *)waiter;
    if (waiter->stop != stop_group)
        return (struct coir__op_view){ .fd = -1 };
    uint32_t first = 0;
    while (first + 1 < g->n && !takes_part(&g->ops[first]))
        first++;
    return (struct coir__op_view){ .n = g->n, .fd = g->ops[first].fd, .code = g->ops[first].code };
}

/* The waiter may be gone when this returns. */
static void leave(struct coir__op_group *g)
{
    if (--g->in_flight == 0 && coir__waiter_claim(&g->waiter, 0))
        coir__waiter_release(&g->waiter);
}

/* A plain thread goes when both its waiters are released: so `first` is claimed before the one is,
 * and then the other still has to be. */
void coir__group_complete(struct coir__op_group *g)
{
    struct coir__waiter *first = g->first;
    stop_group(&g->waiter, ECANCELED);
    bool claimed = first && coir__waiter_claim(first, 0);
    leave(g);
    if (claimed)
        coir__waiter_release(first);
}

/* Those that are begun, on a worker. A close may have looked for ops to end after they were
 * counted, and before they were here. */
static void start_group(struct coir__worker *w, struct coir__op_group *g)
{
    for (uint32_t i = 0; i < g->n; i++) {
        struct coir__op *op = &g->ops[i];
        if (!takes_part(op))
            continue;
        coir__op_start(w, op);
        if (op->counted && coir__fd_closing(op->fd))
            coir__op_stop(op, EBADF);
        else if (g->stopping)
            coir__op_stop(op, ECANCELED);
    }
}

static void start_lent(struct coir__worker *w, struct coir__waiter *waiter)
{
    struct coir__op_group *g = (struct coir__op_group *)waiter;
    start_group(w, g);
    leave(g);
}

/* Undo coir__op_begin for the first n. */
static void end_group(struct coir__op_group *g, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (g->ops[i].counted && g->ops[i].fd >= 0)
            coir__fd_end(g->ops[i].fd);
}

/* All or none. */
static int begin_group(struct coir__op_group *g)
{
    g->in_flight = 1;
    for (uint32_t i = g->begun = 0; i < g->n; g->begun = ++i) {
        struct coir__op *op = &g->ops[i];
        op->group = g;
        op->stop_error = 0;
        if (!takes_part(op))
            continue;
        int err = coir__op_begin(op);
        if (err < 0) {
            end_group(g, i);
            return err;
        }
        g->in_flight++;
    }
    return 0;
}

static int prepare(struct coir__op_group *g)
{
    coir__waiter_init(&g->waiter);
    g->waiter.stop = stop_group;
    g->stopping = false;
    return begin_group(g);
}

static void run_as_fiber(struct coir__op_group *g, int64_t until_ns)
{
    start_group(coir__worker_self(), g);
    if (--g->in_flight)
        coir__waiter_wait(&g->waiter, COIR__WHY_IO, until_ns, NULL, NULL);
}

static int lend(struct coir__op_group *g, struct coir__lent *lent)
{
    *lent = (struct coir__lent){ .waiter = &g->waiter, .start = start_lent };
    int err = coir__host_runtime_enter(&lent->rt);
    if (err < 0)
        end_group(g, g->n);
    else
        coir__lend(lent);
    return (int)coir__start_error(err);
}

static int run_as_thread(struct coir__op_group *g, int64_t until_ns)
{
    struct coir__lent lent;
    int err = lend(g, &lent);
    if (err == 0)
        coir__lend_await(&lent, until_ns);
    return err;
}

long coir__group_run(struct coir__op_group *g, int64_t until_ns)
{
    long err = prepare(g);
    if (err == 0 && g->waiter.fiber)
        run_as_fiber(g, until_ns);
    else if (err == 0)
        err = run_as_thread(g, until_ns);
    for (uint32_t i = 0; i < g->n && err == 0; i++)
        if (g->ops[i].stop_error == EBADF)
            err = -EBADF;
    return err;
}

/* A fiber does not wait for the last op yet: its waiter is over until then. */
int coir__group_enter(struct coir__op_group *g, struct coir__lent *lent)
{
    int err = prepare(g);
    if (err < 0)
        return err;
    if (!g->waiter.fiber)
        return lend(g, lent);
    atomic_store_explicit(&g->waiter.word, 0, memory_order_relaxed);
    start_group(coir__worker_self(), g);
    g->in_flight--;
    return 0;
}

void coir__group_leave(struct coir__op_group *g, struct coir__lent *lent)
{
    if (!g->waiter.fiber) {
        coir__lend_await(lent, 0);
        return;
    }
    stop_group(&g->waiter, ECANCELED);
    if (!g->in_flight)
        return;
    g->waiter.stop = coir__waiter_go_on;
    atomic_store_explicit(&g->waiter.word, COIR__WAITING, memory_order_relaxed);
    coir__waiter_wait(&g->waiter, COIR__WHY_SELECT, COIR__NEVER, NULL, NULL);
}
