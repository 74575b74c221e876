/* api/at_rest.c - nothing goes on: all fibers are parked, and nothing can wake them, or there is no
 * memory to start more.
 * SPDX-License-Identifier: MIT
 *
 * Any thread of the program may wake a fiber, by a mutex, a channel or a cancel, and nobody knows
 * whether it is going to. So it is only certain, and only told, when there is none: when the
 * process has no threads but the workers and the library's helpers. */
#include "dump.h"

#include "helper.h"
#include "io/pool.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One of the kernel's, that does slow io_uring operations: the ninth field of its stat has
 * PF_IO_WORKER. */
static bool is_kernels(const char *tid)
{
    enum { PF_IO_WORKER = 0x10 };
    char path[64], stat[512];
    unsigned flags = 0;
    snprintf(path, sizeof path, "/proc/self/task/%.20s/stat", tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, stat, sizeof stat - 1);
    if (fd >= 0)
        close(fd);
    if (len <= 0)
        return false;
    stat[len] = 0;
    const char *name_end = strrchr(stat, ')');
    return name_end && sscanf(name_end + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) == 1 &&
           flags & PF_IO_WORKER;
}

bool coir__host_alone(struct coir__runtime *rt)
{
    uint32_t threads = 0, ours = rt->config.workers + atomic_load(&coir__helpers) +
                                 atomic_load(&coir__pool_threads);
    DIR *dir = opendir("/proc/self/task");
    if (!dir)
        return false;
    for (struct dirent *e; threads <= ours && (e = readdir(dir)) != NULL;)
        threads += e->d_name[0] != '.' && !is_kernels(e->d_name);
    closedir(dir);
    return threads == ours;
}

void coir__host_starves(void)
{
    static const char line[] = "coir: no memory for more stacks: fibers that were spawned have not "
                               "started, and wait until others have ended\n";
    static _Atomic bool told;
    if (!atomic_exchange(&told, true) && write(STDERR_FILENO, line, sizeof line - 1) < 0)
        return; /* there is nobody else to tell */
}

void coir__host_at_rest(struct coir__runtime *rt)
{
    static const char line[] = "coir: all fibers are parked, and nothing is left to wake them\n";
    (void)rt;
    if (write(STDERR_FILENO, line, sizeof line - 1) > 0)
        coir__dump(STDERR_FILENO);
}
