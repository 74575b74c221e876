/* coir/time.h - the clock, and deadlines that bound whole stretches of code.
 * SPDX-License-Identifier: MIT
 *
 * A fiber has one deadline, COIR_NEVER at first, that bounds every call it makes; fibers it spawns
 * inherit it. A plain OS thread has one too, of its own. Deadlines are level-triggered: once
 * passed, every call that may park fails at once with ETIMEDOUT, until the deadline is set anew or
 * the block that narrowed it ends. Nothing here parks. */
#ifndef COIR_TIME_H
#define COIR_TIME_H

#include <coir/base.h>

COIR_BEGIN_DECLS

/* The deadline that never comes. */
#define COIR_NEVER INT64_MAX
/* Durations in nanoseconds, from microseconds, milliseconds and seconds. */
/* clang-format off */
#define COIR_US(n)  (COIR_INT64_(n) * 1000)
#define COIR_MS(n)  (COIR_INT64_(n) * 1000000)
#define COIR_SEC(n) (COIR_INT64_(n) * 1000000000)
/* clang-format on */

/* Now, in ns of CLOCK_MONOTONIC. */
COIR_API int64_t coir_now(void);

/* The moment ns from now, as a deadline: COIR_NEVER when ns is COIR_NEVER or the sum would
 * overflow. */
COIR_API int64_t coir_after(int64_t ns);

/* The caller's deadline; COIR_NEVER when it has none. */
COIR_API int64_t coir_deadline(void);

/* Set the caller's deadline, also to a later one, and return the previous one. Meant for restoring
 * and for detaching from an inherited deadline; to bound a piece of code use COIR_TIMEOUT. */
COIR_API int64_t coir_deadline_set(int64_t deadline_ns);

/* Set the caller's deadline to the earlier of the present one and deadline_ns, and return the
 * previous one. */
COIR_API int64_t coir_deadline_narrow(int64_t deadline_ns);

/* 1 when the caller's deadline has passed, else 0. */
COIR_API int coir_deadline_passed(void);

/* What COIR_TIMEOUT and COIR_SHIELD keep to put things back. The fields are theirs. */
typedef struct coir_guard {
    int64_t deadline_ns;
    uint64_t shield;
} coir_guard;
COIR_API coir_guard coir_timeout_enter(int64_t ns);
COIR_API coir_guard coir_shield_enter(int64_t ns);
COIR_API void coir_guard_leave(coir_guard *guard);

#define COIR_CAT_(a, b) a##b
#define COIR_CAT(a, b)  COIR_CAT_(a, b)
#define COIR_GUARD_(g, enter)                                                                      \
    for (coir_guard g __attribute__((cleanup(coir_guard_leave))) = enter, *COIR_CAT(g, _on) = &g;  \
         COIR_CAT(g, _on); COIR_CAT(g, _on) = NULL)

/* COIR_TIMEOUT(ns) { ... }  bounds the block: the deadline becomes the earlier of the present one
 * and ns from now, and the previous one comes back when the block ends, however it ends: break and
 * continue leave the block, return and goto leave it too, a C++ exception unwinds it. longjmp out
 * of it is undefined. Ask errno == ETIMEDOUT of the call that failed. */
#define COIR_TIMEOUT(ns) COIR_GUARD_(COIR_CAT(coir_guard_, __COUNTER__), coir_timeout_enter(ns))

/* COIR_SHIELD(ns) { ... }  lets clean-up code run after a cancel or past a deadline: inside,
 * neither is seen; the block's own deadline is ns from now. The same rules for leaving as
 * COIR_TIMEOUT. */
#define COIR_SHIELD(ns) COIR_GUARD_(COIR_CAT(coir_guard_, __COUNTER__), coir_shield_enter(ns))

COIR_END_DECLS

#endif
