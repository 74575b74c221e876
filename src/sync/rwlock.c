/* sync/rwlock.c - the paths of a readers-writer lock that wait or wake.
 * SPDX-License-Identifier: MIT */
#include "rwlock.h"

struct rwlock_wait {
    struct coir__wait wait; /* first */
    bool writes;
};

static bool writes(struct coir__wait_entry *e)
{
    return ((struct rwlock_wait *)coir__wait_of(e))->writes;
}

/* With the word, whose value is given without RWLOCK_WAITERS: let in who is first and who can join
 * him. The new value, and in *chain who is to be released. */
static uint64_t let_in(struct coir__rwlock *rw, uint64_t value, struct coir__wait_chain *chain)
{
    struct coir__wait_entry *e;
    while ((e = rw->waiters) && !(value & COIR__RWLOCK_WRITER) && !(writes(e) && value)) {
        coir__wait_list_remove(&rw->waiters, e);
        if (!coir__waiter_claim_listed(e->waiter, 0))
            continue;
        if (writes(e))
            value = coir__owner_of(e->waiter) | COIR__RWLOCK_WRITER;
        else
            value += COIR__RWLOCK_READER;
        coir__wait_chain_add(chain, e);
    }
    return rw->waiters ? value | COIR__RWLOCK_WAITERS : value;
}

/* With the word, for w: take the lock, or enter the list. True: taken. */
static bool take_or_enter(struct coir__rwlock *rw, struct rwlock_wait *w, uint64_t *value)
{
    uint64_t owner = coir__owner_of(&w->wait.waiter);
    *value = coir__word_lock(&rw->word);
    COIR__MISUSE_IF((*value & ~(uint64_t)COIR__RWLOCK_WAITERS) == (owner | COIR__RWLOCK_WRITER),
                    "coir_rwlock: the caller has it for writing already");
    if (w->writes ? !*value : !(*value & (COIR__RWLOCK_WRITER | COIR__RWLOCK_WAITERS))) {
        coir__word_unlock(&rw->word,
                          w->writes ? owner | COIR__RWLOCK_WRITER : *value + COIR__RWLOCK_READER);
        return true;
    }
    coir__wait_list_push(&rw->waiters, &w->wait.entry);
    *value |= COIR__RWLOCK_WAITERS;
    return false;
}

static enum coir__why why(bool writes)
{
    return writes ? COIR__WHY_RWLOCK_WRITE : COIR__WHY_RWLOCK_READ;
}

void coir__rwlock_lock_slowly(struct coir__rwlock *rw, bool writes)
{
    struct rwlock_wait me = { .writes = writes };
    uint64_t value;
    coir__wait_init(&me.wait, rw);
    if (!take_or_enter(rw, &me, &value))
        coir__wait_park_anyway(&me.wait, why(writes), &rw->word, value);
}

/* A writer that waits no longer does not keep the readers behind it out. */
static void leave_list(struct coir__rwlock *rw, struct coir__wait *w)
{
    struct coir__wait_chain chain = { NULL, NULL };
    uint64_t value = coir__word_lock(&rw->word) & ~(uint64_t)COIR__RWLOCK_WAITERS;
    coir__wait_list_remove(&rw->waiters, &w->entry);
    value = let_in(rw, value, &chain);
    coir__word_unlock(&rw->word, value);
    coir__wait_release_all(chain);
}

int coir__rwlock_timedlock_slowly(struct coir__rwlock *rw, bool writes, int64_t deadline_ns)
{
    struct rwlock_wait me = { .writes = writes };
    uint64_t value;
    coir__wait_init(&me.wait, rw);
    if (take_or_enter(rw, &me, &value))
        return 0;
    int err = coir__wait_park(&me.wait, why(writes), deadline_ns, &rw->word, value);
    if (err)
        leave_list(rw, &me.wait);
    return -err;
}

void coir__rwlock_unlock_slowly(struct coir__rwlock *rw)
{
    struct coir__wait_chain chain = { NULL, NULL };
    uint64_t value = coir__word_lock(&rw->word) & ~(uint64_t)COIR__RWLOCK_WAITERS;
    COIR__MISUSE_IF(
        value < COIR__RWLOCK_READER ||
            (value & COIR__RWLOCK_WRITER && value != (coir__owner_self() | COIR__RWLOCK_WRITER)),
        "coir_rwlock_unlock: the caller does not have it");
    value = value & COIR__RWLOCK_WRITER ? 0 : value - COIR__RWLOCK_READER;
    value = let_in(rw, value, &chain);
    coir__word_unlock(&rw->word, value);
    coir__wait_release_all(chain);
}
