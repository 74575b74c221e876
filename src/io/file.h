/* io/file.h - reading and writing files. For op.c.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_IO_FILE_H
#define COIR_IO_FILE_H

#include "op.h"

/* Run a READ, WRITE, READV or WRITEV at the offset that the file itself has. True: *res is bytes or
 * -errno. False: it has none, and may be read or written without. */
COIR_HIDDEN bool coir__file_run(struct coir__op *op, long *res);

/* Begin with one at a given offset. It is counted, and kind is what coir__fd_begin said. True: that
 * was all, and *res is bytes or -errno. False: it is an engine's. */
COIR_HIDDEN bool coir__file_try(const struct coir__op *op, int kind, long *res);

static inline bool coir__file_at_given(const struct coir__op *op)
{
    return op->code <= COIR__OP_WRITEV && op->offset >= 0;
}

#endif
