/* coir/scope.h - scopes: fibers that end together.
 * SPDX-License-Identifier: MIT
 *
 *     coir_scope scope COIR_SCOPE_AUTO = COIR_SCOPE_INIT;
 *     if (coir_scope_open(&scope) < 0)
 *         return -1;
 *     for (int i = 0; i < n; i++)
 *         if (coir_scope_spawn(&scope, fetch_one, &pages[i]) < 0)
 *             return -1;
 *     return coir_scope_wait(&scope);
 *
 * No child outlives its scope: coir_scope_wait and coir_scope_close return only when the code of
 * every child has ended, so what the children use may be on the opener's stack, and the scope, too.
 * The first child that fails cancels the others, and is what coir_scope_wait reports.
 *
 * The opener, the fiber or plain thread that opened a scope, also waits for it, or closes it,
 * before it ends. A fiber may have several scopes open. When it is cancelled, all children of them
 * are cancelled at once, and all children of their scopes, whatever the fiber is doing. */
#ifndef COIR_SCOPE_H
#define COIR_SCOPE_H

#include <coir/fiber.h>

COIR_BEGIN_DECLS

/* The fields are the library's. A scope may not be moved or copied while it is open. */
typedef struct coir_scope {
    uint64_t opaque[12];
} coir_scope;

/* Not open: closing it does nothing. */
#define COIR_SCOPE_INIT COIR_ZERO_ARRAY_

/* After a variable's name, or before its type: at the end of the block, however it is left, the
 * scope is closed. Initialise it with COIR_SCOPE_INIT, so that this holds before it is opened. */
#define COIR_SCOPE_AUTO __attribute__((cleanup(coir_scope_close)))

enum {
    COIR_SCOPE_KEEP_GOING = 1 /* a child that fails neither cancels the others nor bothers the
                               * opener, for servers; coir_scope_wait still reports the first */
};

/* How to open. All zero is the default. */
typedef struct coir_scope_attr {
    unsigned flags;       /* COIR_SCOPE_KEEP_GOING, or 0 */
    unsigned fibers_max;  /* so many children run at a time, the others wait, in the order in which
                           * they were spawned; 0: no bound */
    uint64_t reserved[4]; /* 0 */
} coir_scope_attr;

/* Open a scope; attr may be NULL. What was in it before does not matter, unless it was open. One
 * that was waited for may be opened again. A fiber that is cancelled already, outside of
 * COIR_SHIELD, opens a cancelled scope.
 * Returns  0; -1 with EINVAL (attr), EBUSY the caller has it open. Never parks. */
COIR_API int coir_scope_open(coir_scope *scope);
COIR_API int coir_scope_open_with(coir_scope *scope, const coir_scope_attr *attr);

/* Start a child: a fiber that runs fn(arg), which returns 0, or -1 with errno when it has failed.
 * It inherits the caller's deadline. The caller is the opener, or a child, or whoever else sees to
 * it that the scope stays open meanwhile, such as by what a child waits for; on any worker, or a
 * plain thread. attr is as in coir_spawn_with, but without COIR_DETACHED; it may be NULL.
 * Returns  0, and then fn will run, even if it is cancelled before its start; -1 with ECANCELED the
 *          scope was cancelled, or a child has failed; ENOMEM; EAGAIN the runtime is ending; EINVAL
 *          the scope is not open, attr, or fn is NULL.
 * Parks    never, and works after the caller's deadline. With fibers_max the child may have to wait
 *          for its start, the caller does not.
 * Owns     arg passes to fn when the call succeeds. */
COIR_API COIR_NODISCARD int coir_scope_spawn(coir_scope *scope, int (*fn)(void *arg), void *arg);
COIR_API COIR_NODISCARD int coir_scope_spawn_with(coir_scope *scope, const coir_attr *attr,
                                                  int (*fn)(void *arg), void *arg);

/* Cancel all children, as coir_cancel does, and all in their scopes. By the same callers as
 * coir_scope_spawn. That children fail with ECANCELED from then on is no failure of the scope.
 * Returns  0; -1 EINVAL the scope is not open. Never parks. */
COIR_API int coir_scope_cancel(coir_scope *scope);

/* Wait until all children have ended; the scope is then no longer open. When the caller's deadline
 * passes, or it is cancelled, the children are cancelled, and the wait goes on until they have
 * ended.
 * Returns  0; -1 with the errno of the child that failed first, or, if that came first, ETIMEDOUT
 *          or ECANCELED from the caller's deadline or cancel; EINVAL, at once, the scope is not
 *          open or the caller is not the opener.
 * Parks    until the last child has ended.
 * Failure  of a child makes the call that the opener is parked in, and every later one that may
 *          park, fail with ECANCELED until it waits for that scope, unless the scope keeps going or
 *          the opener is a plain thread. */
COIR_API int coir_scope_wait(coir_scope *scope);

/* Cancel all children and wait until they have ended, also after the caller's deadline or cancel,
 * and inside COIR_SHIELD without its bound. Does nothing to a scope that is not open. Parks. */
COIR_API void coir_scope_close(coir_scope *scope);

COIR_END_DECLS

#endif
