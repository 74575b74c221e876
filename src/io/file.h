/* io/file.h - reading and writing at a file's own offset. For op.c.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_IO_FILE_H
#define COIR_IO_FILE_H

#include "op.h"

/* Does fd mean a file with an offset of its own? */
COIR_HIDDEN bool coir__file_has_offset(int fd);

/* Run a READ, WRITE, READV or WRITEV of such a file at that offset. -errno, or bytes. */
COIR_HIDDEN long coir__file_run(struct coir__op *op);

#endif
