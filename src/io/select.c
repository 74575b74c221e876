/* io/select.c - the cases of a select that wait for a descriptor.
 * SPDX-License-Identifier: MIT
 *
 * As in poll.c the ops only tell that it is time to look, and one poll(2) looks at all descriptors.
 * All their ops are one group, which takes part besides the cases: its first op claims the select's
 * waiter, and whatever does, the group is over before the select returns. */
#include "fdtab.h"
#include "io.h"
#include "sched/memory.h"
#include "sync/select.h"

#include <linux/time_types.h>
#include <poll.h>

enum { FDS_ON_STACK = 2 }; /* a parked chain is to stay below 1 KiB */

struct fds {
    struct coir__select_beside beside; /* first */
    struct coir__op_group group;
    struct coir__lent *lent; /* a plain thread's */
    struct coir__op *ops;    /* n of them, and behind them as many struct pollfd */
    uint32_t n;
    bool looked; /* the revents are of this round */
    int32_t err; /* what an op failed with */
};

/* Of the op with the same index; fd is -1 when it was closed meanwhile. */
static struct pollfd *polls_of(const struct fds *f)
{
    return (struct pollfd *)(f->ops + f->n);
}

/* ppoll, since not every CPU has the other. */
static int look_at_all(struct fds *f)
{
    struct pollfd *polls = polls_of(f);
    long ready;
    do {
        struct __kernel_timespec none = { 0 };
        ready = coir__sys(SYS_ppoll, polls, f->n, &none, NULL, 0);
    } while (ready == -EINTR);
    for (uint32_t i = 0; i < f->n; i++)
        if (polls[i].fd < 0) {
            polls[i].revents = POLLNVAL;
            ready++;
        }
    f->looked = true;
    return ready > 0 ? 0 : ready < 0 ? (int)ready : f->err;
}

static int look(struct coir__case *c)
{
    struct fds *f = c->dst;
    const struct pollfd *p = c->own;
    if (c->fd < 0)
        return 0;
    int err = f->looked ? 0 : look_at_all(f);
    if (err < 0 || !p->revents)
        return err;
    c->result = (unsigned short)p->revents;
    c->error = p->revents & POLLNVAL ? EBADF : 0;
    return 1;
}

const struct coir__select_kind coir__select_fd = { look, NULL, NULL };

static void set_closed(struct fds *f, uint32_t i)
{
    f->ops[i].fd = polls_of(f)[i].fd = -1;
}

static int enter_all(struct coir__select_beside *beside, struct coir__waiter *waiter)
{
    struct fds *f = (struct fds *)beside;
    f->group.first = waiter;
    f->looked = false;
    int err = coir__group_enter(&f->group, f->lent);
    if (err != -EBADF)
        return err;
    set_closed(f, f->group.begun);
    return 1;
}

static void leave_all(struct coir__select_beside *beside)
{
    struct fds *f = (struct fds *)beside;
    coir__group_leave(&f->group, f->lent);
    for (uint32_t i = 0; i < f->n; i++) {
        const struct coir__op *op = &f->ops[i];
        if (op->fd < 0)
            continue;
        if (op->stop_error == EBADF || coir__fd_generation(op->fd) != op->generation)
            set_closed(f, i);
        else if (coir__op_never_polls(op->res))
            f->ops[i].fd = -1; /* it takes no part any more */
        else if (op->res < 0 && op->res != -ECANCELED && op->res != -EINTR)
            f->err = (int32_t)coir__start_error(op->res);
    }
}

static long select_with(struct fds *f, struct coir__case *cases, uint32_t n, int64_t until_ns,
                        const struct coir__select_kind *const *kinds)
{
    f->beside = (struct coir__select_beside){ enter_all, leave_all };
    f->group = (struct coir__op_group){ .ops = f->ops, .n = f->n };
    struct pollfd *polls = polls_of(f);
    for (uint32_t i = 0, k = 0; i < n; i++) {
        struct coir__case *c = &cases[i];
        bool signal = c->kind == COIR__CASE_SIGNAL; /* which looks by itself */
        if (!signal && (c->kind != COIR__CASE_FD || c->fd < 0))
            continue;
        f->ops[k] = (struct coir__op){
            .code = COIR__OP_POLL, .fd = c->fd, .flags = (uint16_t)c->events, .counted = true
        };
        polls[k] = (struct pollfd){ .fd = c->fd, .events = (short)c->events };
        if (!signal) {
            c->dst = f;
            c->own = &polls[k];
        }
        k++;
    }
    return coir__select(cases, n, until_ns, kinds, &f->beside);
}

/* A plain thread's lent op is in a frame of its own, which fibers do not have. */
static __attribute__((noinline)) long select_as_thread(struct fds *f, struct coir__case *cases,
                                                       uint32_t n, int64_t until_ns,
                                                       const struct coir__select_kind *const *kinds)
{
    struct coir__lent lent;
    f->lent = &lent;
    return select_with(f, cases, n, until_ns, kinds);
}

static long select_as_either(struct fds *f, struct coir__case *cases, uint32_t n, int64_t until_ns,
                             const struct coir__select_kind *const *kinds)
{
    return coir__fiber_self() ? select_with(f, cases, n, until_ns, kinds)
                              : select_as_thread(f, cases, n, until_ns, kinds);
}

long coir__select_with_fds(struct coir__case *cases, uint32_t n, uint32_t fds, int64_t until_ns,
                           const struct coir__select_kind *const *kinds)
{
    struct fds f = { .n = fds };
    if (fds <= FDS_ON_STACK) {
        struct {
            struct coir__op ops[FDS_ON_STACK];
            struct pollfd polls[FDS_ON_STACK];
        } room;
        f.ops = room.ops;
        return select_as_either(&f, cases, n, until_ns, kinds);
    }
    size_t bytes = fds * (sizeof(struct coir__op) + sizeof(struct pollfd));
    f.ops = coir__map(bytes);
    if (!f.ops)
        return -ENOMEM;
    long happened = select_as_either(&f, cases, n, until_ns, kinds);
    coir__unmap(f.ops, bytes);
    return happened;
}
