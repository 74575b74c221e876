/* checksum_files/crc.c - the CRC of POSIX cksum.
 * SPDX-License-Identifier: MIT
 *
 * Polynomial 0x04c11db7, most significant bit first. Eight bytes at a time: table[k][b] is what the
 * byte b, followed by k zero bytes, does to the CRC, and as the CRC is linear the eight of them are
 * simply added. */
#include "sums.h"

#include <unistd.h>

static uint32_t table[8][256];

__attribute__((constructor)) static void fill_table(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte << 24;
        for (int bit = 0; bit < 8; bit++)
            crc = crc << 1 ^ (crc & 0x80000000 ? 0x04c11db7 : 0);
        table[0][byte] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (int byte = 0; byte < 256; byte++)
            table[k][byte] = table[k - 1][byte] << 8 ^ table[0][table[k - 1][byte] >> 24];
}

uint32_t crc_add(uint32_t crc, const unsigned char *p, size_t len)
{
    for (; len >= 8; len -= 8, p += 8)
        crc = table[7][crc >> 24 ^ p[0]] ^ table[6][(crc >> 16 & 255) ^ p[1]] ^
              table[5][(crc >> 8 & 255) ^ p[2]] ^ table[4][(crc & 255) ^ p[3]] ^ table[3][p[4]] ^
              table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
    for (; len > 0; len--, p++)
        crc = crc << 8 ^ table[0][crc >> 24 ^ *p];
    return crc;
}

uint32_t crc_end(uint32_t crc, uint64_t bytes)
{
    for (; bytes; bytes >>= 8)
        crc = crc << 8 ^ table[0][crc >> 24 ^ (bytes & 255)];
    return ~crc;
}

int crc_file(int fd, unsigned char *block, uint32_t *sum, uint64_t *bytes)
{
    uint32_t crc = 0;
    ssize_t n;
    /* coir_pread never holds up the worker, but pipes have no offsets; and a standard input that is
     * half read already is to be read from where it is. */
    off_t start = lseek(fd, 0, SEEK_CUR);
    *bytes = 0;
    while ((n = start >= 0 ? coir_pread(fd, block, BLOCK_BYTES, start + (off_t)*bytes)
                           : coir_read(fd, block, BLOCK_BYTES)) > 0) {
        crc = crc_add(crc, block, (size_t)n);
        *bytes += (uint64_t)n;
        coir_yield(); /* what is cached comes without parking */
    }
    *sum = crc_end(crc, *bytes);
    return n < 0 ? -1 : 0;
}
