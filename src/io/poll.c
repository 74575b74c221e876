/* io/poll.c - poll(2): one op per descriptor, one waiter for all.
 * SPDX-License-Identifier: MIT
 *
 * The ops only tell that it is time to look; what there is to see, poll(2) with no timeout says,
 * for all at once. */
#include "fdtab.h"
#include "io.h"

#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <linux/time_types.h>

enum { OPS_ON_STACK = 8 };

/* poll(2) itself: ppoll, since not every CPU has the other. */
static long look(struct pollfd *fds, unsigned long n, int64_t timeout_ns)
{
    struct __kernel_timespec timeout = { timeout_ns / 1000000000, timeout_ns % 1000000000 };
    return coir__sys(SYS_ppoll, fds, n, timeout_ns < 0 ? NULL : &timeout, NULL, 0);
}

static void stop_group(struct coir__waiter *waiter, int err)
{
    struct coir__op_group *g = (struct coir__op_group *)waiter;
    (void)err;
    for (uint32_t i = 0; i < g->n; i++)
        coir__op_stop(&g->ops[i], ECANCELED);
}

static void await(struct coir__op_group *g, struct coir__fiber *f, bool all, int64_t deadline_ns)
{
    g->all = all;
    g->waiter.fiber = f;
    g->waiter.stop = stop_group;
    atomic_store_explicit(&g->waiter.word, COIR__WAITING, memory_order_relaxed);
    if (g->in_flight)
        coir__waiter_wait(&g->waiter, COIR__WHY_IO, deadline_ns, NULL, NULL);
}

/* Start an op for each descriptor; -errno when one cannot be: it is closing, say, which is news
 * enough to look again. */
static void start(struct coir__op_group *g, const struct pollfd *fds)
{
    struct coir__worker *w = coir__worker_self();
    for (uint32_t i = 0; i < g->n; i++) {
        struct coir__op *op = &g->ops[i];
        *op = (struct coir__op){ .code = COIR__OP_POLL,
                                 .fd = fds[i].fd,
                                 .flags = (uint16_t)fds[i].events,
                                 .counted = true,
                                 .group = g };
        if (fds[i].fd < 0 || coir__fd_begin(fds[i].fd) < 0)
            continue;
        g->in_flight++;
        coir__op_start(w, op);
    }
}

/* Wait until something has happened to one of them, or until_ns. */
static void wait_for_news(struct coir__fiber *f, struct coir__op *ops, const struct pollfd *fds,
                          unsigned long n, int64_t until_ns)
{
    struct coir__op_group g = { .ops = ops, .n = (uint32_t)n };
    start(&g, fds);
    if (!g.in_flight) { /* none to wait for: only time passes */
        coir__sleep_until(until_ns);
        return;
    }
    await(&g, f, false, until_ns < f->deadline_ns ? until_ns : f->deadline_ns);
    stop_group(&g.waiter, ECANCELED);
    await(&g, f, true, COIR__NEVER);
}

static long poll_as_fiber(struct coir__fiber *f, struct coir__op *ops, struct pollfd *fds,
                          unsigned long n, int64_t until_ns)
{
    for (;;) {
        long err = coir__fiber_check(f);
        if (err < 0)
            return err;
        long ready = look(fds, n, 0);
        if (ready != 0)
            return ready;
        if (until_ns <= coir__host_now())
            return 0;
        wait_for_news(f, ops, fds, n, until_ns);
    }
}

static long poll_as_thread(struct pollfd *fds, unsigned long n, int64_t until_ns)
{
    int64_t deadline_ns = coir__host_thread_deadline();
    int64_t end_ns = deadline_ns < until_ns ? deadline_ns : until_ns;
    for (;;) {
        int64_t now_ns = coir__host_now();
        if (deadline_ns <= now_ns)
            return -ETIMEDOUT;
        long ready = look(fds, n,
                          end_ns == COIR__NEVER ? -1
                          : end_ns > now_ns     ? end_ns - now_ns
                                                : 0);
        if (ready != -EINTR && (ready != 0 || until_ns <= deadline_ns))
            return ready;
    }
}

long coir__poll(struct pollfd *fds, unsigned long n, int64_t timeout_ns)
{
    struct coir__fiber *f = coir__fiber_self();
    int64_t until_ns = timeout_ns < 0 ? COIR__NEVER : coir__host_now() + timeout_ns;
    if (!f)
        return poll_as_thread(fds, n, until_ns);
    if (n <= OPS_ON_STACK) {
        struct coir__op ops[OPS_ON_STACK];
        return poll_as_fiber(f, ops, fds, n, until_ns);
    }
    if (n > UINT32_MAX / sizeof(struct coir__op))
        return -EINVAL;
    long at = coir__sys(SYS_mmap, NULL, n * sizeof(struct coir__op), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at < 0 && at > -4096)
        return -ENOMEM;
    long ready = poll_as_fiber(f, (struct coir__op *)at, fds, n, until_ns);
    coir__sys(SYS_munmap, at, n * sizeof(struct coir__op));
    return ready;
}
