/* api/scope.c - coir/scope.h.
 * SPDX-License-Identifier: MIT */
#include "edge.h"

#include "sync/scope.h"

_Static_assert(sizeof(struct coir__scope) <= sizeof(coir_scope), "room for it");

static struct coir__scope *scope_of(coir_scope *scope)
{
    return (struct coir__scope *)scope;
}

int coir_scope_open(coir_scope *scope)
{
    return coir_scope_open_with(scope, NULL);
}

static int open_with(coir_scope *scope, const coir_scope_attr *attr)
{
    if (!attr)
        return coir__scope_open(scope_of(scope), 0, 0);
    const uint64_t *r = attr->reserved;
    if (attr->flags & ~(unsigned)COIR_SCOPE_KEEP_GOING || r[0] | r[1] | r[2] | r[3])
        return -EINVAL;
    return coir__scope_open(scope_of(scope), attr->flags ? COIR__SCOPE_KEEPS_GOING : 0,
                            attr->fibers_max);
}

int coir_scope_open_with(coir_scope *scope, const coir_scope_attr *attr)
{
    return (int)coir__edge(open_with(scope, attr));
}

static int spawn(coir_scope *scope, const coir_attr *attr, int (*fn)(void *), void *arg)
{
    struct coir__spawn how = { .arg = arg };
    struct coir__runtime *rt = NULL;
    how.fn = (void *(*)(void *))(void (*)(void))fn;
    int err = fn ? coir__attr_read(attr, &how) : -EINVAL;
    if (err == 0 && !coir__fiber_self())
        err = coir__host_runtime_enter(&rt);
    if (err < 0)
        return err;
    err = coir__scope_spawn(scope_of(scope), rt, &how);
    if (rt)
        coir__host_runtime_leave(rt);
    return err;
}

int coir_scope_spawn_with(coir_scope *scope, const coir_attr *attr, int (*fn)(void *), void *arg)
{
    return (int)coir__edge(spawn(scope, attr, fn, arg));
}

int coir_scope_spawn(coir_scope *scope, int (*fn)(void *), void *arg)
{
    return (int)coir__edge(spawn(scope, NULL, fn, arg));
}

int coir_scope_cancel(coir_scope *scope)
{
    return (int)coir__edge(coir__scope_cancel(scope_of(scope)));
}

int coir_scope_wait(coir_scope *scope)
{
    return (int)coir__edge(coir__scope_wait(scope_of(scope), false));
}

void coir_scope_close(coir_scope *scope)
{
    KEEPING_ERRNO(coir__scope_wait(scope_of(scope), true));
}
