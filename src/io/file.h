/* io/file.h - reading and writing at a file's own offset. For op.c.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_IO_FILE_H
#define COIR_IO_FILE_H

#include "op.h"

/* Where a file's own offset is, and where the file ends: 0 for a block device. */
struct coir__file_place {
    int64_t offset;
    uint64_t bytes;
};

/* Does fd mean a file with an offset of its own? Then *place says where it is. */
COIR_HIDDEN bool coir__file_has_offset(int fd, struct coir__file_place *place);

/* Run a READ, WRITE, READV or WRITEV of such a file at that offset. -errno, or bytes. */
COIR_HIDDEN long coir__file_run(struct coir__op *op, struct coir__file_place place);

#endif
