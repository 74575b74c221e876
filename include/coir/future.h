/* coir/future.h - futures: values that will be there, computed by a fiber or set by anyone.
 * SPDX-License-Identifier: MIT
 *
 * A future is done once: with a value, or failed with an errno. There are two kinds: an async's is
 * done by its fiber's end, a promise by coir_future_set and its kin. Any number of fibers and plain
 * threads may wait for one, and each of them gets the same.
 *
 * References    A future is kept by references: the one that made it, and one more for each
 *               coir_future_ref. Everybody who uses a future needs one, or must know that somebody
 *               else's lasts; whoever sets a promise may let the reference of the one who waits do,
 *               as long as that waits: a set does not touch the future once the waiter may go on.
 * Values        A value belongs to whoever has been handed it, by a call here that gave it out. One
 *               that nobody has been handed goes to the future's on_drop with the last reference.
 *               The future remembers a value that it handed out, and gives it to the next one who
 *               asks as well; coir_future_take takes it out.
 * Two errors    Calls that wait fail with ETIMEDOUT or ECANCELED at the deadline or cancel of the
 *               caller, also when they need not wait, and EDEADLK when an async waits for itself;
 *               coir_await and coir_await_all also with the errno of a future that failed.
 *               coir_future_error tells which it was.
 * Given up      A COIR_DETACHED async that outlasts its run's drain_ns fails with ECANCELED.
 * NULL          as a future is an EINVAL where a call can fail. */
#ifndef COIR_FUTURE_H
#define COIR_FUTURE_H

#include <coir/base.h>
#include <coir/fiber.h>

COIR_BEGIN_DECLS

/* Only a pointer to it is ever seen. */
typedef struct coir_future coir_future;

/* Start a fiber that runs fn(arg); what it returns is the future's value, or COIR_FAILED: then the
 * future fails with its errno, EIO when that was not set. As for coir_spawn: fn always runs, the
 * deadline is inherited, coir_run waits for it. With COIR_DETACHED it inherits no deadline, and
 * coir_run does not wait for it.
 * Returns  the future, with one reference; NULL with errno, as coir_spawn.
 * Parks    never.
 * Owns     arg passes to fn when the call succeeds. The fiber is the future's: whoever has got its
 *          handle (coir_self) must not join it; once detached, coir_run does not wait for it. */
COIR_API coir_future *coir_async(void *(*fn)(void *), void *arg);
COIR_API coir_future *coir_async_with(const coir_attr *attr, void *(*fn)(void *), void *arg);

/* Make a promise, with one reference. NULL: ENOMEM. Never parks. */
COIR_API coir_future *coir_future_new(void);

/* What becomes of a value that nobody is handed: drop(value), once, with the last reference, in
 * coir_future_free; not for a NULL. */
COIR_API void coir_future_on_drop(coir_future *future, void (*drop)(void *value));

/* One reference more. Returns future, also when it is NULL. */
COIR_API coir_future *coir_future_ref(coir_future *future);

/* Give a reference back. The last one of an async cancels its fiber, if it still runs, and returns
 * only when that has ended, whatever the caller's cancel or deadline: what fn uses may live on the
 * caller's stack. By the fiber itself: the future goes when that ends, and nothing is cancelled.
 * Nothing for NULL. Parks: the last one of an async. */
COIR_API void coir_future_free(coir_future *future);

/* The same for n of them, which become NULL; all that are to be cancelled are before any is waited
 * for. */
COIR_API void coir_future_free_all(coir_future **futures, size_t n);

/* Decide a promise: by a value, or failed with err (more than 0, and not EINPROGRESS). Never parks,
 * from any fiber or thread.
 * Returns  0: the value is the future's; -1, and it stays the caller's: EALREADY it was decided
 *          before; ECANCELED it was cancelled, or nobody is there to take it: the caller's is the
 *          last of several references and nobody waits, and then the future is cancelled; EINVAL it
 *          is an async's, or err is none. */
COIR_API int coir_future_set(coir_future *future, void *value);
COIR_API int coir_future_fail(coir_future *future, int err);

/* An async's: cancel its fiber, which may still succeed (coir_cancel). A promise: let it fail with
 * ECANCELED. Nothing when it is done. Never parks. Returns 0. */
COIR_API int coir_future_cancel(coir_future *future);

/* 0: done, with a value; EINPROGRESS: not done; else the errno it failed with. Never parks. */
COIR_API int coir_future_error(const coir_future *future);

/* Take the value out: it is the caller's, and for whoever asks later it is NULL. Never parks.
 * Returns  the value; NULL also when it was taken before, and, with errno, when the future is not
 *          done (EINPROGRESS) or has failed. */
COIR_API void *coir_future_take(coir_future *future);

/* Wait until future is done, and get its value (value may be NULL: then it is not handed out).
 * Returns  0; -1 with the future's errno when it failed, else with the caller's.
 * Parks    until it is done. */
COIR_API int coir_await(coir_future *future, void **value);

/* Wait for all n, also when one of them fails, and get their values (values may be NULL).
 * Returns  0, also for none; -1 with the errno of the first in the row that failed, or the
 *          caller's. Then nothing is handed out.
 * Parks    until all are done. */
COIR_API int coir_await_all(coir_future *const *futures, size_t n, void **values);

/* Wait until one is done, by success or failure: ask coir_future_error which. When several are, it
 * is the first in the row.
 * Returns  its index; value (may be NULL) is its value, NULL when it failed. -1 with the caller's
 *          errno, EINVAL n is 0, or ENOMEM.
 * Parks    until one is done. */
COIR_API int coir_await_any(coir_future *const *futures, size_t n, void **value);

/* The same, and then cancel the others and wait for their end, whatever happens to the caller.
 * Promises, which have no fiber to end, are left as they are. All n futures stay the caller's; when
 * it returns -1 none was cancelled. */
COIR_API int coir_race(coir_future *const *futures, size_t n, void **value);

COIR_END_DECLS

#endif
