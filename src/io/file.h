/* io/file.h - reading and writing at a file's own offset. For op.c.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_IO_FILE_H
#define COIR_IO_FILE_H

#include "op.h"

/* Run a READ, WRITE, READV or WRITEV at the offset that the file itself has. True: *res is bytes or
 * -errno. False: it has none, and may be read or written without. */
COIR_HIDDEN bool coir__file_run(struct coir__op *op, long *res);

#endif
