/* io/nowait.h - ops by plain system calls.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_IO_NOWAIT_H
#define COIR_IO_NOWAIT_H

#include "io.h"

#include <errno.h>
#include <linux/fs.h> /* RWF_NOWAIT, which not every libc has */

/* No errno: the op cannot be done without waiting, or not by this kind of file. */
enum { COIR__CANNOT = -(1 << 20) };

/* RWF_NOWAIT is not known: by this kind of file; or the call is not, in sandboxes, emulators. */
static inline bool coir__no_nowait(long res)
{
    return res == -EOPNOTSUPP || res == -ENOSYS;
}

/* Do op without waiting: the result; -EAGAIN, when it is not ready; COIR__CANNOT. On any thread
 * that has SIGPIPE blocked. */
COIR_HIDDEN long coir__nowait(struct coir__op *op);

/* What poll(2) says at once: 0, events, -errno. */
COIR_HIDDEN long coir__nowait_poll(int fd, uint32_t events);

/* Do op by a call that may wait. Only what coir__nowait cannot. */
COIR_HIDDEN long coir__blocking(const struct coir__op *op);

#endif
