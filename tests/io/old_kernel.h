/* tests/io/old_kernel.h - answers that this kernel's ring no longer gives, but older ones do:
 * -EAGAIN where an op would have to wait, -EINPROGRESS for a connect, and -EINTR now and then.
 * SPDX-License-Identifier: MIT
 *
 * Method: the engine's submit is replaced by one that makes the call itself, without waiting, and
 * completes the op with the result at once: which an engine may do. */
#ifndef TESTS_IO_OLD_KERNEL_H
#define TESTS_IO_OLD_KERNEL_H

#include "support/fiber_test.h"

#include "io/op.h"
#include "sched/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct old_kernel {
    struct coir__io_engine engine; /* the real one, but for submit */
    void (*submit)(struct coir__worker *w, struct coir__op *op);
    int interrupt_every; /* -EINTR for each n-th op; 0: never */
    _Atomic unsigned submits;
    _Atomic int eagains;
};

static struct old_kernel old_kernel;

enum { LEAVE_IT = 1 << 30 }; /* to the real engine */

static inline long errno_of(long res)
{
    return res < 0 ? -errno : res;
}

/* A read or write that does not wait; not every file can say so. */
static inline long move_now(const struct coir__op *op, int writing)
{
    struct iovec one = { (void *)(uintptr_t)op->addr, op->len };
    int vector = op->code == COIR__OP_READV || op->code == COIR__OP_WRITEV;
    const struct iovec *iov = vector ? op->addr : &one;
    int n = vector ? (int)op->len : 1;
    if (op->offset != -1)
        return LEAVE_IT;
    long nr = writing ? SYS_pwritev2 : SYS_preadv2;
    long res = errno_of(syscall(nr, op->fd, iov, n, -1L, -1L, RWF_NOWAIT));
    return res == -EOPNOTSUPP ? LEAVE_IT : res;
}

static inline long accept_now(const struct coir__op *op)
{
    int listening = 0;
    socklen_t len = sizeof listening;
    struct pollfd p = { op->fd, POLLIN, 0 };
    getsockopt(op->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len);
    return listening && poll(&p, 1, 0) == 0 ? -EAGAIN : LEAVE_IT;
}

/* One that is interrupted goes on, as one with O_NONBLOCK does. */
static inline long connect_now(const struct coir__op *op, int interrupted)
{
    int domain = 0;
    socklen_t len = sizeof domain;
    getsockopt(op->fd, SOL_SOCKET, SO_DOMAIN, &domain, &len); /* the address may be none */
    if (domain != AF_INET)
        return LEAVE_IT;
    int flags = fcntl(op->fd, F_GETFL);
    fcntl(op->fd, F_SETFL, flags | O_NONBLOCK);
    long res = errno_of(connect(op->fd, op->addr, (socklen_t)op->len));
    fcntl(op->fd, F_SETFL, flags);
    return res == -EINPROGRESS && interrupted ? -EINTR : res;
}

/* The n-th op. Many polls at once are interrupted each time, and never come to rest. Under valgrind
 * they must: it changes threads only where one blocks, so that no other would see their fiber
 * parked; and since its rings have no flags, each round would interrupt what is written to a
 * terminal meanwhile. So there every second thousand of ops leaves polls alone. */
static inline int interrupts(const struct coir__op *op, unsigned n)
{
    if (TEST_VALGRIND && op->code == COIR__OP_POLL && n / 1000 % 2)
        return 0;
    return op->code != COIR__OP_CONNECT && old_kernel.interrupt_every &&
           n % (unsigned)old_kernel.interrupt_every == 0;
}

static inline long old_answer(const struct coir__op *op)
{
    unsigned n = atomic_fetch_add(&old_kernel.submits, 1);
    if (interrupts(op, n))
        return -EINTR;
    switch ((enum coir__opcode)op->code) {
    case COIR__OP_READ:
    case COIR__OP_READV:
        return move_now(op, 0);
    case COIR__OP_WRITE:
    case COIR__OP_WRITEV:
        return move_now(op, 1);
    case COIR__OP_RECV: /* with MSG_WAITALL also an old ring waits for the rest */
        if (op->flags & MSG_WAITALL)
            return LEAVE_IT;
        return errno_of(
            recv(op->fd, (void *)(uintptr_t)op->addr, op->len, (int)op->flags | MSG_DONTWAIT));
    case COIR__OP_SEND:
        return errno_of(
            send(op->fd, op->addr, op->len, (int)op->flags | MSG_DONTWAIT | MSG_NOSIGNAL));
    case COIR__OP_ACCEPT:
        return accept_now(op);
    case COIR__OP_CONNECT:
        return connect_now(op, old_kernel.interrupt_every && n % 2);
    default:
        return LEAVE_IT;
    }
}

static inline void old_submit(struct coir__worker *w, struct coir__op *op)
{
    long res = old_answer(op);
    if (res == -EAGAIN)
        atomic_fetch_add(&old_kernel.eagains, 1);
    if (res == LEAVE_IT)
        old_kernel.submit(w, op);
    else
        coir__op_complete(w, op, (int32_t)res);
}

/* The calling fiber's runtime is on an old kernel from now on. Other workers may be looking at the
 * engine just now, and see the one or the other. */
static inline __attribute__((no_sanitize("thread"))) void play_old_kernel(int interrupt_every)
{
    struct coir__runtime *rt = coir__worker_self()->rt;
    const struct coir__io_engine *real = (const struct coir__io_engine *)rt->config.engine;
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
