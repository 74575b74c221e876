/* sync/waitq.h - what every primitive is made of: a word, and those who wait for it, oldest first.
 * SPDX-License-Identifier: MIT
 *
 * Word      64 bits of the object. COIR__WORD_BUSY says that somebody has it, and with it the list
 *           and all that belongs to the object: then nobody else changes the word. The fast paths
 *           are a CAS from a value without the bit; the slow ones take it for some instructions.
 * Waiting   look, enter the list, and let the word go in the after-hook of the park: no wake is
 *           lost, since whoever looks for waiters needs the word.
 * Waking    take the word, take the entry off, claim its waiter, let the word go, release the
 *           waiter (sched/wait.h): hand-off; what was waited for is the waiter's by then.
 * Leaving   a wait that ended by deadline or cancel was claimed by that, so nobody hands anything
 *           to it; it takes itself off the list, if it still is on it, under the word. */
#ifndef COIR_SYNC_WAITQ_H
#define COIR_SYNC_WAITQ_H

#include "sched/wait.h"

#include <errno.h>

enum { COIR__WORD_BUSY = 1 };

COIR_HIDDEN uint64_t coir__word_lock_slowly(_Atomic uint64_t *word, uint64_t busy);

/* Have the word: its value, without the bit. For a word whose lowest bit is needed otherwise: by
 * another bit. */
static inline uint64_t coir__word_lock_by(_Atomic uint64_t *word, uint64_t busy)
{
    uint64_t value = atomic_load_explicit(word, memory_order_relaxed);
    if (!(value & busy) &&
        atomic_compare_exchange_weak_explicit(word, &value, value | busy, memory_order_acquire,
                                              memory_order_relaxed))
        return value;
    return coir__word_lock_slowly(word, busy);
}

static inline uint64_t coir__word_lock(_Atomic uint64_t *word)
{
    return coir__word_lock_by(word, COIR__WORD_BUSY);
}

/* The value of the word at a moment at which nobody had it. For calls that do not wait: what they
 * say shall be true, and not only that somebody was about to change it. */
COIR_HIDDEN uint64_t coir__word_settled(_Atomic uint64_t *word, uint64_t busy);

/* The last touch of the object. */
static inline void coir__word_unlock(_Atomic uint64_t *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

/* On a list: a ring, of which the list is the first. A waiter may have several (select.h). */
struct coir__wait_entry {
    struct coir__wait_entry *next, *prev; /* next NULL: on no list */
    struct coir__waiter *waiter;
    bool claimed; /* its wait is over: it waits on for a mutex (cond.c), or its select has seen it
                   * happen (select.h) */
};

static inline void coir__wait_list_push(struct coir__wait_entry **list, struct coir__wait_entry *e)
{
    struct coir__wait_entry *first = *list;
    if (!first) {
        e->next = e->prev = e;
        *list = e;
        return;
    }
    e->next = first;
    e->prev = first->prev;
    first->prev->next = e;
    first->prev = e;
}

/* Nothing, when it is on no list. */
static inline void coir__wait_list_remove(struct coir__wait_entry **list,
                                          struct coir__wait_entry *e)
{
    if (!e->next)
        return;
    if (e->next == e) {
        *list = NULL;
    } else {
        e->next->prev = e->prev;
        e->prev->next = e->next;
        if (*list == e)
            *list = e->next;
    }
    e->next = NULL;
}

/* Take off the oldest that still waits, claimed with outcome 0, and those before it whose wait has
 * ended otherwise. NULL: nobody waits. */
static inline struct coir__wait_entry *coir__wait_list_claim(struct coir__wait_entry **list)
{
    struct coir__wait_entry *e;
    while ((e = *list)) {
        coir__wait_list_remove(list, e);
        if (coir__waiter_claim_listed(e->waiter, 0))
            return e;
    }
    return NULL;
}

/* Several that were taken off and claimed, the oldest first, linked by next: to be released
 * together once the word is let go. */
struct coir__wait_chain {
    struct coir__wait_entry *first, *last; /* NULL: none */
};

static inline void coir__wait_chain_add(struct coir__wait_chain *chain, struct coir__wait_entry *e)
{
    e->next = NULL;
    if (chain->first)
        chain->last->next = e;
    else
        chain->first = e;
    chain->last = e;
}

/* As coir__wait_list_claim, all of them. */
COIR_HIDDEN struct coir__wait_chain coir__wait_list_claim_all(struct coir__wait_entry **list);
COIR_HIDDEN void coir__wait_release_all(struct coir__wait_chain chain);

/* One caller's wait for one object. */
struct coir__wait {
    struct coir__waiter waiter;    /* first */
    struct coir__wait_entry entry; /* on the object's list */
    _Atomic uint64_t *word;        /* the word that the caller has, */
    uint64_t value;                /* and lets go with this value once it is parked */
    /* On a mutex's list: */
    struct coir__wait_entry *family; /* of the first: the last of its family (mutex.c), or NULL */
    uint32_t passed, since;          /* so often it was passed by the first's, since this stamp */
};

/* The wait that an entry of its list belongs to. */
static inline struct coir__wait *coir__wait_of(struct coir__wait_entry *e)
{
    return (struct coir__wait *)e->waiter;
}

/* Prepare the caller's wait for on, whose word is not taken yet, or is. */
static inline void coir__wait_init(struct coir__wait *w, const void *on)
{
    coir__waiter_init(&w->waiter);
    w->waiter.on = on;
    w->entry.next = NULL;
    w->entry.waiter = &w->waiter;
    w->entry.claimed = false;
    w->family = NULL;
    w->passed = 0;
}

/* A wait has failed: take w off its list. The word has bit while that is not empty, and busy while
 * it is taken. */
COIR_HIDDEN void coir__wait_leave(struct coir__wait *w, struct coir__wait_entry **list,
                                  _Atomic uint64_t *word, uint64_t busy, uint64_t bit);

static inline void coir__wait_unlock(void *arg)
{
    struct coir__wait *w = arg;
    coir__word_unlock(w->word, w->value);
}

/* The caller has the word and has put w on the list: let the word go as value, and wait until
 * claimed, until deadline_ns, or the cancel. The outcome: 0, or an errno, and then the caller still
 * has to take w off the list. */
static inline __attribute__((always_inline)) int
coir__wait_park(struct coir__wait *w, enum coir__why why, int64_t deadline_ns,
                _Atomic uint64_t *word, uint64_t value)
{
    w->word = word;
    w->value = value;
    return coir__waiter_wait(&w->waiter, why, deadline_ns, coir__wait_unlock, w);
}

/* The same for waits that neither cancel nor deadline end. */
static inline __attribute__((always_inline)) void coir__wait_park_anyway(struct coir__wait *w,
                                                                         enum coir__why why,
                                                                         _Atomic uint64_t *word,
                                                                         uint64_t value)
{
    w->waiter.stop = coir__waiter_go_on;
    coir__wait_park(w, why, COIR__NEVER, word, value);
}

/* The caller's deadline or until_ns, whichever is earlier. */
static inline int64_t coir__wait_until(int64_t until_ns)
{
    int64_t mine_ns = coir__fiber_deadline(coir__fiber_self());
    return until_ns < mine_ns ? until_ns : mine_ns;
}

/* For words that say who has the object: the calling fiber's record, or a plain thread's id with
 * COIR__OWNER_THREAD. The other low bits are 0, and the top 16. */
enum { COIR__OWNER_THREAD = 8, COIR__OWNER_THREAD_SHIFT = 4 };

static inline uint64_t coir__owner_self(void)
{
    struct coir__fiber *f = coir__fiber_self();
    if (f)
        return (uintptr_t)f;
    return (uint64_t)coir__host_thread_id() << COIR__OWNER_THREAD_SHIFT | COIR__OWNER_THREAD;
}

/* The same for another's wait. */
static inline uint64_t coir__owner_of(const struct coir__waiter *w)
{
    if (w->fiber)
        return (uintptr_t)w->fiber;
    return (uint64_t)w->thread << COIR__OWNER_THREAD_SHIFT | COIR__OWNER_THREAD;
}

/* In debug builds (make DEBUG=1) a mistake of the program ends it with a message; otherwise what it
 * does then is undefined. */
#ifdef COIR_DEBUG
#define COIR__MISUSE_IF(cond, what)                                                                \
    do {                                                                                           \
        if (cond)                                                                                  \
            coir__host_misuse(what);                                                               \
    } while (0)
#else
#define COIR__MISUSE_IF(cond, what) ((void)sizeof(cond))
#endif

#endif
