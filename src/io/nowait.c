/* io/nowait.c - an op by system calls that do not wait: what the epoll engine begins with.
 * SPDX-License-Identifier: MIT
 *
 * Sockets   are told by MSG_DONTWAIT.
 * Others    by RWF_NOWAIT, which not every kind of file knows: pipes and files do, terminals and
 *           inotify do not. Those with O_NONBLOCK do not wait anyway; the rest is left to a thread.
 * Accept, connect  have no such flag: for the length of the call the descriptor gets O_NONBLOCK, if
 *           it has not, under a lock, so that no two workers take each other's flag for the
 *           program's. Whoever shares the descriptor and is just calling accept(2) by himself may
 *           get EAGAIN. */
#include "nowait.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/time_types.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static long call_if_nonblocking(const struct coir__op *op, long nr, const struct coir__vector *v)
{
    long flags = coir__sys(SYS_fcntl, op->fd, F_GETFL);
    if (flags < 0)
        return flags;
    return flags & O_NONBLOCK ? coir__sys(nr, op->fd, v->iov, v->count) : COIR__CANNOT;
}

static long read_stream(const struct coir__op *op, const struct coir__vector *v)
{
    long res = coir__sys(SYS_preadv2, op->fd, v->iov, v->count, -1, -1, RWF_NOWAIT);
    if (!coir__no_nowait(res))
        return res;
    struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)v->iov, .msg_iovlen = v->count };
    res = coir__sys(SYS_recvmsg, op->fd, &msg, MSG_DONTWAIT);
    return res == -ENOTSOCK ? call_if_nonblocking(op, SYS_readv, v) : res;
}

static long write_at(const struct coir__op *op, const struct coir__vector *v)
{
    long res = coir__sys(SYS_pwritev2, op->fd, v->iov, v->count, op->offset, 0, RWF_NOWAIT);
    return res == -EAGAIN || coir__no_nowait(res) ? COIR__CANNOT : res;
}

static long write_stream(const struct coir__op *op, const struct coir__vector *v)
{
    struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)v->iov, .msg_iovlen = v->count };
    long res = coir__sys(SYS_sendmsg, op->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (res != -ENOTSOCK)
        return res;
    res = coir__sys(SYS_pwritev2, op->fd, v->iov, v->count, -1, -1, RWF_NOWAIT);
    return coir__no_nowait(res) ? call_if_nonblocking(op, SYS_writev, v) : res;
}

static long move(const struct coir__op *op)
{
    struct coir__vector v;
    coir__op_vector(&v, op);
    if (coir__op_is_read(op))
        return op->offset < 0 ? read_stream(op, &v) : COIR__CANNOT; /* file.c has tried */
    return op->offset < 0 ? write_stream(op, &v) : write_at(op, &v);
}

/* With MSG_WAITALL it takes what has come, until all is there. op->done counts that. */
static long receive(struct coir__op *op)
{
    bool all = op->flags & MSG_WAITALL;
    long res;
    do {
        res = coir__sys(SYS_recvfrom, op->fd, op->addr, op->len, op->flags | MSG_DONTWAIT, NULL,
                        NULL);
        if (!all || res <= 0)
            break;
        op->done += (uint64_t)res;
        op->addr = (const char *)op->addr + res;
        op->len -= (uint64_t)res;
    } while (op->len);
    if (!all || !op->done || (res == -EAGAIN && op->len && !op->dont_wait))
        return res;
    return (long)op->done;
}

enum { LOCKS = 64 };
static _Atomic int32_t locks[LOCKS];

static long call_nonblocking(const struct coir__op *op)
{
    if (op->code == COIR__OP_ACCEPT)
        return coir__sys(SYS_accept4, op->fd, op->addr, op->out_len, op->flags);
    return coir__sys(SYS_connect, op->fd, op->addr, op->len);
}

static long call_as_nonblocking(const struct coir__op *op)
{
    _Atomic int32_t *lock = &locks[(unsigned)op->fd % LOCKS];
    coir__sleep_lock(lock);
    long res, flags = coir__sys(SYS_fcntl, op->fd, F_GETFL);
    if (flags < 0 || flags & O_NONBLOCK) {
        res = flags < 0 ? flags : call_nonblocking(op);
    } else {
        coir__sys(SYS_fcntl, op->fd, F_SETFL, flags | O_NONBLOCK);
        res = call_nonblocking(op);
        coir__sys(SYS_fcntl, op->fd, F_SETFL, flags);
    }
    coir__sleep_unlock(lock);
    return res;
}

long coir__nowait_poll(int fd, uint32_t events)
{
    struct pollfd p = { fd, (short)events, 0 };
    struct __kernel_timespec none = { 0 };
    long res = coir__sys(SYS_ppoll, &p, 1, &none, NULL, 0);
    return res > 0 ? (unsigned short)p.revents : res;
}

static long poll_now(const struct coir__op *op)
{
    long res = coir__nowait_poll(op->fd, op->flags);
    return res ? res : -EAGAIN;
}

long coir__nowait(struct coir__op *op)
{
    switch ((enum coir__opcode)op->code) {
    case COIR__OP_READ:
    case COIR__OP_READV:
    case COIR__OP_WRITE:
    case COIR__OP_WRITEV:
        return move(op);
    case COIR__OP_RECV:
        return receive(op);
    case COIR__OP_SEND:
        return coir__sys(SYS_sendto, op->fd, op->addr, op->len,
                         op->flags | MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
    case COIR__OP_RECVMSG:
        return coir__sys(SYS_recvmsg, op->fd, op->addr, op->flags | MSG_DONTWAIT);
    case COIR__OP_SENDMSG:
        return coir__sys(SYS_sendmsg, op->fd, op->addr, op->flags | MSG_DONTWAIT | MSG_NOSIGNAL);
    case COIR__OP_ACCEPT:
    case COIR__OP_CONNECT:
        return call_as_nonblocking(op);
    case COIR__OP_POLL:
        return poll_now(op);
    case COIR__OP_OPENAT:
    case COIR__OP_FSYNC:
    case COIR__OP_CALL:
        break;
    }
    return COIR__CANNOT;
}

/* As the ring does it: first as if O_NONBLOCK were given, so that a FIFO is not waited for by who
 * does not mean to (open.c). */
static long open_now(const struct coir__op *op)
{
    long fd = coir__sys(SYS_openat, op->fd, op->addr, op->flags | O_NONBLOCK, op->len);
    if (fd == -EAGAIN && !(op->flags & O_NONBLOCK))
        return coir__sys(SYS_openat, op->fd, op->addr, op->flags, op->len);
    if (fd >= 0 && !(op->flags & (O_NONBLOCK | O_PATH))) {
        long flags = coir__sys(SYS_fcntl, fd, F_GETFL);
        coir__sys(SYS_fcntl, fd, F_SETFL, flags & ~(long)O_NONBLOCK);
    }
    return fd;
}

long coir__blocking(const struct coir__op *op)
{
    const struct coir__system_call *c = op->addr;
    struct coir__vector v;
    if (op->code == COIR__OP_CALL)
        return coir__sys(c->nr, c->args[0], c->args[1], c->args[2], c->args[3], c->args[4],
                         c->args[5]);
    coir__op_vector(&v, op);
    switch ((enum coir__opcode)op->code) {
    case COIR__OP_READ:
    case COIR__OP_READV:
        return op->offset < 0 ? coir__sys(SYS_readv, op->fd, v.iov, v.count)
                              : coir__sys(SYS_preadv, op->fd, v.iov, v.count, op->offset, 0);
    case COIR__OP_WRITE:
    case COIR__OP_WRITEV:
        return op->offset < 0 ? coir__sys(SYS_writev, op->fd, v.iov, v.count)
                              : coir__sys(SYS_pwritev, op->fd, v.iov, v.count, op->offset, 0);
    case COIR__OP_FSYNC:
        return coir__sys(op->flags & COIR__SYNC_DATA_ONLY ? SYS_fdatasync : SYS_fsync, op->fd);
    case COIR__OP_OPENAT:
        return op->async ? coir__sys(SYS_openat, op->fd, op->addr, op->flags, op->len)
                         : open_now(op);
    default:
        return -EINVAL;
    }
}
