/* sched/timer.h - a worker's deadlines, earliest first.
 * SPDX-License-Identifier: MIT
 *
 * A timer lives on the stack of the fiber that waits; so there are as many as there are waits, and
 * adding one cannot fail. They form a pairing heap: adding costs one comparison, taking one off
 * that has no children (the usual end of an I/O timeout) unlinks it. Callers: the owning worker
 * only. */
#ifndef COIR_SCHED_TIMER_H
#define COIR_SCHED_TIMER_H

#include "fiber.h"

struct coir__timer {
    int64_t when_ns;
    struct coir__waiter *waiter; /* whose stop(ETIMEDOUT) is due then */
    struct coir__timer *child;   /* first of its children */
    struct coir__timer *next;    /* next sibling */
    struct coir__timer
        *prev; /* previous sibling; the parent when it is the first child; NULL: root */
    bool armed;
};

COIR_HIDDEN void coir__timer_add(struct coir__worker *w, struct coir__timer *t, int64_t when_ns,
                                 struct coir__waiter *waiter);
/* Take it off if it is armed. */
COIR_HIDDEN void coir__timer_remove(struct coir__worker *w, struct coir__timer *t);
/* Stop the waits whose time has come. */
COIR_HIDDEN void coir__timer_expire(struct coir__worker *w, int64_t now_ns);
/* When the first is due; COIR__NEVER when there is none. */
COIR_HIDDEN int64_t coir__timer_first(const struct coir__worker *w);

#endif
