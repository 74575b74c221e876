/* sched/park.h - the one door between running and waiting; only park.c calls coir__arch_switch.
 * SPDX-License-Identifier: MIT
 *
 * Invariant: no other thread can find a fiber before its registers are saved. */
#ifndef COIR_SCHED_PARK_H
#define COIR_SCHED_PARK_H

#include "fiber.h"

/* Stop the current fiber until coir__wake(). `after` (or NULL) runs on the NEXT stack, once this
 * one is saved: do there whatever lets another thread find us (unlock, enqueue). It must not park.
 * `why` is what a dump prints. */
COIR_HIDDEN void coir__park(enum coir__why why, void (*after)(void *), void *arg);

/* Let the others of this worker run. */
COIR_HIDDEN void coir__yield(void);
/* The same, and first the worker looks at the clock, its inbox and the engine. */
COIR_HIDDEN void coir__yield_tick(void);

/* The tick ends as soon as the current fiber parks; or later. */
COIR_HIDDEN void coir__end_tick(void);

/* Make f READY. Any thread; never parks or allocates. f may have run, ended and been freed by the
 * time this returns. */
COIR_HIDDEN void coir__wake(struct coir__fiber *f);

/* Where every fiber begins, on its own stack. */
COIR_HIDDEN void coir__fiber_main(void);

/* A stack may be free again: give it to the fresh fiber that waits for one. */
COIR_HIDDEN void coir__unstarve(struct coir__worker *w);

/* The worker's loop gives way to a ready fiber, if there is one; returns when the fibers have had
 * their turn. */
COIR_HIDDEN void coir__run_fibers(struct coir__worker *w);

#endif
