/* io/file.c - reads and writes of files: at a given offset, and at the file's own.
 * SPDX-License-Identifier: MIT
 *
 * At a given offset what is in the page cache is read with RWF_NOWAIT, which takes less time than a
 * ring needs to be told; the rest is the engine's, as is what knows no NOWAIT.
 *
 * The kernel moves a file's own offset under a lock when read(2) or write(2) uses it; a ring does
 * not, and two rings, or a ring and a thread of the kernel's behind it, read and write the same
 * place. So that offset is left to the system call:
 *   reads with RWF_NOWAIT. What is not in the page cache is first fetched by the ring, at a given
 *            offset, into the same buffer; then the system call finds it there. After some attempts
 *            (the cache is too small, the file system knows no NOWAIT) a plain readv ends it.
 *            NOWAIT would stop short where the cache ends, and read(2) does not; so the last byte
 *            is asked for first. A file that knows no NOWAIT may be one that has to be waited for
 *            (/proc/kmsg), so its readiness is.
 *   writes by writev: it copies into the page cache, and waits only when the kernel holds writers
 *            back, or the file was opened to be written through.
 * A terminal's read is a thread's, once there is something to read, or at once when it does not
 * wait for that: neither a ring nor readiness knows VMIN and VTIME.
 *
 * The descriptor is counted all the while, and every wait here ends when it is closed. */
#include "file.h"

#include "fdtab.h"
#include "io.h"
#include "nowait.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

enum { FETCHES_MAX = 4, CURRENT = 1 };
enum { TYPE = 0170000, REGULAR = 0100000, BLOCK = 060000 }; /* of a file's mode */

/* Where a file's own offset is, and where the file ends: 0 for a block device. */
struct place {
    int64_t offset;
    uint64_t bytes;
};

/* Does fd have an offset of its own? lseek tells pipes, sockets and terminals apart, quickly; an
 * eventfd pretends to have one. */
static bool find(int fd, struct place *place)
{
    struct statx st;
    place->offset = coir__sys(SYS_lseek, fd, 0, CURRENT);
    if (place->offset < 0 ||
        coir__sys(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_SIZE, &st) < 0)
        return false;
    bool regular = (st.stx_mode & TYPE) == REGULAR;
    place->bytes = regular ? st.stx_size : 0;
    return regular || (st.stx_mode & TYPE) == BLOCK;
}

/* Is the last byte that a read of `bytes` bytes would get in the page cache? What lies before it
 * was read with it, or read ahead, nearly always. */
static bool end_is_cached(int fd, struct place place, uint64_t bytes)
{
    char byte;
    struct iovec iov = { &byte, 1 };
    uint64_t last = (uint64_t)place.offset + bytes - 1;
    if (place.bytes && last >= place.bytes)
        last = place.bytes - 1;
    if (bytes <= 1 || last <= (uint64_t)place.offset)
        return true;
    return coir__sys(SYS_preadv2, fd, &iov, 1, last, 0, RWF_NOWAIT) != -EAGAIN;
}

/* Wait for an op on the same file. What it brings is not the end of ours. */
static long wait_for(const struct coir__op *op, enum coir__opcode code, int64_t offset)
{
    enum { READABLE = 1 }; /* POLLIN */
    struct coir__op wait = { .code = (uint8_t)code,
                             .fd = op->fd,
                             .generation = op->generation,
                             .flags = code == COIR__OP_POLL ? READABLE : 0,
                             .addr = op->addr,
                             .len = op->len,
                             .offset = offset,
                             .counted = true,
                             .uncached = true };
    long res = coir__op_run(&wait);
    return coir__fd_closing(op->fd) ? -EBADF : res;
}

/* How many bytes a read asks for; 0 when the vector is none, as the system call will say. It is the
 * kernel that looks first, so that a bad pointer is EFAULT: with a flag that does not exist it gets
 * no further than that. */
static uint64_t total(int fd, const struct coir__vector *v)
{
    enum { RWF_NO_SUCH = 1 << 30 };
    if (v->iov != &v->one &&
        coir__sys(SYS_preadv2, fd, v->iov, v->count, -1, -1, RWF_NO_SUCH) != -EOPNOTSUPP)
        return 0;
    return coir__iov_bytes(v->iov, v->count);
}

static long read_at_own(const struct coir__op *op, const struct coir__vector *v, struct place place)
{
    uint64_t bytes = total(op->fd, v);
    for (int i = 0; i < FETCHES_MAX; i++) {
        long res = -EAGAIN;
        if (end_is_cached(op->fd, place, bytes))
            res = coir__sys(SYS_preadv2, op->fd, v->iov, v->count, -1, -1, RWF_NOWAIT);
        if (coir__no_nowait(res))
            break;
        if (res != -EAGAIN && res != -EINTR)
            return res;
        /* Into the page cache. The bytes also land in the buffer, where the read that follows puts
         * the same, or newer ones. */
        res = wait_for(op, (enum coir__opcode)op->code, place.offset);
        if (res < 0)
            return res;
        place.offset = coir__sys(SYS_lseek, op->fd, 0, CURRENT); /* others may have moved it */
        if (place.offset < 0)
            return place.offset;
    }
    long res = wait_for(op, COIR__OP_POLL, 0);
    return res < 0 ? res : coir__sys(SYS_readv, op->fd, v->iov, v->count);
}

static long run(struct coir__op *op, struct place place)
{
    struct coir__vector v;
    long res = coir__op_check();
    coir__op_vector(&v, op);
    if (res < 0)
        return res;
    do
        res = coir__op_is_read(op) ? read_at_own(op, &v, place)
                                   : coir__sys(SYS_writev, op->fd, v.iov, v.count);
    while (res == -EINTR);
    return res;
}

bool coir__file_run(struct coir__op *op, long *res)
{
    struct place place;
    *res = coir__fd_begin(op->fd, &op->generation);
    if (*res < 0)
        return true;
    bool mine = find(op->fd, &place);
    if (mine)
        *res = run(op, place);
    else
        *res = coir__fd_can(op->fd, !coir__op_is_read(op));
    op->async = !mine && *res > 0;
    if (!mine && *res == COIR__FD_TERMINAL && coir__op_is_read(op))
        *res = wait_for(op, COIR__OP_POLL, 0);
    coir__fd_end(op->fd);
    return mine || *res < 0;
}

/* Is what a read at an offset got all there is, because the file ends there? */
static __attribute__((noinline)) bool file_ends_at(int fd, int64_t end)
{
    struct statx st;
    return coir__sys(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_SIZE, &st) == 0 &&
           end >= (int64_t)st.stx_size;
}

/* A short count may mean that the page cache ends, and then more is to come. The vector can be
 * looked at: the kernel has read it. */
static bool read_cached(const struct coir__op *op, long *res)
{
    struct coir__vector v;
    coir__op_vector(&v, op);
    *res = coir__sys(SYS_preadv2, op->fd, v.iov, v.count, op->offset, 0, RWF_NOWAIT);
    if (coir__no_nowait(*res))
        coir__fd_not_nowait(op->fd);
    if (*res < 0)
        return !coir__no_nowait(*res) && *res != -EAGAIN && *res != -EINTR;
    return (uint64_t)*res == coir__iov_bytes(v.iov, v.count) ||
           file_ends_at(op->fd, op->offset + *res);
}

bool coir__file_try(const struct coir__op *op, int kind, long *res)
{
    bool may = coir__op_is_read(op) && !op->uncached;
    if (kind != COIR__FD_NOWAIT || !may)
        kind = coir__fd_can_at(op->fd, !coir__op_is_read(op));
    *res = kind;
    return kind < 0 || (kind == COIR__FD_NOWAIT && may && read_cached(op, res));
}
