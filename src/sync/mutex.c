/* sync/mutex.c - the paths of a mutex that wait or wake.
 * SPDX-License-Identifier: MIT */
#include "mutex.h"

#include "sched/worker.h"

/* With the word, for w: take the mutex, or enter the list. True: taken. */
static bool take_or_enter(struct coir__mutex *m, struct coir__wait *w, uint64_t *value)
{
    uint64_t owner = coir__owner_of(&w->waiter);
    *value = coir__word_lock(&m->word);
    COIR__MISUSE_IF(coir__mutex_owner(m) == owner, "coir_mutex_lock: the caller has it already");
    if (!(*value & COIR__MUTEX_TAKEN)) {
        coir__word_unlock(&m->word, owner | COIR__MUTEX_TAKEN);
        return true;
    }
    coir__wait_list_push(&m->waiters, &w->entry);
    *value |= COIR__MUTEX_WAITERS;
    return false;
}

__attribute__((noinline)) void coir__mutex_lock_slowly(struct coir__mutex *m)
{
    struct coir__wait me;
    uint64_t value;
    coir__wait_init(&me, m);
    if (!take_or_enter(m, &me, &value))
        coir__wait_park_anyway(&me, COIR__WHY_MUTEX, &m->word, value);
}

__attribute__((noinline)) int coir__mutex_timedlock_slowly(struct coir__mutex *m,
                                                           int64_t deadline_ns)
{
    struct coir__wait me;
    uint64_t value;
    coir__wait_init(&me, m);
    if (take_or_enter(m, &me, &value))
        return 0;
    int err = coir__wait_park(&me, COIR__WHY_MUTEX, deadline_ns, &m->word, value);
    if (err)
        coir__wait_leave(&me, &m->waiters, &m->word, COIR__WORD_BUSY, COIR__MUTEX_WAITERS);
    return -err;
}

static bool is_at_home(const struct coir__wait_entry *e, const struct coir__worker *w)
{
    return e->waiter->fiber && coir__fiber_home(e->waiter->fiber) == w;
}

/* There is one. The oldest; or, of the oldest few, one of the caller's worker: to hand it over
 * there takes nanoseconds, to another worker a message. Who goes on comes back behind the others of
 * his worker, so that soon they stand in groups. Nobody is passed for ever (docs/adr/0016). */
static struct coir__wait_entry *next_in_line(const struct coir__mutex *m)
{
    enum { FEW = 8, PASSED_MAX = 250 };
    struct coir__wait_entry *oldest = m->waiters, *e = oldest;
    struct coir__worker *w = coir__worker_self();
    if (!w || oldest->passed == PASSED_MAX)
        return oldest;
    for (int i = 0; i < FEW && (i == 0 || e != oldest); i++, e = e->next) {
        if (!is_at_home(e, w))
            continue;
        oldest->passed += e != oldest;
        return e;
    }
    return oldest;
}

/* Who wants it still. What cond.c has put here was claimed there. */
static struct coir__wait_entry *next_owner(struct coir__mutex *m)
{
    while (m->waiters) {
        struct coir__wait_entry *e = next_in_line(m);
        coir__wait_list_remove(&m->waiters, e);
        if (e->claimed || coir__waiter_claim_listed(e->waiter, 0))
            return e;
    }
    return NULL;
}

__attribute__((noinline)) void coir__mutex_unlock_slowly(struct coir__mutex *m, uint64_t owner)
{
    COIR__MISUSE_IF(coir__mutex_owner(m) != owner,
                    "coir_mutex_unlock: the caller does not have it");
    coir__word_lock(&m->word);
    struct coir__wait_entry *e = next_owner(m);
    uint64_t value = 0;
    if (e)
        value =
            coir__owner_of(e->waiter) | COIR__MUTEX_TAKEN | (m->waiters ? COIR__MUTEX_WAITERS : 0);
    coir__word_unlock(&m->word, value);
    if (e)
        coir__waiter_release(e->waiter);
}

bool coir__mutex_lock_for(struct coir__mutex *m, struct coir__wait_entry *e)
{
    uint64_t value = coir__word_lock(&m->word);
    bool taken = value & COIR__MUTEX_TAKEN;
    e->claimed = true;
    if (taken) {
        coir__wait_list_push(&m->waiters, e);
        value |= COIR__MUTEX_WAITERS;
    } else {
        value = coir__owner_of(e->waiter) | COIR__MUTEX_TAKEN;
    }
    coir__word_unlock(&m->word, value);
    return !taken;
}
