/* sync/once.h - doing something once: coir_once.
 * SPDX-License-Identifier: MIT
 *
 * Word      0; ONCE_RUNNING and the list of those who wait, since there is room for no other word;
 *           ONCE_DONE for ever. */
#ifndef COIR_SYNC_ONCE_H
#define COIR_SYNC_ONCE_H

#include "waitq.h"

enum { COIR__ONCE_RUNNING = 2, COIR__ONCE_DONE = 4 };

struct coir__once {
    _Atomic uint64_t word;
};

/* Pairs with the release of coir__once_end(). */
static inline bool coir__once_is_done(struct coir__once *o)
{
    return atomic_load_explicit(&o->word, memory_order_acquire) & COIR__ONCE_DONE;
}

/* True: the caller has to do it, and to tell when it is done. False: it has been done. */
COIR_HIDDEN bool coir__once_begin(struct coir__once *o);
COIR_HIDDEN void coir__once_end(struct coir__once *o);

#endif
