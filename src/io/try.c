/* io/try.c - an op by a system call that does not wait.
 * SPDX-License-Identifier: MIT
 *
 * Only where the call itself can be told not to wait: asking first whether it would (poll) lets
 * another reader take what was there. */
#include "nowait.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* Of a socket, a pipe, an eventfd. */
static long try_read(const struct coir__op *op)
{
    struct coir__vector v;
    coir__op_vector(&v, op);
    return coir__sys(SYS_preadv2, op->fd, v.iov, v.count, -1, -1, RWF_NOWAIT);
}

/* To a socket: elsewhere nothing keeps SIGPIPE away from a thread that is no worker. */
static long try_write(const struct coir__op *op)
{
    const uint32_t flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    if (op->code != COIR__OP_WRITEV)
        return coir__sys(SYS_sendto, op->fd, op->addr, op->len, flags, NULL, 0);
    struct msghdr msg = { .msg_iov = (void *)(uintptr_t)op->addr, .msg_iovlen = op->len };
    return coir__sys(SYS_sendmsg, op->fd, &msg, flags);
}

static long attempt(struct coir__op *op)
{
    switch ((enum coir__opcode)op->code) {
    case COIR__OP_READ:
    case COIR__OP_READV:
        return try_read(op);
    case COIR__OP_WRITE:
    case COIR__OP_WRITEV:
        return try_write(op);
    case COIR__OP_RECV:
        return op->flags & MSG_WAITALL && !op->dont_wait ? -EAGAIN : coir__nowait(op);
    case COIR__OP_SEND:
    case COIR__OP_SENDMSG:
    case COIR__OP_RECVMSG:
        return coir__nowait(op);
    case COIR__OP_CALL: /* this is a plain thread */
        return op->flags & COIR__CALL_WAITS ? -EAGAIN : coir__blocking(op);
    default:
        return -EAGAIN;
    }
}

bool coir__op_try(struct coir__op *op, long *res)
{
    bool message = op->code >= COIR__OP_RECV && op->code <= COIR__OP_SENDMSG;
    *res = attempt(op);
    if (*res == -EAGAIN)
        return message && op->dont_wait;
    /* It cannot be tried on this kind of descriptor, or was cut short. */
    return !coir__no_nowait(*res) && *res != -EINTR && (message || *res != -ENOTSOCK);
}
