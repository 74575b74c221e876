/* sync/mutex.c - the paths of a mutex that wait or wake.
 * SPDX-License-Identifier: MIT */
#include "mutex.h"

#include "sched/runtime.h"

/* To hand a mutex to a fiber of the same worker takes nanoseconds, to another worker a message, and
 * some tens of microseconds if that sleeps. So the first on the list, when it is of the worker that
 * has the mutex, has a family behind it: waiters of that worker, by age. Who comes from there
 * enters behind them, before the others. The oldest of the others is passed a limited number of
 * times, and for a limited time; then the family goes behind all others, and it is the first, with
 * a family of its own (docs/adr/0016). */
enum {
    PASSED_MAX = 16000,
    STAMPS_MAX = 1,    /* of sched/worker.h: a millisecond or two */
    LOOKS_FIRST = 8,   /* the clock is looked at each of the first times it is passed, */
    LOOKS_EACH = 32,   /* and then so seldom */
    STRANGERS_MAX = 8, /* to be looked at when a family is gathered, */
    FAMILY_MAX = 1000  /* and so many of its own */
};

static bool is_at_home(const struct coir__wait_entry *e, const struct coir__worker *w)
{
    return e->waiter->fiber && coir__fiber_home(e->waiter->fiber) == w;
}

static void enter(struct coir__mutex *m, struct coir__wait *w)
{
    struct coir__wait *first = m->waiters ? coir__wait_of(m->waiters) : NULL;
    if (!first || !first->family || !w->waiter.fiber ||
        !is_at_home(&first->entry, coir__fiber_home(w->waiter.fiber))) {
        coir__wait_list_push(&m->waiters, &w->entry);
        return;
    }
    coir__wait_list_push(&first->family->next, &w->entry); /* before the one behind */
    first->family = &w->entry;
}

/* e is off the list, if it still was on it. */
static void take_off(struct coir__mutex *m, struct coir__wait_entry *e)
{
    if (!e->next)
        return;
    struct coir__wait *first = coir__wait_of(m->waiters);
    struct coir__wait_entry *last = first->family;
    bool was_first = e == &first->entry;
    coir__wait_list_remove(&m->waiters, e);
    if (e == last)
        last = was_first ? NULL : e->prev;
    if (!was_first)
        first->family = last;
    else if (last)
        coir__wait_of(m->waiters)->family = last;
}

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
    enter(m, w);
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
    if (err) {
        value = coir__word_lock(&m->word);
        take_off(m, &me.entry);
        if (!m->waiters)
            value &= ~(uint64_t)COIR__MUTEX_WAITERS;
        coir__word_unlock(&m->word, value);
    }
    return -err;
}

/* Bring the oldest of w's fibers to the front, as a family. True: there are some. */
static bool gather(struct coir__mutex *m, const struct coir__worker *w)
{
    struct coir__wait_entry *oldest = m->waiters, *tail = oldest->prev, *last = NULL, *e, *next;
    int strangers = 0, own = 0;
    bool more = true;
    for (e = oldest; more && strangers < STRANGERS_MAX && own < FAMILY_MAX; e = next) {
        next = e->next;
        more = e != tail;
        if (!is_at_home(e, w)) {
            strangers++;
            continue;
        }
        own++;
        if (e != oldest && (!last || last->next != e)) { /* strangers are in between */
            struct coir__wait_entry *behind = last ? last->next : oldest;
            coir__wait_list_remove(&m->waiters, e);
            coir__wait_list_push(&behind, e);
            m->waiters = last ? m->waiters : e;
        }
        last = e;
    }
    if (last)
        coir__wait_of(m->waiters)->family = last;
    return last;
}

/* May those of w have the mutex before e once more? A worker's stamp alone stands still for a tick,
 * which is long when they hold the mutex for long. */
static bool may_pass(struct coir__wait_entry *e, struct coir__worker *w)
{
    const struct coir__wait *passed = coir__wait_of(e);
    if (!passed->passed)
        return true;
    if (passed->passed < LOOKS_FIRST || passed->passed % LOOKS_EACH == 0)
        coir__worker_restamp(w);
    return passed->passed < PASSED_MAX && w->stamp - passed->since <= STAMPS_MAX;
}

static void pass(struct coir__wait_entry *e, const struct coir__worker *w)
{
    struct coir__wait *passed = coir__wait_of(e);
    if (!passed->passed++)
        passed->since = w->stamp;
}

/* There is one. */
static struct coir__wait_entry *next_in_line(struct coir__mutex *m)
{
    struct coir__wait_entry *e = m->waiters;
    struct coir__worker *w = coir__worker_self();
    if (!w || w->rt->config.workers == 1)
        return e;
    if (!is_at_home(e, w) && !may_pass(e, w))
        return e;
    if (!coir__wait_of(e)->family && !gather(m, w))
        return e;
    e = m->waiters;
    struct coir__wait_entry *other = coir__wait_of(e)->family->next;
    if (other == e)
        return e;
    if (may_pass(other, w)) {
        pass(other, w);
        return e;
    }
    coir__wait_of(e)->family = NULL;
    return m->waiters = other;
}

/* Who wants it still. What cond.c has put here was claimed there. */
static struct coir__wait_entry *next_owner(struct coir__mutex *m)
{
    while (m->waiters) {
        struct coir__wait_entry *e = next_in_line(m);
        take_off(m, e);
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
        enter(m, coir__wait_of(e));
        value |= COIR__MUTEX_WAITERS;
    } else {
        value = coir__owner_of(e->waiter) | COIR__MUTEX_TAKEN;
    }
    coir__word_unlock(&m->word, value);
    return !taken;
}
