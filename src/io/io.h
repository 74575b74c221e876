/* io/io.h - the calls of I/O, as the core offers them: results are -errno. For api and the drop-in.
 * SPDX-License-Identifier: MIT
 *
 * The ops are made inline, in the caller's frame: nothing lies between it and coir__op_run. */
#ifndef COIR_IO_IO_H
#define COIR_IO_IO_H

#include "op.h"

/* The engine for this process. */
COIR_HIDDEN const struct coir__engine *coir__engine_choose(void);

COIR_HIDDEN long coir__close(int fd);

struct pollfd;
/* timeout_ns: relative, -1 for ever. */
COIR_HIDDEN long coir__poll(struct pollfd *fds, unsigned long n, int64_t timeout_ns);

static inline struct coir__op coir__op_rw(enum coir__opcode code, int fd, const void *addr,
                                          uint64_t len, int64_t offset)
{
    return (struct coir__op){
        .code = (uint8_t)code, .fd = fd, .addr = addr, .len = len, .offset = offset, .counted = true
    };
}

static inline struct coir__op coir__op_msg(enum coir__opcode code, int fd, const void *addr,
                                           uint64_t len, int flags)
{
    enum { DONTWAIT = 0x40 }; /* MSG_DONTWAIT */
    return (struct coir__op){ .code = (uint8_t)code,
                              .fd = fd,
                              .addr = addr,
                              .len = len,
                              .flags = (uint32_t)flags,
                              .counted = true,
                              .dont_wait = (flags & DONTWAIT) != 0 };
}

#endif
