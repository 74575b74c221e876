/* api/overflow.h - catching stack overflows.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_API_OVERFLOW_H
#define COIR_API_OVERFLOW_H

#include "sched/worker.h"

/* Give the calling thread an alternate signal stack, if it has none, and the process the handler.
 * 0, or -errno. */
COIR_HIDDEN int coir__overflow_enter(struct coir__worker *w);
COIR_HIDDEN void coir__overflow_leave(struct coir__worker *w);

#endif
