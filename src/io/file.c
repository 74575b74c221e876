/* io/file.c - reads and writes at a file's own offset.
 * SPDX-License-Identifier: MIT
 *
 * The kernel moves the offset under a lock when read(2) or write(2) uses it; a ring does not, and
 * two rings, or a ring and a thread of the kernel's behind it, read and write the same place. So
 * the offset is left to the system call:
 *   reads with RWF_NOWAIT. What is not in the page cache is first fetched by the ring, at a given
 *            offset, into the same buffer; then the system call finds it there. After some attempts
 *            (the cache is too small, the file system knows no NOWAIT) a plain readv ends it.
 *   writes by writev: it copies into the page cache, and waits only when the kernel holds writers
 *            back, or the file was opened to be written through. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

enum { FETCHES_MAX = 4, RWF_NOWAIT_ = 8, CURRENT = 1 };
enum { TYPE = 0170000, REGULAR = 0100000, BLOCK = 060000 }; /* of a file's mode */

/* lseek tells pipes, sockets and terminals apart, quickly; an eventfd pretends to have an
 * offset. */
bool coir__file_has_offset(int fd)
{
    struct statx st;
    if (coir__sys(SYS_lseek, fd, 0, CURRENT) < 0 ||
        coir__sys(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_TYPE, &st) < 0)
        return false;
    return (st.stx_mode & TYPE) == REGULAR || (st.stx_mode & TYPE) == BLOCK;
}

/* One buffer is a vector of one. */
struct vector {
    struct iovec one;
    const struct iovec *iov;
    unsigned long count;
};

static void make_vector(struct vector *v, const struct coir__op *op)
{
    bool many = op->code == COIR__OP_READV || op->code == COIR__OP_WRITEV;
    v->one = (struct iovec){ (void *)(uintptr_t)op->addr, op->len };
    v->iov = many ? op->addr : &v->one;
    v->count = many ? op->len : 1;
}

/* Bring what is at the offset into the page cache. The bytes also land in the buffer, where the
 * read that follows puts the same, or newer ones. */
static long fetch(const struct coir__op *op)
{
    long at = coir__sys(SYS_lseek, op->fd, 0, CURRENT);
    if (at < 0)
        return at;
    struct coir__op there = { .code = op->code,
                              .fd = op->fd,
                              .addr = op->addr,
                              .len = op->len,
                              .offset = at,
                              .counted = true };
    return coir__op_run(&there);
}

static long read_at_own(const struct coir__op *op, const struct vector *v)
{
    for (int i = 0; i < FETCHES_MAX; i++) {
        long res = coir__sys(SYS_preadv2, op->fd, v->iov, v->count, -1, -1, RWF_NOWAIT_);
        if (res == -EOPNOTSUPP)
            break;
        if (res != -EAGAIN && res != -EINTR)
            return res;
        res = fetch(op);
        if (res < 0)
            return res;
    }
    return coir__sys(SYS_readv, op->fd, v->iov, v->count);
}

long coir__file_run(struct coir__op *op)
{
    struct vector v;
    long res = coir__op_check();
    if (res < 0)
        return res;
    make_vector(&v, op);
    bool reads = op->code == COIR__OP_READ || op->code == COIR__OP_READV;
    do
        res = reads ? read_at_own(op, &v) : coir__sys(SYS_writev, op->fd, v.iov, v.count);
    while (res == -EINTR);
    return res;
}
