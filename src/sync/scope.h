/* sync/scope.h - scopes: fibers that end together.
 * SPDX-License-Identifier: MIT
 *
 * Tree      a scope has its opener, a fiber or a plain thread, and its children; a fiber has the
 *           scopes that it opened. Who needs the locks of several takes them from the root down: a
 *           scope's word, a child's `scopes` (sched/fiber.h), the words of those scopes.
 * Child     in its scope's list from spawn to end, which it leaves under the word, when nothing of
 *           it is left but the record. So who has the word may cancel the children, and their
 *           openers do not end either.
 * Order     the list is as they were spawned; those from `held` on have not been started.
 * Waiting   the opener's wait ends only when the list is empty: the last child claims it. Deadline
 *           and cancel make the opener cancel the children, and wait on. */
#ifndef COIR_SYNC_SCOPE_H
#define COIR_SYNC_SCOPE_H

#include "waitq.h"

#include "sched/runtime.h"

/* In the word, above COIR__WORD_BUSY. 0: not open. */
enum {
    COIR__SCOPE_OPEN = 2,
    COIR__SCOPE_KEEPS_GOING = 4,
    COIR__SCOPE_SHIELDED = 8,   /* opened in a COIR_SHIELD: what cancels the opener spares it */
    COIR__SCOPE_CANCELLED = 16, /* all children were, and who comes later is refused */
    COIR__SCOPE_HAS_FAILED = 32,
    COIR__SCOPE_WAITING = 64, /* the opener is about to leave: no need to tell it of a failure */
};

struct coir__scope {
    _Atomic uint64_t word;             /* of all that follows */
    uint64_t opener;                   /* as in waitq.h: constant */
    struct coir__scope *outer;         /* the opener's next one, with its `scopes` */
    struct coir__fiber *oldest, *last; /* the children */
    struct coir__fiber *held;          /* the first that is not started; NULL: all are */
    struct coir__waiter *waiter;       /* the opener's */
    uint32_t started, fibers_max;      /* 0: no bound */
    int32_t error;                     /* the first: a child's, or why the opener did not wait */
};

/* 0, or -EBUSY: the calling fiber has it open. flags: COIR__SCOPE_KEEPS_GOING. */
COIR_HIDDEN int coir__scope_open(struct coir__scope *s, unsigned flags, uint32_t fibers_max);

/* how->fn is an int (*)(void *). rt: as in coir__spawn. -EINVAL, -ECANCELED, or as there. */
COIR_HIDDEN int coir__scope_spawn(struct coir__scope *s, struct coir__runtime *rt,
                                  struct coir__spawn *how);

/* 0, -EINVAL. */
COIR_HIDDEN int coir__scope_cancel(struct coir__scope *s);

/* 0, or -errno. close: cancel first, and do not check. */
COIR_HIDDEN int coir__scope_wait(struct coir__scope *s, bool close);

#endif
