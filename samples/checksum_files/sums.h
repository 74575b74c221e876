/* checksum_files/sums.h - the parts of checksum_files.
 * SPDX-License-Identifier: MIT
 *
 *   ../checksum_files.c  options, and the three kinds of fibers: one walks, some sum, one prints
 *   walk.c  the files below a directory, in order
 *   crc.c   the CRC of POSIX cksum, and of a whole file */
#ifndef SUMS_H
#define SUMS_H

#include <coir.h>

#include <stdint.h>

/* Of a read. Large, so that the fiber is seldom switched; small enough for the CPU's cache. */
#define BLOCK_BYTES (256 << 10)

/* crc.c */
uint32_t crc_add(uint32_t crc, const unsigned char *data, size_t len);
/* The checksum, from the CRC of so many bytes: their number is a part of it. */
uint32_t crc_end(uint32_t crc, uint64_t bytes);
/* Sum what can be read from fd. block has BLOCK_BYTES. Returns 0, or -1 with errno. Parks. */
int crc_file(int fd, unsigned char *block, uint32_t *sum, uint64_t *bytes);

/* walk.c: call found(path, 0, arg) for each regular file below the directory, in the order of their
 * paths' bytes, and found(path, errno, arg) for a directory that cannot be read. Symbolic links are
 * not followed. found returns 0, or -1 to end the walk. Returns 0, or -1 when it was ended, or with
 * errno ENOMEM, or as coir_blocking. Parks. */
int walk(const char *path, int (*found)(const char *path, int err, void *arg), void *arg);

#endif
