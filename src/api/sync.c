/* api/sync.c - coir/sync.h.
 * SPDX-License-Identifier: MIT */
#include "edge.h"

#include "sync/mutex.h"

_Static_assert(sizeof(struct coir__mutex) == sizeof(coir_mutex), "room for it");

static struct coir__mutex *mutex_of(coir_mutex *mutex)
{
    return (struct coir__mutex *)mutex;
}

void coir_mutex_lock(coir_mutex *mutex)
{
    coir__mutex_lock(mutex_of(mutex));
}

int coir_mutex_timedlock(coir_mutex *mutex, int64_t deadline_ns)
{
    int err = coir__fiber_check(coir__fiber_self());
    if (err == 0 && !coir__mutex_take(mutex_of(mutex), coir__owner_self()))
        err = coir__mutex_timedlock_slowly(mutex_of(mutex), coir__wait_until(deadline_ns));
    return (int)coir__edge(err);
}

int coir_mutex_trylock(coir_mutex *mutex)
{
    return (int)coir__edge(coir__mutex_take(mutex_of(mutex), coir__owner_self()) ? 0 : -EBUSY);
}

void coir_mutex_unlock(coir_mutex *mutex)
{
    coir__mutex_unlock(mutex_of(mutex));
}
