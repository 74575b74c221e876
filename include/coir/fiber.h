/* coir/fiber.h - fibers: spawn, join, detach, cancel, yield, sleep.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_FIBER_H
#define COIR_FIBER_H

#include <coir/base.h>

COIR_BEGIN_DECLS

/* A handle. It is no address: compare it, pass it back, never read through it. It is valid until a
 * join has succeeded or, when it was detached, the fiber has ended, and a stale one is an EINVAL,
 * not a crash, unless 65,535 fibers have had the same place since: then it may be taken for the
 * last of them. */
typedef struct coir_fiber coir_fiber;

enum {
    COIR_DETACHED = 1, /* nobody will join; inherits no deadline. The handle may only be compared
                        * with NULL. */
    COIR_SAVE_FPU = 2, /* rounding mode and the other floating-point control bits are this fiber's
                        * own. Without it they are the worker's: set and put back without parking
                        * in between. */
    COIR_SPREAD = 4    /* hand the fiber at once to one worker after another, the spawner's own
                        * among them, instead of always to that */
};

/* How to spawn. All zero is the default: COIR_ATTR_INIT. */
typedef struct coir_attr {
    const char *name;     /* copied; up to 15 bytes are kept; NULL: none. For dumps and messages. */
    size_t stack_bytes;   /* as in coir_options; 0: the runtime's */
    unsigned flags;       /* COIR_DETACHED, COIR_SAVE_FPU, COIR_SPREAD */
    unsigned reserved0;   /* 0 */
    int64_t deadline_ns;  /* 0: inherit the caller's; COIR_NEVER: none; not negative */
    uint64_t reserved[4]; /* 0 */
} coir_attr;
#define COIR_ATTR_INIT COIR_ZERO

/* What a fiber's function returns when it failed: join then fails with the errno it had (EIO when
 * that was not set). */
#define COIR_FAILED COIR_POINTER_(-1)

/* errno = err; return COIR_FAILED. For `return coir_fail(ENOENT);` in a fiber's function. */
COIR_API void *coir_fail(int err);

/* Start a fiber that runs fn(arg). On a plain thread without a runtime, one starts by itself, with
 * its own workers, and ends with the process.
 * Returns  a handle for coir_join or coir_detach; NULL with errno ENOMEM (memory or address space),
 *          EAGAIN (the runtime is ending), EINVAL (attr, or fn is NULL), or what coir_run would say
 *          when the runtime cannot start. After success fn will run, even if the fiber is cancelled
 *          before its start.
 * Order    first in, first out on each worker; but one that a fiber of that worker waits for (a
 *          join, an await, a scope's end) comes next, and after it those spawned later.
 * Parks    never, and works after the caller's cancel or deadline.
 * Owns     arg passes to fn when the call succeeds; attr is only read during the call. */
COIR_API coir_fiber *coir_spawn(void *(*fn)(void *), void *arg);
COIR_API coir_fiber *coir_spawn_with(const coir_attr *attr, void *(*fn)(void *), void *arg);

/* Wait for a fiber to end, and take its result (result may be NULL).
 * Returns  0; -1 with the fiber's errno when it returned COIR_FAILED. Both consume the handle. -1
 *          with ETIMEDOUT or ECANCELED from the caller's deadline or cancel leave it valid; EINVAL
 *          no fiber, already joined, detached, or somebody else is joining it; EDEADLK the caller
 *          itself. A fiber that failed with EINVAL, ... looks alike: have it fail with something
 *          else.
 * Parks    until the fiber has ended. */
COIR_API int coir_join(coir_fiber *fiber, void **result);

/* Give the handle up: the fiber's memory is freed when it ends.
 * Returns  0; -1 EINVAL no fiber, already joined or detached, or somebody is joining it. Parks
 *          never. */
COIR_API int coir_detach(coir_fiber *fiber);

/* Make the call that the fiber is parked in, and every later one that may park, fail with
 * ECANCELED, until the fiber ends, and cancel the children of its scopes (coir/scope.h), not the
 * fibers that it merely spawned. A request: an operation that has already moved data, or cannot
 * be stopped, completes first. Never parks.
 * Returns  0, also when it has ended; -1 EINVAL no fiber. */
COIR_API int coir_cancel(coir_fiber *fiber);

/* The calling fiber's handle; NULL on a plain thread. */
COIR_API coir_fiber *coir_self(void);

/* The calling fiber's name, "" when it has none or on a plain thread. The string lives as long as
 * the fiber. */
COIR_API const char *coir_name(void);

/* Let the other ready fibers of this worker run first. Parks, but neither cancel nor deadline end
 * it. On a plain thread: sched_yield(2). */
COIR_API void coir_yield(void);

/* Wait ns nanoseconds; 0 or less: only yield, and check.
 * Returns  0; -1 with ETIMEDOUT (the deadline comes first: it returns then) or ECANCELED. Parks. */
COIR_API int coir_sleep(int64_t ns);

/* nanosleep(2). remaining: NULL, or what is left when it fails with ETIMEDOUT or ECANCELED.
 * Returns  0; -1 with EINVAL (no time), ETIMEDOUT or ECANCELED. Parks. */
struct timespec;
COIR_API int coir_nanosleep(const struct timespec *time, struct timespec *remaining);

/* For loops that compute: has the caller been cancelled, or has its deadline passed?
 * Returns  0; -1 with ECANCELED or ETIMEDOUT. Never parks. */
COIR_API int coir_check(void);

/* Run fn(arg) on a thread of its own, for code that blocks, or computes for long, without knowing
 * of coir. The threads are the library's: at most 64 at a time, started when they are needed, and
 * ended when there was nothing to do for some seconds; more calls than that wait for their turn. On
 * a plain thread fn is simply called.
 * Returns  0, and in *result, unless that is NULL, what fn returned; -1 with fn's errno when that
 *          is COIR_FAILED, as for coir_join. -1 with ETIMEDOUT or ECANCELED: fn has not run, nor
 *          will it; EINVAL: fn is NULL; ENOMEM, EAGAIN: no thread could be started.
 * Parks    until fn has returned, whatever happens: so what arg points at may be on the caller's
 *          stack. A deadline or cancel that comes while fn runs is passed on to it: it is that
 *          thread's, and coir_check() and calls that wait tell fn of it as they begin. */
COIR_API int coir_blocking(void *(*fn)(void *arg), void *arg, void **result);

COIR_END_DECLS

#endif
