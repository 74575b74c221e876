/* api/future.c - coir/future.h.
 * SPDX-License-Identifier: MIT
 *
 * The fiber of an async has no reference: whoever drops the last one waits for its end, and frees.
 * The fiber is through with the future when that is done. */
#include "edge.h"

#include "sync/future.h"

#include <limits.h>
#include <stdlib.h>

struct coir_future {
    struct coir__future core; /* first */
    void (*drop)(void *value);
    void *(*fn)(void *);
    void *arg;
    bool abandoned; /* the fiber has dropped the last reference itself; it alone uses this */
};

static coir_future *make(void *(*fn)(void *), void *arg)
{
    coir_future *f = malloc(sizeof *f);
    if (f)
        *f = (coir_future){ .core.refs = 1, .fn = fn, .arg = arg };
    return f;
}

coir_future *coir_future_new(void)
{
    return make(NULL, NULL);
}

/* It is done, and nobody else has it. */
static void finish(coir_future *f)
{
    void *value = f->core.value;
    if (value && f->drop && !f->core.handed_out)
        f->drop(value);
    free(f);
}

/* Values of keys belong to what has to end before the future is done. */
static void *run_async(void *arg)
{
    coir_future *f = arg;
    void *value = f->fn(f->arg);
    int error = value == COIR_FAILED ? coir__failure() : 0;
    if (error == EINPROGRESS) /* that means: not done */
        error = EIO;
    struct coir__fiber *self = coir__fiber_self();
    if (self->has_values)
        coir__host_fiber_values_end(self);
    bool abandoned = f->abandoned;
    coir__future_end(&f->core, error ? NULL : value, error);
    if (abandoned)
        finish(f);
    return NULL;
}

bool coir__async_given_up(void *(*fn)(void *), void *arg)
{
    coir_future *f = arg;
    if (fn == run_async)
        coir__future_revoke(&f->core);
    return fn == run_async;
}

coir_future *coir_async_with(const coir_attr *attr, void *(*fn)(void *), void *arg)
{
    coir_future *f = fn ? make(fn, arg) : NULL;
    if (!f) {
        coir__edge(fn ? -ENOMEM : -EINVAL);
        return NULL;
    }
    f->core.detached = attr && attr->flags & COIR_DETACHED;
    f->core.fiber = coir_spawn_with(attr, run_async, f);
    if (!f->core.fiber) {
        KEEPING_ERRNO(free(f));
        return NULL;
    }
    return f;
}

coir_future *coir_async(void *(*fn)(void *), void *arg)
{
    return coir_async_with(NULL, fn, arg);
}

void coir_future_on_drop(coir_future *future, void (*drop)(void *value))
{
    if (future)
        future->drop = drop;
}

coir_future *coir_future_ref(coir_future *future)
{
    if (future)
        coir__future_ref(&future->core);
    return future;
}

/* Nobody else has a reference. */
static void cancel_async(coir_future *f)
{
    if (f->core.fiber && !coir__future_is_done(&f->core))
        coir__cancel(f->core.fiber);
}

/* The end of an async, whatever happens. EINVAL of the join: its runtime has ended without it, or
 * somebody who got its handle has joined or detached it; it may be running still. */
static void await_end(coir_future *f)
{
    int error;
    coir_guard shield = coir_shield_enter(COIR_NEVER);
    if (!coir__future_is_done(&f->core))
        coir__future_wait_slowly(&f->core, COIR_NEVER);
    if (!f->core.detached)
        coir__join(f->core.fiber, NULL, &error);
    coir_guard_leave(&shield);
}

static void end(coir_future *f)
{
    if (f->core.fiber)
        await_end(f);
    finish(f);
}

/* A fiber that drops the last reference to its own future cannot wait for its end. */
static bool abandon(coir_future *f)
{
    struct coir__fiber *self = coir__fiber_self();
    if (!self || coir__future_fiber(&f->core) != self)
        return false;
    f->abandoned = true;
    if (!f->core.detached)
        coir__detach(f->core.fiber);
    return true;
}

void coir_future_free(coir_future *future)
{
    if (!future || !coir__future_unref(&future->core) || abandon(future))
        return;
    cancel_async(future);
    KEEPING_ERRNO(end(future));
}

void coir_future_free_all(coir_future **futures, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (futures[i] && coir__future_unref(&futures[i]->core) && !abandon(futures[i]))
            cancel_async(futures[i]);
        else
            futures[i] = NULL;
    }
    for (size_t i = 0; i < n; i++) {
        if (futures[i])
            KEEPING_ERRNO(end(futures[i]));
        futures[i] = NULL;
    }
}

int coir_future_set(coir_future *future, void *value)
{
    if (!future || future->core.fiber)
        return (int)coir__edge(-EINVAL);
    return (int)coir__edge(coir__future_decide(&future->core, value, 0));
}

int coir_future_fail(coir_future *future, int err)
{
    if (!future || future->core.fiber || err <= 0 || err == EINPROGRESS)
        return (int)coir__edge(-EINVAL);
    return (int)coir__edge(coir__future_decide(&future->core, NULL, err));
}

int coir_future_cancel(coir_future *future)
{
    if (!future)
        return (int)coir__edge(-EINVAL);
    if (future->core.fiber)
        cancel_async(future);
    else
        coir__future_revoke(&future->core);
    return 0;
}

int coir_future_error(const coir_future *future)
{
    struct coir__future *f = (struct coir__future *)future;
    if (!f)
        return EINVAL;
    return coir__future_is_done(f) ? f->error : EINPROGRESS;
}

void *coir_future_take(coir_future *future)
{
    int err = coir_future_error(future);
    if (err) {
        errno = err;
        return NULL;
    }
    return atomic_exchange_explicit(&future->core.value, NULL, memory_order_acq_rel);
}

/* Until it is done: 0, or the caller's failure. */
static inline int wait_for(coir_future *future)
{
    if (coir__future_is_done(&future->core))
        return 0;
    return coir__future_wait_slowly(&future->core, coir__fiber_deadline(coir__fiber_self()));
}

int coir_await(coir_future *future, void **value)
{
    int err = future ? coir__check() : -EINVAL;
    if (err == 0)
        err = wait_for(future);
    if (err == 0)
        err = coir__future_result(&future->core, value);
    return (int)coir__edge(err);
}

static bool has_null(coir_future *const *futures, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!futures[i])
            return true;
    return false;
}

static int await_all(coir_future *const *futures, size_t n, void **values)
{
    int err = has_null(futures, n) ? -EINVAL : coir__check();
    for (size_t i = 0; i < n && err == 0; i++)
        err = wait_for(futures[i]);
    for (size_t i = 0; i < n && err == 0; i++)
        err = -futures[i]->core.error;
    for (size_t i = 0; i < n && err == 0 && values; i++)
        coir__future_result(&futures[i]->core, &values[i]);
    return err;
}

int coir_await_all(coir_future *const *futures, size_t n, void **values)
{
    return (int)coir__edge(await_all(futures, n, values));
}

/* The core is the first in each. */
static struct coir__future *const *cores_of(coir_future *const *futures)
{
    return (struct coir__future *const *)futures;
}

static __attribute__((noinline)) long wait_for_any(coir_future *const *futures, size_t n)
{
    enum { FEW = 8 };
    int64_t deadline_ns = coir__fiber_deadline(coir__fiber_self());
    struct coir__wait_entry few[FEW];
    if (n <= FEW)
        return coir__future_wait_any(cores_of(futures), n, few, deadline_ns);
    struct coir__wait_entry *many = calloc(n, sizeof *many);
    if (!many)
        return -ENOMEM;
    long first = coir__future_wait_any(cores_of(futures), n, many, deadline_ns);
    free(many);
    return first;
}

static bool all_mine(coir_future *const *futures, size_t n)
{
    struct coir__fiber *self = coir__fiber_self();
    for (size_t i = 0; i < n; i++)
        if (!self || coir__future_fiber(&futures[i]->core) != self)
            return false;
    return true;
}

static int await_any(coir_future *const *futures, size_t n, void **value)
{
    if (n == 0 || n > INT_MAX || has_null(futures, n))
        return -EINVAL;
    long first = coir__check();
    if (first < 0)
        return (int)first;
    first = coir__future_find_done(cores_of(futures), n);
    if (first < 0)
        first = all_mine(futures, n) ? -EDEADLK : wait_for_any(futures, n);
    if (first >= 0 && coir__future_result(&futures[first]->core, value) < 0 && value)
        *value = NULL;
    return (int)first;
}

int coir_await_any(coir_future *const *futures, size_t n, void **value)
{
    return (int)coir__edge(await_any(futures, n, value));
}

/* All but the promises; waits for no more than the end of what fn did. */
static void end_all(coir_future *const *futures, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cancel_async(futures[i]);
    coir_guard shield = coir_shield_enter(COIR_NEVER);
    for (size_t i = 0; i < n; i++)
        if (futures[i]->core.fiber)
            wait_for(futures[i]);
    coir_guard_leave(&shield);
}

int coir_race(coir_future *const *futures, size_t n, void **value)
{
    int first = await_any(futures, n, value);
    if (first >= 0)
        end_all(futures, n);
    return (int)coir__edge(first);
}
