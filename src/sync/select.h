/* sync/select.h - one wait for the first of several things: coir_select.
 * SPDX-License-Identifier: MIT
 *
 * A case is one thing to wait for, and its kind brings three functions. A select looks at all cases
 * in random order, and the first that can happen does. When none can, it enters them one by one,
 * and parks; all of them wake the one waiter, which only one can claim. Then it leaves what it has
 * entered, and looks again, unless who claimed it has made a case happen himself.
 *
 * No two objects are locked at once, so no order of locks is needed, and no bias is revoked. A case
 * that could have happened after the look is seen by enter, which then does not enter; one that can
 * after it, by whoever makes it so, in the object's list of waiters.
 *
 * A waiter may be claimed, and its wake be on the way, before its fiber has parked. From another
 * worker it comes as mail, which is read once the fiber has left; on this one, the fiber is still
 * running. A fiber that could move to another worker would need more. */
#ifndef COIR_SYNC_SELECT_H
#define COIR_SYNC_SELECT_H

#include "waitq.h"

/* The public coir_case. */
struct coir__case {
    uint32_t kind; /* enum coir__case_kind */
    int32_t result;
    int32_t error;
    int32_t fd;
    uint32_t events;
    uint32_t reserved0;
    void *on; /* NULL: it never happens */
    const void *src;
    void *dst;
    int64_t deadline_ns;
    struct coir__wait_entry entry; /* claimed: who claimed the waiter has made the case happen */
    void *own;                     /* the kind's */
    uint32_t order;                /* cases[k].order is the k-th to look at */
    uint32_t reserved1;
} __attribute__((may_alias)); /* with the public one, whose last fields are numbers */

enum coir__case_kind {
    COIR__CASE_SEND = 1,
    COIR__CASE_RECV,
    COIR__CASE_FD,
    COIR__CASE_JOIN,
    COIR__CASE_AWAIT,
    COIR__CASE_TIMER,
    COIR__CASE_SIGNAL,
    COIR__CASE_KINDS,
};

struct coir__select_kind {
    /* If the case can happen now, have it happen, and set result and error to what the single call
     * would have returned: 1. Else 0. -errno: the select fails. Nobody knows of its waiter yet, or
     * any more. */
    int (*look)(struct coir__case *c);
    /* NULL, with leave: it is seen to otherwise. If the case can happen now: 1. Else have the
     * object's next change claim waiter, by coir__waiter_claim_listed: 0. -errno: the select
     * fails. */
    int (*enter)(struct coir__case *c, struct coir__waiter *waiter);
    /* Entered: from its return on nobody touches waiter or the case. When entry.claimed, result and
     * error are set. */
    void (*leave)(struct coir__case *c, struct coir__waiter *waiter);
};

/* What takes part besides the cases, on behalf of some of them; entered before all of them, when
 * nobody knows of the waiter yet, and left after them: both may park. */
struct coir__select_beside {
    int (*enter)(struct coir__select_beside *b, struct coir__waiter *waiter); /* as a kind's */
    void (*leave)(struct coir__select_beside *b);
};

/* Wait until one of n cases has happened: its index; or -ETIMEDOUT (until_ns; 0: only look),
 * -ECANCELED, what enter said. kinds: by coir__case_kind. beside: or NULL. */
COIR_HIDDEN long coir__select(struct coir__case *cases, uint32_t n, int64_t until_ns,
                              const struct coir__select_kind *const *kinds,
                              struct coir__select_beside *beside);

/* The cases of a fiber that is parked with COIR__WHY_SELECT. NULL: it only waits until what it has
 * given up is over. By its home worker. */
COIR_HIDDEN const struct coir__case *coir__select_view(const struct coir__waiter *waiter,
                                                       uint32_t *n);

COIR_HIDDEN extern const struct coir__select_kind coir__select_send, coir__select_recv,
    coir__select_join, coir__select_timer, coir__select_await;

#endif
