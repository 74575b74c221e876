/* sched/memory.h - pages from the kernel.
 * SPDX-License-Identifier: MIT
 *
 * One thread may get the addresses that another has just given back. The kernel orders the two, but
 * TSan does not see that. */
#ifndef COIR_SCHED_MEMORY_H
#define COIR_SCHED_MEMORY_H

#include "sanitize.h"

#include <sys/mman.h>
#include <sys/syscall.h>

COIR_HIDDEN extern char coir__memory_sync; /* stands for that order */

/* mmap(2); -errno, or the address. */
static inline long coir__map_as(size_t bytes, int prot, int flags, int fd, uint64_t offset)
{
    long at = coir__sys(SYS_mmap, NULL, bytes, prot, flags, fd, offset);
    coir__san_from_kernel(&coir__memory_sync);
    return at;
}

static inline bool coir__map_failed(long at)
{
    return at < 0 && at > -4096;
}

/* Zeroed memory that only touched pages of cost anything; NULL: there is none. */
static inline void *coir__map(size_t bytes)
{
    long at = coir__map_as(bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return coir__map_failed(at) ? NULL : (void *)at;
}

static inline void coir__unmap(void *at, size_t bytes)
{
    coir__san_to_kernel(&coir__memory_sync);
    coir__sys(SYS_munmap, at, bytes);
}

#endif
