/* sched/guard.c - making the low end of a stack unusable, by the cheapest means the kernel has.
 * SPDX-License-Identifier: MIT
 *
 * MADV_GUARD_INSTALL (Linux 6.13) marks pages without splitting the mapping. Before that, mprotect
 * does, and each guarded stack then costs two of the process's memory maps, whose number the kernel
 * limits (vm.max_map_count, 65530). So we count, and stop before the limit: a process that has used
 * up its maps cannot even free memory. */
#include "guard.h"

#include "host.h"
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

enum {
    GUARD_INSTALL = 102,  /* MADV_GUARD_INSTALL */
    MAPS_DEFAULT = 65530, /* vm.max_map_count unless somebody changed it */
    MAPS_RESERVED = 4096, /* for the rest of the process */
    MAPS_PER_GUARD = 2,
};

struct coir__stack_policy coir__stack_policy;

static _Atomic uint32_t guards_mapped;

/* MADV_GUARD_INSTALL says 0 under qemu-user and guards nothing, so the proof is a system call that
 * reads the page: a guarded one is EFAULT; an unguarded one holds zeros, a sleep of no time. */
static bool markers_work(void)
{
    size_t bytes = coir__host_page_bytes();
    void *page = coir__map(bytes);
    if (!page)
        return false;
    bool works = coir__sys(SYS_madvise, page, bytes, GUARD_INSTALL) == 0 &&
                 coir__sys(SYS_nanosleep, page, NULL) == -EFAULT;
    coir__unmap(page, bytes);
    return works;
}

long coir__proc_number(const char *path, long otherwise)
{
    char text[32];
    long fd = coir__sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return otherwise;
    long len = coir__sys(SYS_read, fd, text, sizeof text);
    coir__sys(SYS_close, fd);
    long number = 0;
    long i = 0;
    for (; i < len && text[i] >= '0' && text[i] <= '9'; i++)
        number = number * 10 + (text[i] - '0');
    return i > 0 ? number : otherwise;
}

static uint32_t maps_max(void)
{
    if (coir__stack_policy.guard_maps_max)
        return coir__stack_policy.guard_maps_max;
    long max = coir__proc_number("/proc/sys/vm/max_map_count", MAPS_DEFAULT);
    coir__stack_policy.guard_maps_max =
        max > 2 * MAPS_RESERVED ? (uint32_t)(max - MAPS_RESERVED) : (uint32_t)max / 2;
    return coir__stack_policy.guard_maps_max;
}

enum coir__guards coir__stack_guards(void)
{
    if (coir__stack_policy.guards == COIR__GUARDS_UNKNOWN)
        coir__stack_policy.guards = markers_work() ? COIR__GUARDS_MARKED : COIR__GUARDS_MAPPED;
    return coir__stack_policy.guards;
}

static bool map_guard(char *low, size_t bytes)
{
    uint32_t before =
        atomic_fetch_add_explicit(&guards_mapped, MAPS_PER_GUARD, memory_order_relaxed);
    if (before < maps_max() && coir__sys(SYS_mprotect, low, bytes, PROT_NONE) == 0)
        return true;
    atomic_fetch_sub_explicit(&guards_mapped, MAPS_PER_GUARD, memory_order_relaxed);
    return false;
}

bool coir__guard_install(char *low, size_t bytes, enum coir__guards *how)
{
    *how = coir__stack_guards();
    if (*how == COIR__GUARDS_MARKED && coir__sys(SYS_madvise, low, bytes, GUARD_INSTALL) == 0)
        return true;
    *how = COIR__GUARDS_MAPPED;
    if (map_guard(low, bytes))
        return true;
    *how = COIR__GUARDS_UNKNOWN;
    return false;
}

void coir__guards_unmapped(uint32_t n)
{
    atomic_fetch_sub_explicit(&guards_mapped, n * MAPS_PER_GUARD, memory_order_relaxed);
}
