/* sched/dump.h - a look at every fiber of a worker, for dumps and the watchdog.
 * SPDX-License-Identifier: MIT
 *
 * What a parked fiber waits for lies on its stack, and only its home worker knows that it stays
 * parked meanwhile; so each worker looks at its own. Two ways:
 * By mail     in the worker's loop, some fibers a tick, so that the others run in between.
 * By signal   on a worker that does not come to its loop since a fiber computes, or has called
 *             something that blocks: the rest at once, in a handler on its thread.
 * In both nothing runs on that worker but the look. The place in the records is where both go on
 * from, and `busy` keeps the handler away from a look that it has interrupted.
 * Memory      the look is its caller's, who gives it up by coir__look_end. The mail is part of the
 *             worker, for it may be read long after. */
#ifndef COIR_SCHED_DUMP_H
#define COIR_SCHED_DUMP_H

#include "worker.h"

struct coir__look {
    /* Called by the worker for each record that is in use and at home with it, whatever its state.
     * In a signal handler, perhaps. */
    void (*see)(struct coir__look *look, struct coir__fiber *f);
    struct coir__worker *worker;
    uint64_t at;            /* sched/record.h: the worker's, until done */
    _Atomic uint32_t turns; /* how often the worker has been at it */
    _Atomic uint32_t done;  /* it has seen all: what it wrote is the caller's */
};

/* Ask look->worker, which exists at least until coir__look_end. Nobody else asks it meanwhile. */
COIR_HIDDEN void coir__look_begin(struct coir__look *look);

/* The worker sees the rest now; on its own thread, in its loop or a signal handler. before(arg) is
 * called first, unless the look is done or the worker at it: then false. */
COIR_HIDDEN bool coir__look_now(struct coir__worker *w,
                                void (*before)(struct coir__look *look, void *arg), void *arg);

/* The mail's, of every worker. */
COIR_HIDDEN void coir__look_mail(struct coir__worker *w, struct coir__mail_call *call);

/* Done or not: the worker will not touch it any more. */
COIR_HIDDEN void coir__look_end(struct coir__look *look);

#endif
