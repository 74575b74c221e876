/* sync/cond.c - the paths of a condition that wait or wake.
 * SPDX-License-Identifier: MIT */
#include "cond.h"

struct cond_wait {
    struct coir__wait wait; /* first */
    struct coir__mutex *mutex;
    uint64_t owner; /* of the mutex: the waiter */
};

/* after-hook. A signal that comes in between puts w on the list of its mutex, which w still has; so
 * the mutex is there until it is unlocked here, and w is not released before. */
static void let_go(void *arg)
{
    struct cond_wait *w = arg;
    struct coir__mutex *m = w->mutex;
    uint64_t owner = w->owner;
    coir__wait_unlock(&w->wait);
    coir__mutex_unlock_for(m, owner);
}

const struct coir__mutex *coir__cond_mutex_of(const struct coir__waiter *waiter)
{
    return ((const struct cond_wait *)waiter)->mutex;
}

static void leave_list(struct coir__cond *c, struct coir__wait *w)
{
    coir__word_lock(&c->word);
    coir__wait_list_remove(&c->waiters, &w->entry);
    coir__word_unlock(&c->word, c->waiters ? COIR__COND_WAITERS : 0);
}

int coir__cond_wait(struct coir__cond *c, struct coir__mutex *m, int64_t deadline_ns)
{
    struct cond_wait me;
    coir__wait_init(&me.wait, c);
    me.mutex = m;
    me.owner = coir__owner_of(&me.wait.waiter);
    COIR__MISUSE_IF(coir__mutex_owner(m) != me.owner, "coir_cond_wait: the caller has no mutex");
    coir__word_lock(&c->word);
    coir__wait_list_push(&c->waiters, &me.wait.entry);
    me.wait.word = &c->word;
    me.wait.value = COIR__COND_WAITERS;
    int err = coir__waiter_wait(&me.wait.waiter, COIR__WHY_COND, deadline_ns, let_go, &me);
    if (err) {
        leave_list(c, &me.wait);
        coir__mutex_lock(m);
    }
    return -err;
}

/* The last touch of the mutex and, when e gets it or somebody unlocks it, of e. */
static void hand_mutex(struct coir__wait_entry *e)
{
    struct coir__waiter *waiter = e->waiter;
    struct cond_wait *w = (struct cond_wait *)coir__wait_of(e);
    if (coir__mutex_lock_for(w->mutex, e))
        coir__waiter_release(waiter);
}

void coir__cond_signal_slowly(struct coir__cond *c)
{
    coir__word_lock(&c->word);
    struct coir__wait_entry *e = coir__wait_list_claim(&c->waiters);
    coir__word_unlock(&c->word, c->waiters ? COIR__COND_WAITERS : 0);
    if (e)
        hand_mutex(e);
}

/* All are claimed in one go: the first of them may free the condition once it runs. */
void coir__cond_broadcast_slowly(struct coir__cond *c)
{
    coir__word_lock(&c->word);
    struct coir__wait_chain chain = coir__wait_list_claim_all(&c->waiters);
    coir__word_unlock(&c->word, 0);
    while (chain.first) {
        struct coir__wait_entry *e = chain.first;
        chain.first = e->next; /* before it enters the mutex's list */
        hand_mutex(e);
    }
}
