/* api/backtrace.h - where a fiber is: the calls that led there, by libgcc's unwinder.
 * SPDX-License-Identifier: MIT
 *
 * Everything here may be called in a signal handler, needs no memory, and does not touch the stack
 * it looks at. */
#ifndef COIR_API_BACKTRACE_H
#define COIR_API_BACKTRACE_H

#include "sched/fiber.h"

enum { COIR__FRAMES_MAX = 48 };

/* Innermost first, without the scheduler's own at either end: instructions that are still running,
 * so for a call an address within it. */
struct coir__backtrace {
    uint32_t len;
    bool cut; /* there were more */
    uintptr_t pc[COIR__FRAMES_MAX];
};

/* Is address on f's stack? f has started. */
COIR_HIDDEN bool coir__on_stack(struct coir__fiber *f, uintptr_t address);

/* Of a fiber that has been left, and does not run meanwhile. Empty where a switch cannot be
 * unwound. */
COIR_HIDDEN void coir__backtrace_of(struct coir__backtrace *bt, struct coir__fiber *f);

/* Of what the calling signal handler has interrupted. */
COIR_HIDDEN void coir__backtrace_interrupted(struct coir__backtrace *bt);

#endif
