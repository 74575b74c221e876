/* api/io.c - coir/io.h: each call makes its op in its own frame and runs it.
 * SPDX-License-Identifier: MIT */
#include "edge.h"

#include "io/io.h"
#include "sched/sanitize.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>

static const int64_t AT_OWN_OFFSET = -1;

/* The kernel filled buf with what the result says; with MSG_TRUNC that says more. */
static inline ssize_t filled(struct coir__op op, const void *buf)
{
    long res = coir__op_run(&op);
    if (res > 0)
        coir__san_written(buf, (size_t)res < op.len ? (size_t)res : op.len);
    return coir__edge(res);
}

static inline ssize_t run(struct coir__op op)
{
    return coir__edge(coir__op_run(&op));
}

ssize_t coir_read(int fd, void *buf, size_t len)
{
    return filled(coir__op_rw(COIR__OP_READ, fd, buf, len, AT_OWN_OFFSET), buf);
}

ssize_t coir_write(int fd, const void *buf, size_t len)
{
    return run(coir__op_rw(COIR__OP_WRITE, fd, buf, len, AT_OWN_OFFSET));
}

static void scattered(const struct iovec *iov, size_t bytes)
{
    for (; bytes; iov++) {
        size_t n = iov->iov_len < bytes ? iov->iov_len : bytes;
        coir__san_written(iov->iov_base, n);
        bytes -= n;
    }
}

ssize_t coir_readv(int fd, const struct iovec *iov, int count)
{
    if (count < 0 || count > IOV_MAX)
        return coir__edge(-EINVAL);
    ssize_t n = run(coir__op_rw(COIR__OP_READV, fd, iov, (uint64_t)count, AT_OWN_OFFSET));
    if (n > 0)
        scattered(iov, (size_t)n);
    return n;
}

ssize_t coir_writev(int fd, const struct iovec *iov, int count)
{
    if (count < 0 || count > IOV_MAX)
        return coir__edge(-EINVAL);
    return run(coir__op_rw(COIR__OP_WRITEV, fd, iov, (uint64_t)count, AT_OWN_OFFSET));
}

ssize_t coir_pread(int fd, void *buf, size_t len, off_t offset)
{
    long err = offset < 0 ? -EINVAL : coir__op_seekable(COIR__OP_READ, fd);
    if (err < 0)
        return coir__edge(err);
    return filled(coir__op_rw(COIR__OP_READ, fd, buf, len, offset), buf);
}

ssize_t coir_pwrite(int fd, const void *buf, size_t len, off_t offset)
{
    long err = offset < 0 ? -EINVAL : coir__op_seekable(COIR__OP_WRITE, fd);
    if (err < 0)
        return coir__edge(err);
    return run(coir__op_rw(COIR__OP_WRITE, fd, buf, len, offset));
}

ssize_t coir_recv(int fd, void *buf, size_t len, int flags)
{
    return filled(coir__op_msg(COIR__OP_RECV, fd, buf, len, flags), buf);
}

ssize_t coir_send(int fd, const void *buf, size_t len, int flags)
{
    return run(coir__op_msg(COIR__OP_SEND, fd, buf, len, flags));
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
    return (int)run(coir__op_rw(COIR__OP_CONNECT, fd, addr, len, 0));
}

static int openat_mode(int dir, const char *path, int flags, mode_t mode)
{
    return (int)coir__edge(coir__open(dir, path, flags | O_CLOEXEC, mode));
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
    return (int)run(coir__op_rw(COIR__OP_FSYNC, fd, NULL, 0, 0));
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
