/* api/transfer.c - coir_sendfile and coir_splice.
 * SPDX-License-Identifier: MIT */
#include "edge.h"

#include "io/fdtab.h"
#include "io/io.h"
#include "io/sock_timeout.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK_BYTES = 65536, COUNT_MAX = 0x7ffff000 };

/* A descriptor, and which file it has meant so far. */
struct end {
    int fd;
    uint32_t generation;
};

static long move(enum coir__opcode code, struct end *e, const char *buf, size_t len, int64_t offset)
{
    struct coir__op op;
    coir__op_rw(&op, code, e->fd, buf, len, offset);
    op.generation = e->generation;
    long res = coir__op_run(&op);
    e->generation = op.generation;
    return res;
}

/* All of buf: how much went out, and in *err why not all did. */
static size_t write_out(struct end *out, const char *buf, size_t len, long *err)
{
    size_t done = 0;
    while (done < len && *err == 0) {
        long n = move(COIR__OP_WRITE, out, buf + done, len - done, -1);
        if (n < 0)
            *err = n;
        else
            done += (size_t)n;
    }
    return done;
}

/* By reads and writes: sendfile(2) would wait in a worker, unless the socket has O_NONBLOCK, and
 * also then for a disk. What is read at an offset and cannot be written is not lost. */
static long copy(struct end *out, struct end *in, int64_t offset, size_t count)
{
    size_t done = 0;
    long err = 0;
    char *buf = malloc(count < CHUNK_BYTES ? count : CHUNK_BYTES);
    if (!buf)
        return -ENOMEM;
    while (done < count && err == 0) {
        size_t len = count - done < CHUNK_BYTES ? count - done : CHUNK_BYTES;
        long n = move(COIR__OP_READ, in, buf, len, offset + (int64_t)done);
        if (n <= 0) {
            err = n;
            break;
        }
        done += write_out(out, buf, (size_t)n, &err);
    }
    free(buf);
    return done ? (long)done : err;
}

/* -EBADF when fd was not opened for that; else its flags. */
static long flags_of(int fd, int not_opened_for)
{
    long flags = coir__sys(SYS_fcntl, fd, F_GETFL);
    bool opened = flags >= 0 && !(flags & O_PATH) && (flags & O_ACCMODE) != not_opened_for;
    return opened ? flags : -EBADF;
}

/* What sendfile(2) would say before it sends; it cannot be asked itself, for with a full pipe it
 * waits even then. 0, or -errno. */
static long check_ends(int out, int in, const off_t *offset)
{
    struct stat st;
    long err = flags_of(in, O_WRONLY), flags = flags_of(out, O_RDONLY);
    if (err < 0 || flags < 0)
        return -EBADF;
    err = coir__sys(SYS_fstat, in, &st);
    if (err < 0)
        return err;
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return offset && coir__sys(SYS_lseek, in, 0, SEEK_CUR) == -ESPIPE ? -ESPIPE : -EINVAL;
    return flags & O_APPEND || (offset && *offset < 0) ? -EINVAL : 0;
}

ssize_t coir_sendfile(int out, int in, off_t *offset, size_t count)
{
    struct end to = { .fd = out }, from = { .fd = in };
    long res = coir__check();
    if (res == 0)
        res = count > SSIZE_MAX ? -EINVAL : check_ends(out, in, offset);
    if (res == 0 && count) {
        int64_t at = offset ? *offset : coir__sys(SYS_lseek, in, 0, SEEK_CUR);
        res = copy(&to, &from, at, count < COUNT_MAX ? count : COUNT_MAX);
        if (res > 0 && offset)
            *offset = at + res;
        else if (res > 0)
            coir__sys(SYS_lseek, in, res, SEEK_CUR);
    }
    return coir__edge(res);
}

/* For coir__poll: how long its socket lets fd wait; -1: for ever. */
static int64_t timeout_of(int fd, int option)
{
    int64_t ns = coir__sock_timeout_option(fd, option);
    return ns ? ns : -1;
}

/* Until both ends are ready. Who is ready already is in it to hear of its close. */
static long await_both(const struct end *in, const struct end *out)
{
    struct pollfd fds[] = { { .fd = in->fd, .events = POLLIN },
                            { .fd = out->fd, .events = POLLOUT } };
    while (fds[0].events || fds[1].events) {
        int64_t ns =
            fds[0].events ? timeout_of(in->fd, SO_RCVTIMEO) : timeout_of(out->fd, SO_SNDTIMEO);
        long res = coir__poll(fds, 2, ns);
        if (res <= 0)
            return res < 0 ? res : -EAGAIN;
        for (int i = 0; i < 2; i++)
            if (fds[i].revents) {
                fds[i].events = 0;
                if (fds[i].revents & ~(POLLIN | POLLOUT))
                    fds[i].fd = -1; /* it would be told again and again */
            }
    }
    return 0;
}

/* A descriptor of the same file, which stays that when out is closed; or -errno. */
static long another(struct end *out)
{
    long err = coir__fd_begin(out->fd, &out->generation);
    if (err < 0)
        return err;
    long fd = coir__sys(SYS_fcntl, out->fd, F_DUPFD_CLOEXEC, 0);
    coir__fd_end(out->fd);
    return fd;
}

static bool is_pipe(int fd)
{
    return coir__sys(SYS_fcntl, fd, F_GETPIPE_SZ) >= 0;
}

/* On a thread: only one end, the pipe, can be told not to wait. It is not sent there before both
 * ends are ready, so that it has little to wait for; then it is the close of in that ends it. */
static long splice_now(struct end *in, struct end *out, struct coir__system_call call)
{
    long fd = another(out);
    if (fd < 0)
        return fd;
    call.args[2] = fd;
    struct coir__op op = { .code = COIR__OP_CALL,
                           .fd = in->fd,
                           .generation = in->generation,
                           .addr = &call,
                           .flags = COIR__CALL_WAITS | COIR__CALL_PEER,
                           .counted = true,
                           .dont_wait = true };
    long res = coir__op_run(&op);
    coir__sys(SYS_close, fd);
    return res;
}

ssize_t coir_splice(int in, off_t *in_offset, int out, off_t *out_offset, size_t len,
                    unsigned flags)
{
    const struct coir__system_call call = { SYS_splice,
                                            { in, (long)(uintptr_t)in_offset, out,
                                              (long)(uintptr_t)out_offset, (long)len, flags } };
    struct end from = { in, coir__fd_generation(in) }, to = { out, coir__fd_generation(out) };
    bool waits = len && in >= 0 && out >= 0 &&
                 !(flags & ~(unsigned)(SPLICE_F_MOVE | SPLICE_F_MORE | SPLICE_F_GIFT)) &&
                 (is_pipe(in) || is_pipe(out)); /* else it says at once what is wrong */
    long res;
    do {
        res = waits ? await_both(&from, &to) : 0;
        if (res == 0)
            res = splice_now(&from, &to, call);
        else
            waits = false;
    } while (res == -EAGAIN && waits && timeout_of(in, SO_RCVTIMEO) < 0 &&
             timeout_of(out, SO_SNDTIMEO) < 0);
    return coir__edge(res);
}
