/* sched/steal.h - which worker a fresh fiber runs on. Started ones stay where they are.
 * SPDX-License-Identifier: MIT
 *
 * Stealing   is late: fibers that talk to each other are better off together, and one worker
 *            starts thousands of them in the time it takes to wake another. So an idle worker only
 *            watches, at intervals, and steals half of a queue when nothing has been started there
 *            since, or when what waits there will take long at the pace that it sees. One worker
 *            watches at a time. A thief that found its catch not worth the trouble waits longer
 *            next time.
 * Watching   begins when a fresh fiber is queued where none was, and a worker sleeps
 *            (coir__steal_invite), or when a worker that becomes idle finds some waiting. It ends
 *            when nothing has waited for a while: an idle program does not wake up.
 * Placement  long-lived fibers would all stay where they were accepted if each is started at once.
 *            So a worker that has had many more started fibers than another for some time sends
 *            the next fresh ones there, for as long as that helps. */
#ifndef COIR_SCHED_STEAL_H
#define COIR_SCHED_STEAL_H

#include "worker.h"

/* A fresh fiber waits on w, the caller, where none was. Several workers. */
COIR_HIDDEN void coir__steal_invite(struct coir__worker *w);

/* w, the caller, has nothing to do. When it should look again; COIR__NEVER: it may sleep. It may
 * have fresh fibers now. */
COIR_HIDDEN int64_t coir__steal_when_idle(struct coir__worker *w, int64_t now_ns);

/* w, the caller, has something to do. */
COIR_HIDDEN void coir__steal_when_busy(struct coir__worker *w);

/* Is there something that w, the caller, would have to watch before it sleeps? */
COIR_HIDDEN bool coir__steal_must_look(struct coir__worker *w);

/* Compare loads, now and then. w: the caller. */
COIR_HIDDEN void coir__place_review(struct coir__worker *w, int64_t now_ns);

/* Send a fresh fiber of w, the caller, to where there are fewer. False: it has to stay. */
COIR_HIDDEN bool coir__place_away(struct coir__worker *w, struct coir__fiber *f);

#endif
