/* tests/sync/kinds.h - the things one can wait for, alike: for tests of what holds for all of them.
 * SPDX-License-Identifier: MIT
 *
 * An object begins as `init` leaves it: a wait waits. Whoever has made it so gives, and a wait
 * succeeds, or all; whoever has succeeded is done with it by `used`. Then the object is all zero,
 * as it was born, but for what nobody took. */
#ifndef TESTS_SYNC_KINDS_H
#define TESTS_SYNC_KINDS_H

#include "../sched/kit.h"

union any {
    uint64_t words[4];
    coir_mutex mutex;
    coir_rwlock rwlock;
    coir_sem sem;
    coir_waitgroup wg;
    struct {
        coir_cond cond;
        coir_mutex mutex;
    } c;
};

struct kind {
    const char *name;
    void (*init)(union any *);
    int (*wait)(union any *, int64_t deadline_ns);
    void (*give)(union any *);
    void (*used)(union any *);
    uint64_t waited_for; /* the bit of its first word that says that somebody waits */
    uint64_t not_taken;  /* its first word when nobody took what was given */
    int of_its_own;      /* its deadline is an argument */
    enum { FOR_ALL, FOR_ONE, FOR_ONE_WHO_WAITS } gift;
};

static inline void kind_nothing(union any *o)
{
    (void)o;
}

static inline void kind_mutex_init(union any *o)
{
    memset(o, 0, sizeof *o);
    coir_mutex_lock(&o->mutex);
}

static inline int kind_mutex_wait(union any *o, int64_t deadline_ns)
{
    return coir_mutex_timedlock(&o->mutex, deadline_ns);
}

static inline void kind_mutex_unlock(union any *o)
{
    coir_mutex_unlock(&o->mutex);
}

static inline void kind_cond_init(union any *o)
{
    memset(o, 0, sizeof *o);
}

static inline int kind_cond_wait(union any *o, int64_t deadline_ns)
{
    coir_mutex_lock(&o->c.mutex);
    int result = coir_cond_timedwait(&o->c.cond, &o->c.mutex, deadline_ns);
    int err = errno;
    coir_mutex_unlock(&o->c.mutex);
    errno = err;
    return result;
}

static inline void kind_cond_give(union any *o)
{
    coir_mutex_lock(&o->c.mutex);
    coir_cond_signal(&o->c.cond);
    coir_mutex_unlock(&o->c.mutex);
}

static inline void kind_rwlock_init_written(union any *o)
{
    memset(o, 0, sizeof *o);
    coir_rwlock_wrlock(&o->rwlock);
}

static inline void kind_rwlock_init_read(union any *o)
{
    memset(o, 0, sizeof *o);
    coir_rwlock_rdlock(&o->rwlock);
}

static inline int kind_rwlock_wait_read(union any *o, int64_t deadline_ns)
{
    return coir_rwlock_timedrdlock(&o->rwlock, deadline_ns);
}

static inline int kind_rwlock_wait_write(union any *o, int64_t deadline_ns)
{
    return coir_rwlock_timedwrlock(&o->rwlock, deadline_ns);
}

static inline void kind_rwlock_unlock(union any *o)
{
    coir_rwlock_unlock(&o->rwlock);
}

static inline void kind_sem_init(union any *o)
{
    memset(o, 0, sizeof *o);
    coir_sem_init(&o->sem, 0);
}

static inline int kind_sem_wait(union any *o, int64_t deadline_ns)
{
    int64_t before_ns = coir_deadline_narrow(deadline_ns);
    int result = coir_sem_wait(&o->sem);
    coir_deadline_set(before_ns);
    return result;
}

static inline void kind_sem_give(union any *o)
{
    coir_sem_post(&o->sem);
}

static inline void kind_waitgroup_init(union any *o)
{
    memset(o, 0, sizeof *o);
    coir_waitgroup_add(&o->wg, 1);
}

static inline int kind_waitgroup_wait(union any *o, int64_t deadline_ns)
{
    int64_t before_ns = coir_deadline_narrow(deadline_ns);
    int result = coir_waitgroup_wait(&o->wg);
    coir_deadline_set(before_ns);
    return result;
}

static inline void kind_waitgroup_give(union any *o)
{
    coir_waitgroup_done(&o->wg);
}

static const struct kind kinds[] = {
    { "mutex", kind_mutex_init, kind_mutex_wait, kind_mutex_unlock, kind_mutex_unlock, 2, 0, 1,
      FOR_ALL },
    { "cond", kind_cond_init, kind_cond_wait, kind_cond_give, kind_nothing, 2, 0, 1,
      FOR_ONE_WHO_WAITS },
    { "rwlock, to read", kind_rwlock_init_written, kind_rwlock_wait_read, kind_rwlock_unlock,
      kind_rwlock_unlock, 2, 0, 1, FOR_ALL },
    { "rwlock, to write", kind_rwlock_init_written, kind_rwlock_wait_write, kind_rwlock_unlock,
      kind_rwlock_unlock, 2, 0, 1, FOR_ALL },
    { "rwlock, to write after a reader", kind_rwlock_init_read, kind_rwlock_wait_write,
      kind_rwlock_unlock, kind_rwlock_unlock, 2, 0, 1, FOR_ALL },
    { "sem", kind_sem_init, kind_sem_wait, kind_sem_give, kind_nothing, 1ull << 62, 1, 0, FOR_ONE },
    { "waitgroup", kind_waitgroup_init, kind_waitgroup_wait, kind_waitgroup_give, kind_nothing, 2,
      0, 0, FOR_ALL },
};

enum { KINDS = sizeof kinds / sizeof *kinds };

static inline uint64_t kind_word(const union any *o)
{
    return __atomic_load_n(&o->words[0], __ATOMIC_ACQUIRE);
}

static inline bool kind_is_waited_for(const struct kind *k, const union any *o)
{
    return kind_word(o) & k->waited_for;
}

/* Nobody uses it any more: is it at rest, after `given` gifts of which `taken` were taken? */
static inline bool kind_is_at_rest(const struct kind *k, const union any *o, int given, int taken)
{
    const union any zero = { { 0 } };
    uint64_t left = k->not_taken * (uint64_t)(given - taken);
    return kind_word(o) == left && memcmp(&o->words[1], &zero.words[1], 3 * sizeof(uint64_t)) == 0;
}

#endif
