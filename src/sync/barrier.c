/* sync/barrier.c - the rounds of a barrier.
 * SPDX-License-Identifier: MIT
 *
 * A wait that deadline or cancel ends takes its arrival back. Whether it has arrived or not is
 * decided by its waiter's word alone, since nobody of a round that has ended may look at the
 * barrier again: it may be gone. So who comes last reserves each of the others, in its word, and
 * only when there are enough are they claimed for good; otherwise they wait on. A deadline or
 * cancel that comes to one that is reserved waits, a few instructions for each of the others, until
 * it has been decided.
 * Rejected  claiming them at once: those claimed before one that has just left would have to wait
 * on, and could not leave any more. */
#include "barrier.h"

/* In a waiter's word, as an outcome: no errno. */
enum { RESERVED = 1 << 29 };

static bool reserve(struct coir__wait_entry *e)
{
    return coir__waiter_claim_listed(e->waiter, RESERVED);
}

/* It is claimed, with outcome 0. */
static void confirm(struct coir__wait_entry *e)
{
    atomic_store_explicit(&e->waiter->word, e->waiter->fiber ? 0 : COIR__CLAIMED,
                          memory_order_release);
}

/* It waits on. A thread waits for its deadline again. */
static void give_back(struct coir__wait_entry *e)
{
    atomic_store_explicit(&e->waiter->word, COIR__WAITING, memory_order_release);
    if (!e->waiter->fiber)
        coir__futex_wake(&e->waiter->word, 1);
}

/* The waiter's stop. */
static void stop(struct coir__waiter *w, int err)
{
    uint32_t turns = 0;
    int32_t word;
    while ((word = atomic_load_explicit(&w->word, memory_order_acquire)) == COIR__WAITING ||
           word == RESERVED) {
        if (word == COIR__WAITING && coir__waiter_claim(w, err)) {
            coir__waiter_release(w);
            return;
        }
        coir__spin(&turns);
    }
}

static void take_off(struct coir__barrier *b, struct coir__wait_entry *e)
{
    coir__wait_list_remove(&b->waiters, e);
    b->arrived--;
}

/* Reserve the oldest n, and take off those before them that have left. True: there are n. */
static bool reserve_oldest(struct coir__barrier *b, uint32_t n)
{
    struct coir__wait_entry *e = b->waiters;
    uint32_t reserved = 0;
    while (reserved < n && reserved < b->arrived) {
        struct coir__wait_entry *next = e->next;
        if (reserve(e))
            reserved++;
        else
            take_off(b, e);
        e = next;
    }
    if (reserved == n)
        return true;
    for (e = b->waiters; reserved; reserved--, e = e->next)
        give_back(e);
    return false;
}

/* With the word: can the round end with the caller? Then *chain is who waited. */
static bool end_round(struct coir__barrier *b, struct coir__wait_chain *chain)
{
    uint32_t others = b->parties - 1;
    if (b->arrived < others || !reserve_oldest(b, others))
        return false;
    while (others--) {
        struct coir__wait_entry *e = b->waiters;
        take_off(b, e);
        confirm(e);
        coir__wait_chain_add(chain, e);
    }
    return true;
}

static void leave_list(struct coir__barrier *b, struct coir__wait *w)
{
    coir__word_lock(&b->word);
    if (w->entry.next)
        take_off(b, &w->entry);
    coir__word_unlock(&b->word, 0);
}

int coir__barrier_wait(struct coir__barrier *b, int64_t deadline_ns)
{
    struct coir__wait me;
    struct coir__wait_chain chain = { NULL, NULL };
    COIR__MISUSE_IF(!b->parties, "coir_barrier_wait: it was not initialised");
    coir__wait_init(&me, b);
    me.waiter.stop = stop;
    coir__word_lock(&b->word);
    if (end_round(b, &chain)) {
        coir__word_unlock(&b->word, 0);
        coir__wait_release_all(chain);
        return 1;
    }
    b->arrived++;
    coir__wait_list_push(&b->waiters, &me.entry);
    int err = coir__wait_park(&me, COIR__WHY_BARRIER, deadline_ns, &b->word, 0);
    if (err)
        leave_list(b, &me);
    return -err;
}
