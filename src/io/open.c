/* io/open.c - open(2): the ring's, and what it does not do for a FIFO.
 * SPDX-License-Identifier: MIT
 *
 * The ring first opens as if O_NONBLOCK were given, and only gives an open to a kernel thread that
 * could not be done so (or that creates or truncates). For a FIFO the first try says something: a
 * writer without a reader fails with ENXIO, a reader does not wait for a writer. Then the open is
 * made again, by a kernel thread. */
#include "fdtab.h"
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

/* fd is a FIFO just opened for reading: wait until it has, or had, a writer. Whether it has one
 * only another open tells, whether it had one only fd itself. Returns the one to use. */
static long await_writer(const struct coir__op *how, int fd)
{
    struct coir__op ops[2] = {
        *how, { .code = COIR__OP_POLL, .fd = fd, .flags = POLLIN, .counted = true }
    };
    ops[0].async = true;
    struct coir__op_group g = { .ops = ops, .n = 2 };
    long err;
    bool again;
    do {
        ops[0].res = ops[1].res = -ECANCELED;
        err = coir__op_check();
        if (err == 0)
            err = coir__group_run(&g, coir__op_deadline());
        again = ops[0].stop_error || ops[0].res == -EINTR || ops[1].res == -EINTR;
    } while (err == 0 && again && ops[0].res < 0 && ops[1].res <= 0);
    long second = ops[0].res;
    if (ops[1].res > 0) {
        if (second >= 0)
            coir__sys(SYS_close, second);
        return fd;
    }
    coir__sys(SYS_close, fd);
    return second < 0 && err < 0 ? err : second;
}

static long open_file(int dir, const char *path, int flags, unsigned mode)
{
    struct coir__op op = { .code = COIR__OP_OPENAT,
                           .fd = dir,
                           .addr = path,
                           .len = mode,
                           .flags = (uint32_t)flags,
                           .counted = dir >= 0,
                           .dont_wait = true };
    long res = coir__op_run(&op);
    if (flags & (O_NONBLOCK | O_PATH))
        return res;
    if (res == -ENXIO && (flags & O_ACCMODE) == O_WRONLY) {
        op.async = true;
        return coir__op_run(&op);
    }
    if (res >= 0 && (flags & O_ACCMODE) == O_RDONLY &&
        coir__sys(SYS_fcntl, res, F_GETPIPE_SZ, 0) > 0)
        return await_writer(&op, (int)res);
    return res;
}

long coir__open(int dir, const char *path, int flags, unsigned mode)
{
    long fd = open_file(dir, path, flags, mode);
    if (fd >= 0)
        coir__fd_renew((int)fd);
    return fd;
}
