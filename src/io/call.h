/* io/call.h - ops by system calls that may wait, on threads. For the engines.
 * SPDX-License-Identifier: MIT
 *
 * Threads   a call takes place on one for files, which always come to an end, or on one for what
 *           may wait for ever: terminals, FIFOs, children, and whatever else is neither told not to
 *           wait nor ready. There only the last instant is at risk: it was ready when the thread
 *           began.
 * Stop      an op in a pool's queue is over at once. A call for ever is interrupted by a signal,
 *           again and again until it is over; one of a file is awaited. */
#ifndef COIR_IO_CALL_H
#define COIR_IO_CALL_H

#include "op.h"

/* May op take for ever, until somebody else does something? */
COIR_HIDDEN bool coir__call_may_wait(const struct coir__op *op);

/* Have a thread do op. Without a thread, or memory, a file's op is done right here; what may wait
 * for ever fails. */
COIR_HIDDEN void coir__call_start(struct coir__worker *w, struct coir__op *op);

/* An op on a thread, phase COIR__OP_ON_THREAD, is to end early. */
COIR_HIDDEN void coir__call_stop(struct coir__worker *w, struct coir__op *op);

/* Those that are to end and have not: once more. until_ns, or when to come back for it. */
COIR_HIDDEN int64_t coir__call_stop_again(struct coir__worker *w, int64_t until_ns);

/* For base.c: the first of this worker's calls may come, and the last is over. */
COIR_HIDDEN void coir__calls_begin(void);
COIR_HIDDEN void coir__calls_end(struct coir__io *io);

#endif
