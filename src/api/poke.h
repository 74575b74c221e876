/* api/poke.h - having a worker look at once, by a signal to its thread.
 * SPDX-License-Identifier: MIT
 *
 * The signal is SIGURG, which by default does nothing. Its handler is there from the first poke to
 * coir__poke_over, and gives what is not ours to the handler that was there before. Callers hold
 * the lock of coir__ask_begin. */
#ifndef COIR_API_POKE_H
#define COIR_API_POKE_H

#include "sched/worker.h"

/* Have w see what it is asked for, wherever it is. It may take a while, or not happen at all: then
 * w's thread blocks the signal, or is in a system call that cannot be interrupted. */
COIR_HIDDEN void coir__poke(struct coir__worker *w);

/* No more for now: put the handler back, if all pokes have arrived. */
COIR_HIDDEN void coir__poke_over(void);

#endif
