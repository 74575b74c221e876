/* sync/future.c - deciding futures and waiting for them.
 * SPDX-License-Identifier: MIT */
#include "future.h"

#include "select.h"

#include "sched/freshq.h"

/* With the word: all who wait, claimed. */
static struct coir__wait_chain claim_all(struct coir__future *f)
{
    struct coir__wait_chain chain = { NULL, NULL };
    struct coir__wait_entry *e;
    while ((e = coir__wait_list_claim(&f->waiters))) {
        e->claimed = true;
        coir__wait_chain_add(&chain, e);
    }
    return chain;
}

/* With the word, let go by this. */
static void decide(struct coir__future *f, void *value, int error, uint64_t how)
{
    atomic_store_explicit(&f->value, value, memory_order_relaxed);
    f->error = error;
    struct coir__wait_chain chain = claim_all(f);
    coir__word_unlock(&f->word, COIR__FUTURE_DONE | how);
    coir__wait_release_all(chain);
}

void coir__future_end(struct coir__future *f, void *value, int error)
{
    coir__word_lock(&f->word);
    decide(f, value, error, 0);
}

/* With the word: nobody is left to whom the value could go. */
static bool is_abandoned(struct coir__future *f)
{
    return !f->waiters && atomic_load_explicit(&f->was_shared, memory_order_relaxed) &&
           atomic_load_explicit(&f->refs, memory_order_acquire) == 1;
}

int coir__future_decide(struct coir__future *f, void *value, int error)
{
    uint64_t word = coir__word_lock(&f->word);
    if (word & COIR__FUTURE_DONE) {
        coir__word_unlock(&f->word, word);
        return word & COIR__FUTURE_CANCELLED ? -ECANCELED : -EALREADY;
    }
    if (is_abandoned(f)) {
        decide(f, NULL, ECANCELED, COIR__FUTURE_CANCELLED);
        return -ECANCELED;
    }
    decide(f, value, error, 0);
    return 0;
}

void coir__future_revoke(struct coir__future *f)
{
    uint64_t word = coir__word_lock(&f->word);
    if (word & COIR__FUTURE_DONE)
        coir__word_unlock(&f->word, word);
    else
        decide(f, NULL, ECANCELED, COIR__FUTURE_CANCELLED);
}

/* False: it is done. */
static bool enter_list(struct coir__future *f, struct coir__wait_entry *e)
{
    uint64_t word = coir__word_lock(&f->word);
    bool done = word & COIR__FUTURE_DONE;
    if (!done)
        coir__wait_list_push(&f->waiters, e);
    coir__word_unlock(&f->word, word);
    return !done;
}

/* With or without its being on the list. Even when it is not, somebody may just be taking it off,
 * and is through with it only when he lets the word go. */
static void leave_list(struct coir__future *f, struct coir__wait_entry *e)
{
    uint64_t word = coir__word_lock(&f->word);
    coir__wait_list_remove(&f->waiters, e);
    coir__word_unlock(&f->word, word);
}

__attribute__((noinline)) int coir__future_wait_slowly(struct coir__future *f, int64_t deadline_ns)
{
    struct coir__wait me;
    coir__wait_init(&me, f);
    struct coir__fiber *its = coir__future_fiber(f);
    if (me.waiter.fiber && its == me.waiter.fiber)
        return -EDEADLK;
    if (its)
        coir__freshq_first(its);
    uint64_t word = coir__word_lock(&f->word);
    if (word & COIR__FUTURE_DONE) {
        coir__word_unlock(&f->word, word);
        return 0;
    }
    coir__wait_list_push(&f->waiters, &me.entry);
    int err = coir__wait_park(&me, COIR__WHY_FUTURE, deadline_ns, &f->word, word);
    if (err)
        leave_list(f, &me.entry);
    return -err;
}

long coir__future_find_done(struct coir__future *const *futures, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (coir__future_is_done(futures[i]))
            return (long)i;
    return -1;
}

struct wait_any {
    struct coir__waiter waiter;
    struct coir__future *const *futures;
    struct coir__wait_entry *entries;
    size_t n;
    size_t entered; /* the entries from here on were never on a list */
};

/* After-hook: enter all lists, or claim oneself. */
static void enter_lists(void *arg)
{
    struct wait_any *any = arg;
    for (size_t i = 0; i < any->n; i++) {
        struct coir__wait_entry *e = &any->entries[i];
        *e = (struct coir__wait_entry){ .waiter = &any->waiter };
        any->entered = i + 1;
        if (enter_list(any->futures[i], e))
            continue;
        e->claimed = coir__waiter_claim(&any->waiter, 0);
        if (e->claimed)
            coir__waiter_release(&any->waiter);
        return;
    }
}

__attribute__((noinline)) long coir__future_wait_any(struct coir__future *const *futures, size_t n,
                                                     struct coir__wait_entry *entries,
                                                     int64_t deadline_ns)
{
    struct wait_any any = { .futures = futures, .entries = entries, .n = n };
    coir__waiter_init_lists(&any.waiter);
    any.waiter.on = futures;
    long first = -coir__waiter_wait(&any.waiter, COIR__WHY_FUTURES, deadline_ns, enter_lists, &any);
    for (size_t i = 0; i < any.entered; i++) {
        if (entries[i].claimed)
            first = (long)i;
        else
            leave_list(futures[i], &entries[i]);
    }
    return first;
}

static void happened(struct coir__case *c)
{
    struct coir__future *f = c->on;
    c->error = -coir__future_result(f, c->dst);
    c->result = c->error ? -1 : 0;
}

static int look(struct coir__case *c)
{
    struct coir__fiber *self = coir__fiber_self();
    if (!c->on)
        return 0;
    if (coir__future_is_done(c->on)) {
        happened(c);
        return 1;
    }
    if (!self || coir__future_fiber(c->on) != self)
        return 0;
    c->result = -1;
    c->error = EDEADLK; /* as coir_await */
    return 1;
}

static int enter(struct coir__case *c, struct coir__waiter *waiter)
{
    (void)waiter; /* which is the entry's */
    return c->on && !enter_list(c->on, &c->entry);
}

static void leave(struct coir__case *c, struct coir__waiter *waiter)
{
    (void)waiter;
    if (c->entry.claimed)
        happened(c);
    else if (c->on)
        leave_list(c->on, &c->entry);
}

const struct coir__select_kind coir__select_await = { look, enter, leave };
