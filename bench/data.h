/* bench/data.h - rows file_cached and file_direct: the file that is read, and where in it.
 * SPDX-License-Identifier: MIT
 *
 * bench/run.py makes the file, and puts it into the page cache or out of it. */
#ifndef BENCH_DATA_H
#define BENCH_DATA_H

#include <fcntl.h>
#include <stdbool.h>

#include "report.h"

#define DATA_READ_BYTES 4096
#define DATA_BLOCKS     65536 /* of so many bytes each: 256 MiB */

/* Reads of all readers together: a second or two. */
static inline long data_reads(bool direct, long readers)
{
    return !direct ? 400000 : readers == 1 ? 10000 : 100000;
}

static inline int data_open(const char *directory, bool direct)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/data", directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC | (direct ? O_DIRECT : 0));
    if (fd < 0)
        die(path);
    return fd;
}

/* A buffer for each reader; O_DIRECT wants them aligned. */
static inline char *data_buffers(long readers)
{
    char *buffers = aligned_alloc(DATA_READ_BYTES, (size_t)readers * DATA_READ_BYTES);
    if (!buffers)
        die("aligned_alloc");
    memset(buffers, 1, (size_t)readers * DATA_READ_BYTES);
    return buffers;
}

/* The next place to read. *state: what is left of the last one; at first anything but 0. */
static inline off_t data_offset(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (off_t)(*state % DATA_BLOCKS) * DATA_READ_BYTES;
}

#endif
