/* io/poll.c - poll(2): one op per descriptor, one waiter for all.
 * SPDX-License-Identifier: MIT
 *
 * The ops only tell that it is time to look; what there is to see, poll(2) with no timeout says,
 * for all at once. */
#include "fdtab.h"
#include "io.h"
#include "sched/memory.h"

#include <errno.h>
#include <poll.h>
#include <linux/time_types.h>

enum { OPS_ON_STACK = 3 }; /* a parked chain is to stay below 1 KiB */

/* poll(2) itself: ppoll, since not every CPU has the other. */
static long look(struct pollfd *fds, unsigned long n)
{
    long ready;
    do {
        struct __kernel_timespec none = { 0 };
        ready = coir__sys(SYS_ppoll, fds, n, &none, NULL, 0);
    } while (ready == -EINTR);
    return ready;
}

/* An op for each descriptor. Which file it means is settled now. */
static void make_ops(struct coir__op *ops, const struct pollfd *fds, unsigned long n)
{
    for (unsigned long i = 0; i < n; i++)
        ops[i] = (struct coir__op){ .code = COIR__OP_POLL,
                                    .fd = fds[i].fd,
                                    .generation = coir__fd_generation(fds[i].fd),
                                    .flags = (uint16_t)fds[i].events,
                                    .counted = true };
}

static bool same_files(const struct coir__op *ops, unsigned long n)
{
    for (unsigned long i = 0; i < n; i++)
        if (coir__fd_generation(ops[i].fd) != ops[i].generation)
            return false;
    return true;
}

static bool nothing_to_poll(const struct coir__op *ops, unsigned long n)
{
    for (unsigned long i = 0; i < n; i++)
        if (ops[i].fd >= 0)
            return false;
    return true;
}

/* What nothing happens to takes no part any more. */
static void leave_out(struct coir__op *ops, unsigned long n)
{
    for (unsigned long i = 0; i < n; i++)
        if (ops[i].fd >= 0 && coir__op_never_polls(ops[i].res)) {
            ops[i].fd = -1;
            ops[i].generation = coir__fd_generation(-1);
        }
}

static long poll_with(struct coir__op *ops, struct pollfd *fds, unsigned long n, int64_t until_ns)
{
    struct coir__op_group g = { .ops = ops, .n = (uint32_t)n };
    int64_t deadline_ns = coir__op_deadline();
    int64_t end_ns = until_ns < deadline_ns ? until_ns : deadline_ns;
    bool made = false;
    for (;;) {
        long err = coir__op_check();
        if (err < 0)
            return err;
        long ready = look(fds, n);
        if (made && !same_files(ops, n))
            return -EBADF;
        if (ready != 0)
            return ready;
        if (until_ns <= coir__host_now())
            return 0;
        if (!made)
            make_ops(ops, fds, n);
        made = true;
        if (nothing_to_poll(ops, n))
            coir__op_pause(end_ns);
        else
            err = coir__group_run(&g, end_ns);
        if (err < 0)
            return err;
        leave_out(ops, n);
    }
}

long coir__poll(struct pollfd *fds, unsigned long n, int64_t timeout_ns)
{
    int64_t until_ns = timeout_ns < 0 ? COIR__NEVER : coir__host_now() + timeout_ns;
    if (n <= OPS_ON_STACK) {
        struct coir__op ops[OPS_ON_STACK];
        return poll_with(ops, fds, n, until_ns);
    }
    if (n > UINT32_MAX / sizeof(struct coir__op))
        return -EINVAL;
    struct coir__op *ops = coir__map(n * sizeof *ops);
    if (!ops)
        return -ENOMEM;
    long ready = poll_with(ops, fds, n, until_ns);
    coir__unmap(ops, n * sizeof *ops);
    return ready;
}
