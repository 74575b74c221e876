/* sched/guard.h - the unusable pages below a stack. For stack.c.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_SCHED_GUARD_H
#define COIR_SCHED_GUARD_H

#include "stack.h"

/* Guard bytes from low. *how: by what means; COIR__GUARDS_UNKNOWN: not at all. False: no guard was
 * to be had. */
COIR_HIDDEN bool coir__guard_install(char *low, size_t bytes, enum coir__guards *how);

/* n stacks guarded by mprotect are gone. */
COIR_HIDDEN void coir__guards_unmapped(uint32_t n);

/* The number in a file of /proc; `otherwise` when it cannot be read. */
COIR_HIDDEN long coir__proc_number(const char *path, long otherwise);

#endif
