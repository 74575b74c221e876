/* coir/sync.h - locks and the like, between fibers of any workers and plain threads, in any mix;
 * and values of one's own.
 * SPDX-License-Identifier: MIT
 *
 * Objects   are valid when all their bytes are 0 (but a barrier), need no destroying, and may be
 *           freed or reused as soon as the last call on them has returned, also while the one it
 *           woke is still returning, and while the one that woke it is. They may not be moved or
 *           copied in use.
 * Order     waiters are served in the order in which they came, and what is released is handed to
 *           the waiter, not put up for grabs. Only a mutex goes to those on the worker that unlocks
 *           it before older ones elsewhere, past the oldest of them at most 4000 times, and for two
 *           milliseconds or so, or up to 32 turns more, if they take long.
 * Failure   is -1 with ETIMEDOUT or ECANCELED, at the deadline or cancel of the caller. Calls that
 *           return void, and coir_cond_wait's way back into the mutex, wait whatever happens. A
 *           deadline given as an argument is absolute; the caller's own, if earlier, holds as well.
 *           A call that failed has changed nothing. When what was waited for and the deadline or
 *           cancel come together, the call may succeed: nothing is lost.
 * Memory    what one did before unlock, post, done, ... is seen by who could go on because of it.
 *
 * The effect of a mistake is undefined. With DEBUG=1 (make) the library names most, such as
 * unlocking what one does not have, on stderr, and aborts. Not these: a reader that locks for
 * writing, a once within itself and a fiber that ends with a mutex have somebody wait for ever; and
 * an unlock by one who does not read, while others do, is not noticed. */
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

/* As coir_mutex_lock, until deadline_ns. Parks. Returns 0, or -1 ETIMEDOUT, ECANCELED; a free mutex
 * is taken also after deadline_ns, but not after the caller's own deadline. */
COIR_API COIR_NODISCARD int coir_mutex_timedlock(coir_mutex *mutex, int64_t deadline_ns);

/* Take it unless somebody has it. Never parks, also after a cancel. Returns 0, or -1 EBUSY. */
COIR_API COIR_NODISCARD int coir_mutex_trylock(coir_mutex *mutex);

/* Hand it to a waiter, or make it free. Never parks. */
COIR_API void coir_mutex_unlock(coir_mutex *mutex);

/* Waiting until something that a mutex guards has changed. */
typedef struct coir_cond {
    uint64_t opaque[2];
} coir_cond;
#define COIR_COND_INIT COIR_ZERO_ARRAY_

/* Unlock mutex, which the caller has, wait for a signal, and lock it again, all signals after the
 * unlock counting. There are no wake-ups without a signal, but others may have had the mutex
 * meanwhile, so ask again for what is waited for. Waiters of one condition may use different
 * mutexes. Parks.
 * Returns  0; -1 ETIMEDOUT, ECANCELED. The caller has the mutex in every case; one that was
 *          cancelled or late before the call has not let go of it. */
COIR_API COIR_NODISCARD int coir_cond_wait(coir_cond *cond, coir_mutex *mutex);
COIR_API COIR_NODISCARD int coir_cond_timedwait(coir_cond *cond, coir_mutex *mutex,
                                                int64_t deadline_ns);

/* Wake the oldest waiter, or all who wait at this moment. Each gets its mutex in turn, and wakes up
 * then. The caller need not have the mutex. Never parks. */
COIR_API void coir_cond_signal(coir_cond *cond);
COIR_API void coir_cond_broadcast(coir_cond *cond);

/* One who writes, or many who read. Who finds others waiting waits behind them, readers too: so a
 * reader that locks it once more deadlocks when a writer has come in between. It cannot be turned
 * from reading to writing, or back: a reader that locks it for writing, and a writer that locks it
 * once more, for either, wait for themselves. */
typedef struct coir_rwlock {
    uint64_t opaque[4];
} coir_rwlock;
#define COIR_RWLOCK_INIT COIR_ZERO_ARRAY_

/* Park until the caller may read, or write; neither cancel nor deadline end that. */
COIR_API void coir_rwlock_rdlock(coir_rwlock *lock);
COIR_API void coir_rwlock_wrlock(coir_rwlock *lock);

/* The same, until deadline_ns. Park. Return 0, or -1 ETIMEDOUT, ECANCELED; as coir_mutex_timedlock.
 */
COIR_API COIR_NODISCARD int coir_rwlock_timedrdlock(coir_rwlock *lock, int64_t deadline_ns);
COIR_API COIR_NODISCARD int coir_rwlock_timedwrlock(coir_rwlock *lock, int64_t deadline_ns);

/* Unless that means waiting. Never park, also after a cancel. Return 0, or -1 EBUSY. */
COIR_API COIR_NODISCARD int coir_rwlock_tryrdlock(coir_rwlock *lock);
COIR_API COIR_NODISCARD int coir_rwlock_trywrlock(coir_rwlock *lock);

/* The caller reads, or writes, no more. Whoever is next in turn gets it: a writer, or all readers
 * up to the next writer. Never parks. */
COIR_API void coir_rwlock_unlock(coir_rwlock *lock);

/* A number of things to be had. */
typedef struct coir_sem {
    uint64_t opaque[2];
} coir_sem;
#define COIR_SEM_INIT(n)                                                                           \
    {                                                                                              \
        {                                                                                          \
            (n), 0                                                                                 \
        }                                                                                          \
    }

/* Begin with n: as COIR_SEM_INIT, for an object nobody uses. */
COIR_API void coir_sem_init(coir_sem *sem, unsigned n);

/* Take one. Parks while there is none. Returns 0, or -1 ETIMEDOUT, ECANCELED. */
COIR_API COIR_NODISCARD int coir_sem_wait(coir_sem *sem);

/* Take one if there is one. Never parks, also after a cancel. Returns 0, or -1 EAGAIN. */
COIR_API COIR_NODISCARD int coir_sem_trywait(coir_sem *sem);

/* Give one: to the oldest waiter, if any. Never parks. */
COIR_API void coir_sem_post(coir_sem *sem);

/* A number of parties that wait for each other, again and again. Not valid when zeroed. */
typedef struct coir_barrier {
    uint64_t opaque[4];
} coir_barrier;

/* For an object nobody uses. Returns 0, or -1 EINVAL: parties is 0. */
COIR_API int coir_barrier_init(coir_barrier *barrier, unsigned parties);

/* Wait until so many are waiting; the next round may begin at once. Parks.
 * Returns  1 for one of them, 0 for the others; -1 ETIMEDOUT, ECANCELED: the caller does not count,
 *          and the others wait on for somebody in its place. */
COIR_API COIR_NODISCARD int coir_barrier_wait(coir_barrier *barrier);

/* Whether something has been done. */
typedef struct coir_once_flag {
    uint64_t opaque[1];
} coir_once_flag;
#define COIR_ONCE_INIT COIR_ZERO_ARRAY_

/* Call fn, if nobody has for this flag; when it returns, fn has returned. fn may park, runs on the
 * caller, must return, and must not come here with the same flag. Parks while another calls it;
 * neither cancel nor deadline end that. */
COIR_API void coir_once(coir_once_flag *flag, void (*fn)(void));

/* Waiting until all of a number of things are done. */
typedef struct coir_waitgroup {
    uint64_t opaque[2];
} coir_waitgroup;
#define COIR_WAITGROUP_INIT COIR_ZERO_ARRAY_

/* n more things to do. Before whoever does them could be done, and before the wait. Never parks. */
COIR_API void coir_waitgroup_add(coir_waitgroup *wg, unsigned n);

/* One of them is done. The last one wakes all who wait. Never parks. */
COIR_API void coir_waitgroup_done(coir_waitgroup *wg);

/* Wait until nothing is left to do. Parks. Returns 0, at once if nothing is left; or -1 ETIMEDOUT,
 * ECANCELED, and may be called again. */
COIR_API COIR_NODISCARD int coir_waitgroup_wait(coir_waitgroup *wg);

/* The name of a value that each fiber, and each plain thread, has for itself. 0 is never one. */
typedef unsigned coir_key;

/* A new key, for which everybody's value is NULL. destructor, if not NULL, is called with a fiber's
 * value, if that is not NULL, when the fiber's function has returned, also if it was cancelled: on
 * the fiber, before anybody who joins it gets to know; and when a plain thread exits. It may make
 * any call; after a cancel those that park fail, but in a COIR_SHIELD. Values that destructors set
 * are destroyed likewise, up to four times over; what is left then is forgotten.
 * Never parks. Returns 0, or -1 EAGAIN: there are 1024 keys. */
COIR_API int coir_key_create(coir_key *key, void (*destructor)(void *value));

/* The key, and all its values, are no more; no destructor is called. Those that run at this moment
 * go on. Never parks. Returns 0, or -1 EINVAL: no such key. */
COIR_API int coir_key_delete(coir_key key);

/* The caller's value; NULL when it has set none, or when there is no such key. Never parks. */
COIR_API void *coir_getspecific(coir_key key);

/* Set the caller's value. Never parks. Returns 0, or -1 EINVAL: no such key; ENOMEM. */
COIR_API int coir_setspecific(coir_key key, const void *value);

COIR_END_DECLS

#endif
