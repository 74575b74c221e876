/* api/sync.c - coir/sync.h.
 * SPDX-License-Identifier: MIT */
#include "edge.h"

#include "sync/barrier.h"
#include "sync/cond.h"
#include "sync/mutex.h"
#include "sync/once.h"
#include "sync/rwlock.h"
#include "sync/sem.h"
#include "sync/waitgroup.h"

/* The public structures are bytes; what is in them is sync's. */
#define OBJECT(name, public)                                                                       \
    _Static_assert(sizeof(struct coir__##name) == sizeof(public), "room for it");                  \
    static struct coir__##name *name##_of(public *object)                                          \
    {                                                                                              \
        return (struct coir__##name *)object;                                                      \
    }

OBJECT(mutex, coir_mutex)
OBJECT(cond, coir_cond)
OBJECT(rwlock, coir_rwlock)
OBJECT(sem, coir_sem)
OBJECT(barrier, coir_barrier)
OBJECT(once, coir_once_flag)
OBJECT(waitgroup, coir_waitgroup)

void coir_mutex_lock(coir_mutex *mutex)
{
    if (__builtin_expect(!coir__mutex_take(mutex_of(mutex), coir__owner_self()), 0))
        KEEPING_ERRNO(coir__mutex_lock_slowly(mutex_of(mutex)));
}

int coir_mutex_timedlock(coir_mutex *mutex, int64_t deadline_ns)
{
    int err = coir__check();
    if (err == 0 && !coir__mutex_take(mutex_of(mutex), coir__owner_self()))
        err = coir__mutex_timedlock_slowly(mutex_of(mutex), coir__wait_until(deadline_ns));
    return (int)coir__edge(err);
}

int coir_mutex_trylock(coir_mutex *mutex)
{
    return (int)coir__edge(coir__mutex_trytake(mutex_of(mutex), coir__owner_self()) ? 0 : -EBUSY);
}

void coir_mutex_unlock(coir_mutex *mutex)
{
    coir__mutex_unlock(mutex_of(mutex));
}

static inline int wait_for(coir_cond *cond, coir_mutex *mutex, int64_t deadline_ns)
{
    int err = coir__check();
    if (err == 0)
        err = coir__cond_wait(cond_of(cond), mutex_of(mutex), coir__wait_until(deadline_ns));
    return (int)coir__edge(err);
}

int coir_cond_timedwait(coir_cond *cond, coir_mutex *mutex, int64_t deadline_ns)
{
    return wait_for(cond, mutex, deadline_ns);
}

int coir_cond_wait(coir_cond *cond, coir_mutex *mutex)
{
    return wait_for(cond, mutex, COIR_NEVER);
}

void coir_cond_signal(coir_cond *cond)
{
    coir__cond_signal(cond_of(cond));
}

void coir_cond_broadcast(coir_cond *cond)
{
    coir__cond_broadcast(cond_of(cond));
}

void coir_rwlock_rdlock(coir_rwlock *lock)
{
    if (!coir__rwlock_take_read(rwlock_of(lock)))
        KEEPING_ERRNO(coir__rwlock_lock_slowly(rwlock_of(lock), false));
}

void coir_rwlock_wrlock(coir_rwlock *lock)
{
    if (!coir__rwlock_take_write(rwlock_of(lock), coir__owner_self()))
        KEEPING_ERRNO(coir__rwlock_lock_slowly(rwlock_of(lock), true));
}

int coir_rwlock_timedrdlock(coir_rwlock *lock, int64_t deadline_ns)
{
    int err = coir__check();
    if (err == 0 && !coir__rwlock_take_read(rwlock_of(lock)))
        err = coir__rwlock_timedlock_slowly(rwlock_of(lock), false, coir__wait_until(deadline_ns));
    return (int)coir__edge(err);
}

int coir_rwlock_timedwrlock(coir_rwlock *lock, int64_t deadline_ns)
{
    int err = coir__check();
    if (err == 0 && !coir__rwlock_take_write(rwlock_of(lock), coir__owner_self()))
        err = coir__rwlock_timedlock_slowly(rwlock_of(lock), true, coir__wait_until(deadline_ns));
    return (int)coir__edge(err);
}

int coir_rwlock_tryrdlock(coir_rwlock *lock)
{
    return (int)coir__edge(coir__rwlock_trytake(rwlock_of(lock), false) ? 0 : -EBUSY);
}

int coir_rwlock_trywrlock(coir_rwlock *lock)
{
    return (int)coir__edge(coir__rwlock_trytake(rwlock_of(lock), true) ? 0 : -EBUSY);
}

void coir_rwlock_unlock(coir_rwlock *lock)
{
    coir__rwlock_unlock(rwlock_of(lock));
}

void coir_sem_init(coir_sem *sem, unsigned n)
{
    *sem = (coir_sem)COIR_SEM_INIT(n);
}

int coir_sem_wait(coir_sem *sem)
{
    int err = coir__check();
    if (err == 0 && !coir__sem_take(sem_of(sem)))
        err = coir__sem_wait_slowly(sem_of(sem), coir__wait_until(COIR_NEVER));
    return (int)coir__edge(err);
}

int coir_sem_trywait(coir_sem *sem)
{
    return (int)coir__edge(coir__sem_trytake(sem_of(sem)) ? 0 : -EAGAIN);
}

void coir_sem_post(coir_sem *sem)
{
    coir__sem_post(sem_of(sem));
}

int coir_barrier_init(coir_barrier *barrier, unsigned parties)
{
    if (!parties)
        return (int)coir__edge(-EINVAL);
    *barrier_of(barrier) = (struct coir__barrier){ .parties = parties };
    return 0;
}

int coir_barrier_wait(coir_barrier *barrier)
{
    int err = coir__check();
    if (err == 0)
        err = coir__barrier_wait(barrier_of(barrier), coir__wait_until(COIR_NEVER));
    return (int)coir__edge(err);
}

static void do_once(coir_once_flag *flag, void (*fn)(void))
{
    if (coir__once_begin(once_of(flag))) {
        fn();
        coir__once_end(once_of(flag));
    }
}

void coir_once(coir_once_flag *flag, void (*fn)(void))
{
    if (__builtin_expect(!coir__once_is_done(once_of(flag)), 0))
        KEEPING_ERRNO(do_once(flag, fn));
}

void coir_waitgroup_add(coir_waitgroup *wg, unsigned n)
{
    coir__waitgroup_add(waitgroup_of(wg), n);
}

void coir_waitgroup_done(coir_waitgroup *wg)
{
    coir__waitgroup_done(waitgroup_of(wg));
}

int coir_waitgroup_wait(coir_waitgroup *wg)
{
    int err = coir__check();
    if (err == 0 && !coir__waitgroup_is_done(waitgroup_of(wg)))
        err = coir__waitgroup_wait_slowly(waitgroup_of(wg), coir__wait_until(COIR_NEVER));
    return (int)coir__edge(err);
}
