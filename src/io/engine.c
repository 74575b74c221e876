/* io/engine.c - which engine this process has: io_uring where it works, else epoll.
 * SPDX-License-Identifier: MIT
 *
 * Decided once, by trying, on a ring of its own: to make it, to have the kernel list its
 * operations, and to bring a NOP through it. Whatever goes wrong means epoll: kernels without
 * io_uring, seccomp filters (some let a ring be made and not used), the sysctl, no memory and no
 * descriptors for it. A filter that kills cannot be known beforehand: there COIR_IO=epoll keeps us
 * from trying. */
#include "io.h"

#include "ring.h"

#include <errno.h>

static _Atomic(const struct coir__engine *) automatic;
static _Atomic int automatic_error;

static const uint8_t needed[] = {
    IORING_OP_NOP,          IORING_OP_READ,    IORING_OP_WRITE,   IORING_OP_READV,
    IORING_OP_WRITEV,       IORING_OP_RECV,    IORING_OP_SEND,    IORING_OP_ACCEPT,
    IORING_OP_OPENAT,       IORING_OP_CONNECT, IORING_OP_FSYNC,   IORING_OP_POLL_ADD,
    IORING_OP_ASYNC_CANCEL, IORING_OP_RECVMSG, IORING_OP_SENDMSG,
};

/* kernel.io_uring_disabled: 2 is for all. (1, for some, the kernel has to say.) */
static bool switched_off(void)
{
    char value = 0;
    long fd = coir__sys(SYS_openat, -100 /* AT_FDCWD */, "/proc/sys/kernel/io_uring_disabled",
                        02000000 /* O_CLOEXEC */, 0);
    if (fd < 0)
        return false;
    coir__sys(SYS_read, fd, &value, 1);
    coir__sys(SYS_close, fd);
    return value == '2';
}

static int has_operations(const struct coir__ring *r)
{
    enum { OPS = 256 };
    union {
        struct io_uring_probe head;
        char bytes[sizeof(struct io_uring_probe) + OPS * sizeof(struct io_uring_probe_op)];
    } probe = { .bytes = { 0 } };
    long err = coir__sys(SYS_io_uring_register, r->fd, IORING_REGISTER_PROBE, &probe, OPS);
    if (err < 0)
        return (int)err;
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (needed[i] > probe.head.last_op ||
            !(probe.head.ops[needed[i]].flags & IO_URING_OP_SUPPORTED))
            return -EOPNOTSUPP;
    return 0;
}

static int bring_a_nop_through(struct coir__ring *r)
{
    static const int64_t LIMIT_NS = 1000 * 1000 * 1000;
    struct io_uring_cqe cqe;
    struct io_uring_sqe *sqe = coir__ring_sqe(r);
    if (!sqe)
        return -EBUSY;
    sqe->opcode = IORING_OP_NOP;
    sqe->user_data = 1;
    int err = coir__ring_enter(r, true, LIMIT_NS);
    if (coir__ring_reap(r, &cqe))
        return cqe.user_data == 1 && cqe.res == 0 ? 0 : -EOPNOTSUPP;
    return err < 0 ? err : -EOPNOTSUPP;
}

static int try_uring(void)
{
    struct coir__ring ring;
    if (switched_off())
        return -EPERM;
    int err = coir__ring_open(&ring);
    if (err < 0)
        return err;
    err = has_operations(&ring);
    if (err == 0)
        err = bring_a_nop_through(&ring);
    coir__ring_close(&ring);
    return err;
}

const struct coir__engine *coir__engine_choose(enum coir__engine_wish wish)
{
    if (wish == COIR__WISH_URING)
        return &coir__uring.sched;
    if (wish == COIR__WISH_EPOLL)
        return &coir__epoll.sched;
    const struct coir__engine *engine = atomic_load(&automatic);
    if (!engine) {
        int err = try_uring();
        engine = err < 0 ? &coir__epoll.sched : &coir__uring.sched;
        atomic_store(&automatic_error, -err);
        atomic_store(&automatic, engine);
    }
    return engine;
}

int coir__engine_refused(void)
{
    return atomic_load(&automatic_error);
}
