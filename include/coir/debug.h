/* coir/debug.h - seeing what a program's fibers do.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_DEBUG_H
#define COIR_DEBUG_H

#include <coir/base.h>

COIR_BEGIN_DECLS

/* Write to fd, as text, what every fiber of the process does: its handle, name and worker; whether
 * it runs, is ready, is parked, for how long and for what, and who has it, or has not begun; and a
 * backtrace. First comes a line with their numbers; then, where fibers wait for each other in a
 * ring, a line for each that says so. Each fiber is shown as it was at a moment of its own. A
 * worker that does not come to its loop within 100 ms, since its fiber computes or blocks, is
 * interrupted by SIGURG; if that does not help within half a second, the dump says that it did not
 * answer. coir_dump(3) tells how to read it.
 * Returns  0; -1 with EBADF, what write(2) said, or ENOMEM.
 * Parks    until the workers have answered and all is written; neither cancel nor deadline end
 *          it. */
COIR_API int coir_dump(int fd);

/* What the runtimes of this process have done so far. */
typedef struct coir_stats_t {
    uint64_t fibers;         /* that have not ended; those that coir_run gave up, for ever */
    uint64_t workers;        /* that run now */
    uint64_t spawned, ended; /* fibers */
    uint64_t switches;       /* turns of fibers, and looks for one in vain; counted when the worker
                              * is in its loop */
    uint64_t steals;       /* fibers that were taken from another worker before their first turn */
    uint64_t parks, wakes; /* waits that fibers began; that ended. A yield is neither */
    uint64_t ops_submitted, ops_completed; /* operations of I/O that had to wait */
    uint64_t enters;                       /* system calls of the I/O engine */
    uint64_t reserved[32];                 /* set to 0 */
} coir_stats_t;

/* Fill *stats; all but fibers and workers count from the start of the process. Each number is right
 * for a moment of its own; ended is no larger than spawned, nor ops_completed than ops_submitted.
 * Returns  0; -1 EINVAL stats is NULL. Never parks. */
COIR_API int coir_stats(coir_stats_t *stats);

COIR_END_DECLS

#endif
