/* coir/sync.h - locks and the like, between fibers of any workers and plain threads, in any mix.
 * SPDX-License-Identifier: MIT
 *
 * All of them are valid when all their bytes are 0, need no destroying, and may be freed or reused
 * as soon as the last call on them has returned, also while the one it woke is still returning.
 * They may not be moved or copied in use. Waiters are served in the order in which they came, and
 * what is released is handed to the waiter, not put up for grabs.
 *
 * Calls that fail, fail with ETIMEDOUT or ECANCELED, at the deadline or cancel of the caller; those
 * that return void, and cond's way back into the mutex, wait whatever happens. A deadline given as
 * an argument is absolute; the caller's own, if earlier, holds as well. A call that failed has
 * changed nothing.
 *
 * With DEBUG=1 (make) the library names a mistake, such as unlocking what one does not have, on
 * stderr, and aborts; otherwise its effect is undefined. */
#ifndef COIR_SYNC_H
#define COIR_SYNC_H

#include <coir/base.h>

COIR_BEGIN_DECLS

/* Mutual exclusion. Who locked it unlocks it; it is not recursive. */
typedef struct coir_mutex {
    uint64_t opaque[2];
} coir_mutex;
#define COIR_MUTEX_INIT COIR_ZERO_ARRAY_

/* Parks until the mutex is the caller's; neither cancel nor deadline end that. */
COIR_API void coir_mutex_lock(coir_mutex *mutex);

/* As coir_mutex_lock, until deadline_ns. Parks. Returns 0, or -1 ETIMEDOUT, ECANCELED. */
COIR_API COIR_NODISCARD int coir_mutex_timedlock(coir_mutex *mutex, int64_t deadline_ns);

/* Take it unless somebody has it. Never parks, also after a cancel. Returns 0, or -1 EBUSY. */
COIR_API COIR_NODISCARD int coir_mutex_trylock(coir_mutex *mutex);

/* Hand it to the oldest waiter, or make it free. Never parks. */
COIR_API void coir_mutex_unlock(coir_mutex *mutex);

COIR_END_DECLS

#endif
