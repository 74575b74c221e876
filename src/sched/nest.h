/* sched/nest.h - what sched asks of scopes, which are further up (sync/scope.c): fibers and scopes
 * are a tree, in which the end of a child and the cancel of a fiber are told on.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_SCHED_NEST_H
#define COIR_SCHED_NEST_H

#include "fiber.h"

struct coir__worker;

/* A child has ended, and nothing of it is left but its record; the caller is its home. From here on
 * the scope may be gone. */
COIR_HIDDEN void coir__scope_child_ended(struct coir__fiber *f);

/* f, which does not end meanwhile, was cancelled. True: it has scopes open; until the caller has
 * called coir__scopes_cancel it keeps them, and so does not end. */
COIR_HIDDEN bool coir__scopes_hold(struct coir__fiber *f);

/* Cancel them, and all that is below. */
COIR_HIDDEN void coir__scopes_cancel(struct coir__fiber *f);

#endif
