/* io/io.h - the calls of I/O, as the core offers them: results are -errno. For api and the drop-in.
 * SPDX-License-Identifier: MIT
 *
 * The ops are made inline, in the caller's frame: nothing lies between it and coir__op_run. */
#ifndef COIR_IO_IO_H
#define COIR_IO_IO_H

#include "op.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

COIR_HIDDEN extern const struct coir__io_engine coir__uring, coir__epoll;

/* The engine that is asked for; or, for this process, the best one that works. */
enum coir__engine_wish { COIR__WISH_AUTO, COIR__WISH_URING, COIR__WISH_EPOLL };
COIR_HIDDEN const struct coir__engine *coir__engine_choose(enum coir__engine_wish wish);
/* Why the best one is not io_uring: an errno, or 0. */
COIR_HIDDEN int coir__engine_refused(void);

/* A system call on a thread (COIR__OP_CALL). fd: counted while it runs; negative: none. */
COIR_HIDDEN long coir__io_call(int fd, const struct coir__system_call *call, uint32_t flags);

COIR_HIDDEN long coir__open(int dir, const char *path, int flags, unsigned mode);
COIR_HIDDEN long coir__close(int fd);

struct pollfd;
/* timeout_ns: relative, -1 for ever. */
COIR_HIDDEN long coir__poll(struct pollfd *fds, unsigned long n, int64_t timeout_ns);

struct coir__case;
struct coir__select_kind;
/* coir__select (sync/select.h) when fds of the cases have a descriptor; -ENOMEM for more than 2. */
COIR_HIDDEN long coir__select_with_fds(struct coir__case *cases, uint32_t n, uint32_t fds,
                                       int64_t until_ns,
                                       const struct coir__select_kind *const *kinds);
COIR_HIDDEN extern const struct coir__select_kind coir__select_fd;

/* The flags of a recv with MSG_WAITALL, without it where the ring would take it wrong. */
COIR_HIDDEN int coir__op_waitall(int fd, int flags);

/* In two halves: as much in one go gcc clears by `rep stos`, which takes longer than a switch. The
 * functions below fill op in place, since to copy what was just written in smaller pieces takes as
 * long. */
static inline void coir__op_clear(struct coir__op *op)
{
    enum { HALF = 64 };
    memset(op, 0, HALF);
    memset((char *)op + HALF, 0, sizeof *op - HALF);
}

static inline void coir__op_rw(struct coir__op *op, enum coir__opcode code, int fd,
                               const void *addr, uint64_t len, int64_t offset)
{
    coir__op_clear(op);
    op->code = (uint8_t)code;
    op->counted = true;
    op->fd = fd;
    op->addr = addr;
    op->len = len;
    op->offset = offset;
}

static inline void coir__op_msg(struct coir__op *op, enum coir__opcode code, int fd,
                                const void *addr, uint64_t len, int flags)
{
    enum { DONTWAIT = 0x40, WAITALL = 0x100, ERRQUEUE = 0x2000 }; /* MSG_* */
    if ((code == COIR__OP_RECV || code == COIR__OP_RECVMSG) && flags & ERRQUEUE)
        flags |= DONTWAIT; /* as recv(2): it never waits for errors */
    if (code == COIR__OP_RECV && flags & WAITALL)
        flags = coir__op_waitall(fd, flags);
    coir__op_clear(op);
    op->code = (uint8_t)code;
    op->dont_wait = (flags & DONTWAIT) != 0;
    op->counted = true;
    op->fd = fd;
    op->flags = (uint32_t)flags;
    op->addr = addr;
    op->len = len;
}

/* What a read or write is about, as a vector: a single buffer is one of one. */
struct coir__vector {
    struct iovec one;
    const struct iovec *iov;
    uint64_t count;
};

static inline void coir__op_vector(struct coir__vector *v, const struct coir__op *op)
{
    const struct msghdr *msg = op->addr;
    bool many = op->code == COIR__OP_READV || op->code == COIR__OP_WRITEV;
    bool message = op->code == COIR__OP_RECVMSG || op->code == COIR__OP_SENDMSG;
    v->one = (struct iovec){ (void *)(uintptr_t)op->addr, op->len };
    v->iov = message ? msg->msg_iov : many ? op->addr : &v->one;
    v->count = message ? (uint64_t)msg->msg_iovlen : many ? op->len : 1;
}

static inline uint64_t coir__iov_bytes(const struct iovec *iov, uint64_t count)
{
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < count; i++)
        bytes += iov[i].iov_len;
    return bytes;
}

#endif
