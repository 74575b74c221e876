/* api/io.c - coir/io.h: each call makes its op in its own frame and runs it.
 * SPDX-License-Identifier: MIT */
#include "edge.h"

#include "io/fdtab.h"
#include "io/io.h"
#include "sched/sanitize.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>

static const int64_t AT_OWN_OFFSET = -1;

/* The kernel filled buf with what the result says; with MSG_TRUNC that says more. */
static inline ssize_t filled(struct coir__op *op, const void *buf)
{
    long res = coir__op_run(op);
    if (res > 0)
        coir__san_written(buf, (size_t)res < op->len ? (size_t)res : op->len);
    return coir__edge(res);
}

static inline ssize_t run(struct coir__op *op)
{
    return coir__edge(coir__op_run(op));
}

/* Longer than any address space: the kernel says at once what is wrong; a ring moves a part. Of
 * messages the kernel does, too. */
static __attribute__((noinline)) ssize_t refuse(long nr, int fd, const void *buf, size_t len,
                                                long more)
{
    long err = coir__op_check();
    return coir__edge(err < 0 ? err : coir__sys(nr, fd, buf, len, more, 0, 0));
}

static inline bool is_huge(size_t len)
{
    return __builtin_expect(len > SSIZE_MAX, 0);
}

ssize_t coir_read(int fd, void *buf, size_t len)
{
    if (is_huge(len))
        return refuse(SYS_read, fd, buf, len, 0);
    struct coir__op op;
    coir__op_rw(&op, COIR__OP_READ, fd, buf, len, AT_OWN_OFFSET);
    return filled(&op, buf);
}

ssize_t coir_write(int fd, const void *buf, size_t len)
{
    if (is_huge(len))
        return refuse(SYS_write, fd, buf, len, 0);
    struct coir__op op;
    coir__op_rw(&op, COIR__OP_WRITE, fd, buf, len, AT_OWN_OFFSET);
    return run(&op);
}

static void scattered(const struct iovec *iov, size_t bytes)
{
    for (; bytes; iov++) {
        size_t n = iov->iov_len < bytes ? iov->iov_len : bytes;
        coir__san_written(iov->iov_base, n);
        bytes -= n;
    }
}

/* Of an empty vector the kernel asks nobody, and does not wait; a ring does ask, and may. */
static ssize_t move_nothing(long nr, int fd)
{
    long err = coir__op_check();
    return coir__edge(err < 0 ? err : coir__sys(nr, fd, NULL, 0));
}

ssize_t coir_readv(int fd, const struct iovec *iov, int count)
{
    if (count < 0 || count > IOV_MAX)
        return coir__edge(-EINVAL);
    if (count == 0)
        return move_nothing(SYS_readv, fd);
    struct coir__op op;
    coir__op_rw(&op, COIR__OP_READV, fd, iov, (uint64_t)count, AT_OWN_OFFSET);
    ssize_t n = run(&op);
    if (n > 0)
        scattered(iov, (size_t)n);
    return n;
}

ssize_t coir_writev(int fd, const struct iovec *iov, int count)
{
    if (count < 0 || count > IOV_MAX)
        return coir__edge(-EINVAL);
    if (count == 0)
        return move_nothing(SYS_writev, fd);
    struct coir__op op;
    coir__op_rw(&op, COIR__OP_WRITEV, fd, iov, (uint64_t)count, AT_OWN_OFFSET);
    return run(&op);
}

ssize_t coir_pread(int fd, void *buf, size_t len, off_t offset)
{
    if (offset < 0)
        return coir__edge(-EINVAL);
    if (is_huge(len))
        return refuse(SYS_pread64, fd, buf, len, offset);
    enum coir__read_now now = coir__op_read_now(fd, buf, len, offset);
    if (now == COIR__READ_DONE) {
        coir__san_written(buf, len);
        return (ssize_t)len;
    }
    struct coir__op op;
    coir__op_rw(&op, COIR__OP_READ, fd, buf, len, offset);
    op.uncached = now == COIR__READ_MISSED;
    return filled(&op, buf);
}

ssize_t coir_pwrite(int fd, const void *buf, size_t len, off_t offset)
{
    if (offset < 0)
        return coir__edge(-EINVAL);
    if (is_huge(len))
        return refuse(SYS_pwrite64, fd, buf, len, offset);
    struct coir__op op;
    coir__op_rw(&op, COIR__OP_WRITE, fd, buf, len, offset);
    return run(&op);
}

static ssize_t move_at(enum coir__opcode code, int fd, const struct iovec *iov, int count,
                       off_t offset)
{
    if (count < 0 || count > IOV_MAX || offset < 0)
        return coir__edge(-EINVAL);
    struct coir__op op;
    coir__op_rw(&op, code, fd, iov, (uint64_t)count, offset);
    return run(&op);
}

ssize_t coir_preadv(int fd, const struct iovec *iov, int count, off_t offset)
{
    ssize_t n = move_at(COIR__OP_READV, fd, iov, count, offset);
    if (n > 0)
        scattered(iov, (size_t)n);
    return n;
}

ssize_t coir_pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    return move_at(COIR__OP_WRITEV, fd, iov, count, offset);
}

ssize_t coir_recv(int fd, void *buf, size_t len, int flags)
{
    struct coir__op op;
    coir__op_msg(&op, COIR__OP_RECV, fd, buf, len, flags);
    return filled(&op, buf);
}

ssize_t coir_send(int fd, const void *buf, size_t len, int flags)
{
    struct coir__op op;
    coir__op_msg(&op, COIR__OP_SEND, fd, buf, len, flags);
    return run(&op);
}

/* What the kernel has filled in. */
static void message_filled(const struct msghdr *msg, size_t n)
{
    size_t room = coir__iov_bytes(msg->msg_iov, msg->msg_iovlen);
    scattered(msg->msg_iov, n < room ? n : room); /* with MSG_TRUNC n says more */
    coir__san_written(msg, sizeof *msg);
    if (msg->msg_name)
        coir__san_written(msg->msg_name, msg->msg_namelen);
    if (msg->msg_control)
        coir__san_written(msg->msg_control, msg->msg_controllen);
}

/* Of MSG_WAITALL: what is missing after the first n bytes, from the same file. */
static ssize_t receive_rest(const struct coir__op *first, const struct msghdr *msg, size_t n,
                            int flags)
{
    size_t done = n;
    for (size_t i = 0; i < (size_t)msg->msg_iovlen; i++) {
        const struct iovec *iov = &msg->msg_iov[i];
        size_t had = n < iov->iov_len ? n : iov->iov_len, missing = iov->iov_len - had;
        char *at = (char *)iov->iov_base + had;
        n -= had;
        if (!missing)
            continue;
        struct coir__op op;
        coir__op_msg(&op, COIR__OP_RECV, first->fd, at, missing, flags);
        op.generation = first->generation;
        long res = coir__op_run(&op);
        if (res > 0) {
            coir__san_written(at, (size_t)res);
            done += (size_t)res;
        }
        if (res < (long)missing)
            break;
    }
    return (ssize_t)done;
}

ssize_t coir_recvmsg(int fd, struct msghdr *msg, int flags)
{
    bool all = flags & MSG_WAITALL && coir__op_waitall(fd, flags) & MSG_WAITALL;
    struct coir__op op;
    coir__op_msg(&op, COIR__OP_RECVMSG, fd, msg, 1, flags & ~MSG_WAITALL);
    long res = coir__op_run(&op);
    if (res < 0)
        return coir__edge(res);
    message_filled(msg, (size_t)res);
    return all && res > 0 && !msg->msg_controllen ? receive_rest(&op, msg, (size_t)res, flags)
                                                  : res;
}

ssize_t coir_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    struct coir__op op;
    coir__op_msg(&op, COIR__OP_SENDMSG, fd, msg, 1, flags);
    return run(&op);
}

ssize_t coir_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *addr,
                      socklen_t *addr_len)
{
    struct iovec iov = { buf, len };
    struct msghdr msg = { .msg_name = addr, .msg_iov = &iov, .msg_iovlen = 1 };
    if (!addr)
        return coir_recv(fd, buf, len, flags);
    if (!addr_len)
        return coir__edge(-EFAULT);
    msg.msg_namelen = *addr_len;
    ssize_t n = coir_recvmsg(fd, &msg, flags);
    if (n >= 0)
        *addr_len = msg.msg_namelen;
    return n;
}

ssize_t coir_sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr,
                    socklen_t addr_len)
{
    struct iovec iov = { (void *)(uintptr_t)buf, len };
    struct msghdr msg = { .msg_name = (void *)(uintptr_t)addr,
                          .msg_namelen = addr_len,
                          .msg_iov = &iov,
                          .msg_iovlen = 1 };
    return addr ? coir_sendmsg(fd, &msg, flags) : coir_send(fd, buf, len, flags);
}

int coir_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    struct coir__op op = { .code = COIR__OP_ACCEPT,
                           .fd = fd,
                           .addr = addr,
                           .out_len = len,
                           .flags = (uint32_t)(flags | SOCK_CLOEXEC),
                           .counted = true };
    socklen_t room = addr && len ? *len : 0;
    long res = coir__op_run(&op);
    if (res >= 0)
        coir__fd_renew((int)res);
    if (res >= 0 && addr && len) {
        coir__san_written(len, sizeof *len);
        coir__san_written(addr, *len < room ? *len : room);
    }
    return (int)coir__edge(res);
}

int coir_accept(int fd, struct sockaddr *addr, socklen_t *len)
{
    return coir_accept4(fd, addr, len, 0);
}

int coir_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    struct coir__op op;
    coir__op_rw(&op, COIR__OP_CONNECT, fd, addr, len, 0);
    return (int)run(&op);
}

static int openat_mode(int dir, const char *path, int flags, mode_t mode)
{
    long fd = coir__open(dir, path, flags | O_CLOEXEC, mode);
    if (fd >= 0)
        coir__fd_renew((int)fd);
    return (int)coir__edge(fd);
}

/* The mode is there only with the flags that need one. */
static mode_t mode_of(int flags, va_list args)
{
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
}

int coir_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return openat_mode(AT_FDCWD, path, flags, mode);
}

int coir_openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return openat_mode(dir, path, flags, mode);
}

int coir_fsync(int fd)
{
    struct coir__op op;
    coir__op_rw(&op, COIR__OP_FSYNC, fd, NULL, 0, 0);
    return (int)run(&op);
}

int coir_fdatasync(int fd)
{
    struct coir__op op;
    coir__op_rw(&op, COIR__OP_FSYNC, fd, NULL, 0, 0);
    op.flags = COIR__SYNC_DATA_ONLY;
    return (int)run(&op);
}

int coir_close(int fd)
{
    return (int)coir__edge(coir__close(fd));
}

int coir_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    return (int)coir__edge(coir__poll(fds, n, timeout_ms < 0 ? -1 : COIR_MS(timeout_ms)));
}

ssize_t coir_read_full(int fd, void *buf, size_t len)
{
    size_t done = 0;
    if (!len)
        return coir_check();
    while (done < len) {
        ssize_t n = coir_read(fd, (char *)buf + done, len - done);
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

ssize_t coir_write_all(int fd, const void *buf, size_t len)
{
    size_t done = 0;
    if (!len)
        return coir_check();
    while (done < len) {
        ssize_t n = coir_write(fd, (const char *)buf + done, len - done);
        if (n < 0)
            return -1;
        done += (size_t)n;
    }
    return (ssize_t)done;
}
