/* tests/io/old_kernel.h - answers that this kernel's ring no longer gives, but older ones do: -EAGAIN
 * where an op would have to wait, -EINPROGRESS for a connect, and -EINTR now and then.
 * SPDX-License-Identifier: MIT
 *
 * Method: the engine's submit is replaced by one that asks poll(2) first, and completes the op at once
 * when it is not ready: which an engine may do. */
#ifndef TESTS_IO_OLD_KERNEL_H
#define TESTS_IO_OLD_KERNEL_H

#include "io/op.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

struct old_kernel {
    struct coir__io_engine engine; /* the real one, but for submit */
    void (*submit)(struct coir__worker *w, struct coir__op *op);
    int interrupt_every; /* -EINTR for each n-th op; 0: never */
    _Atomic unsigned submits;
    _Atomic int eagains;
};

static struct old_kernel old_kernel;

static inline int would_wait(int fd, short events)
{
    struct pollfd p = { fd, events, 0 };
    return poll(&p, 1, 0) == 0;
}

static inline int start_connect(const struct coir__op *op)
{
    int flags = fcntl(op->fd, F_GETFL);
    fcntl(op->fd, F_SETFL, flags | O_NONBLOCK);
    int res = connect(op->fd, op->addr, (socklen_t)op->len) < 0 ? -errno : 0;
    fcntl(op->fd, F_SETFL, flags);
    return res;
}

/* 0: leave it to the real engine. */
static inline int old_answer(const struct coir__op *op)
{
    unsigned n = atomic_fetch_add(&old_kernel.submits, 1);
    if (old_kernel.interrupt_every && n % (unsigned)old_kernel.interrupt_every == 0)
        return -EINTR;
    switch ((enum coir__opcode)op->code) {
    case COIR__OP_RECV:
        if (op->flags & MSG_WAITALL)
            return 0;
        /* fall through */
    case COIR__OP_READ:
    case COIR__OP_READV:
    case COIR__OP_ACCEPT:
        return would_wait(op->fd, POLLIN) ? -EAGAIN : 0;
    case COIR__OP_WRITE:
    case COIR__OP_WRITEV:
    case COIR__OP_SEND:
        return would_wait(op->fd, POLLOUT) ? -EAGAIN : 0;
    case COIR__OP_CONNECT:
        return ((const struct sockaddr *)op->addr)->sa_family == AF_INET ? start_connect(op) : 0;
    default:
        return 0;
    }
}

static inline void old_submit(struct coir__worker *w, struct coir__op *op)
{
    int res = old_answer(op);
    if (res == -EAGAIN)
        atomic_fetch_add(&old_kernel.eagains, 1);
    if (res)
        coir__op_complete(w, op, res);
    else
        old_kernel.submit(w, op);
}

/* The calling fiber's runtime is on an old kernel from now on. */
static inline void play_old_kernel(int interrupt_every)
{
    struct coir__runtime *rt = coir__worker_self()->rt;
    const struct coir__io_engine *real = coir__io_engine(coir__worker_self());
    if (real->submit == old_submit)
        return;
    old_kernel.engine = *real;
    old_kernel.engine.submit = old_submit;
    old_kernel.submit = real->submit;
    old_kernel.interrupt_every = interrupt_every;
    rt->config.engine = &old_kernel.engine.sched;
}

static inline void *play_old_kernel_in_fiber(void *arg)
{
    play_old_kernel((int)(intptr_t)arg);
    return NULL;
}

#endif
