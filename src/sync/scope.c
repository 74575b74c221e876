/* sync/scope.c - scopes: their children's start and end, and cancel on its way down the tree.
 * SPDX-License-Identifier: MIT */
#include "scope.h"

#include "sched/freshq.h"
#include "sched/nest.h"

/* The word, by who has it. */
static uint64_t value_of(struct coir__scope *s)
{
    return atomic_load_explicit(&s->word, memory_order_relaxed) & ~(uint64_t)COIR__WORD_BUSY;
}

static void mark(struct coir__scope *s, uint64_t flags)
{
    atomic_store_explicit(&s->word, value_of(s) | flags | COIR__WORD_BUSY, memory_order_relaxed);
}

static void unlock(struct coir__scope *s)
{
    coir__word_unlock(&s->word, value_of(s));
}

static struct coir__fiber *opener_of(struct coir__scope *s)
{
    return s->opener & COIR__OWNER_THREAD ? NULL : (struct coir__fiber *)(uintptr_t)s->opener;
}

static struct coir__scope *scopes_lock(struct coir__fiber *f)
{
    return (struct coir__scope *)(uintptr_t)coir__word_lock(&coir__fiber_more(f)->scopes);
}

static void scopes_unlock(struct coir__fiber *f, struct coir__scope *innermost)
{
    coir__word_unlock(&coir__fiber_more(f)->scopes, (uintptr_t)innermost);
}

/* The list of f, by f itself, or by who has it locked. */
static struct coir__scope *scopes_of(struct coir__fiber *f)
{
    uint64_t value = atomic_load_explicit(&coir__fiber_more(f)->scopes, memory_order_relaxed);
    return (struct coir__scope *)(uintptr_t)(value & ~(uint64_t)COIR__WORD_BUSY);
}

static struct coir__fiber *younger(struct coir__fiber *f)
{
    return coir__fiber_more(f)->younger;
}

/* The first from s on, in a list that is locked, for a cancel from above: locked, and marked. The
 * children may have ended before the opener knows that it was cancelled; so it is noted here. */
static struct coir__scope *next_to_cancel(struct coir__scope *s)
{
    for (; s; s = s->outer) {
        uint64_t value = coir__word_lock(&s->word);
        if (!(value & (COIR__SCOPE_CANCELLED | COIR__SCOPE_SHIELDED))) {
            mark(s, COIR__SCOPE_CANCELLED);
            if (s->oldest && !s->error)
                s->error = ECANCELED;
            return s;
        }
        unlock(s);
    }
    return NULL;
}

/* f, or, when it and all after it have not been started, which is to be seen to by their bit alone:
 * NULL. */
static struct coir__fiber *started(struct coir__scope *s, struct coir__fiber *f)
{
    if (f != s->held)
        return f;
    for (; f; f = younger(f))
        atomic_store_explicit(&f->cancelled, COIR__CANCELLED, memory_order_relaxed);
    return NULL;
}

/* Cancel the children of top, whose word the caller has, and all below them. No recursion: stacks
 * are small, trees may be deep, and everyone knows his parent. */
static void cancel_below(struct coir__scope *top)
{
    struct coir__scope *s = top, *below;
    struct coir__fiber *f = started(s, s->oldest);
    while (f || s != top) {
        if (f) {
            coir__cancel_alive(f, COIR__CANCELLED);
            below = next_to_cancel(scopes_lock(f));
        } else { /* s is done */
            f = opener_of(s);
            below = next_to_cancel(s->outer);
            unlock(s);
        }
        if (below) {
            s = below;
            f = started(s, s->oldest);
        } else { /* all of f are done */
            scopes_unlock(f, scopes_of(f));
            s = atomic_load_explicit(&f->scope, memory_order_relaxed);
            f = started(s, younger(f));
        }
    }
}

bool coir__scopes_hold(struct coir__fiber *f)
{
    struct coir__scope *innermost = scopes_lock(f);
    if (!innermost)
        scopes_unlock(f, NULL);
    return innermost != NULL;
}

void coir__scopes_cancel(struct coir__fiber *f)
{
    struct coir__scope *s = next_to_cancel(scopes_of(f));
    while (s) {
        struct coir__scope *done = s;
        cancel_below(s);
        s = next_to_cancel(s->outer);
        unlock(done);
    }
    scopes_unlock(f, scopes_of(f));
}

/* With the word. */
static void cancel_children(struct coir__scope *s)
{
    if (value_of(s) & COIR__SCOPE_CANCELLED)
        return;
    mark(s, COIR__SCOPE_CANCELLED);
    cancel_below(s);
}

/* With the word: a child has failed, the first. */
static void fail(struct coir__scope *s, int error)
{
    s->error = error;
    uint64_t value = value_of(s);
    if (value & COIR__SCOPE_KEEPS_GOING)
        return;
    mark(s, COIR__SCOPE_HAS_FAILED);
    cancel_children(s);
    struct coir__fiber *opener = opener_of(s);
    if (opener && !(value & COIR__SCOPE_WAITING))
        coir__cancel_alive(opener, COIR__SCOPE_FAILED);
}

static void add_child(struct coir__scope *s, struct coir__fiber *f)
{
    coir__fiber_more(f)->older = s->last;
    coir__fiber_more(f)->younger = NULL;
    if (s->last)
        coir__fiber_more(s->last)->younger = f;
    else
        s->oldest = f;
    s->last = f;
}

static void remove_child(struct coir__scope *s, struct coir__fiber *f)
{
    struct coir__fiber *before = coir__fiber_more(f)->older, *after = younger(f);
    if (before)
        coir__fiber_more(before)->younger = after;
    else
        s->oldest = after;
    if (after)
        coir__fiber_more(after)->older = before;
    else
        s->last = before;
}

/* A child has ended: the one that is to be started instead. */
static struct coir__fiber *take_held(struct coir__scope *s)
{
    struct coir__fiber *f = s->held;
    if (f)
        s->held = younger(f);
    else
        s->started--;
    return f;
}

/* After the word is let go, the scope is there only for the child that is started now. */
void coir__scope_child_ended(struct coir__fiber *f)
{
    struct coir__scope *s = atomic_load_explicit(&f->scope, memory_order_relaxed);
    int error = (int)(intptr_t)f->arg;
    struct coir__waiter *waiter = NULL;
    uint64_t value = coir__word_lock(&s->word);
    remove_child(s, f);
    struct coir__fiber *next = take_held(s);
    if (error && !s->error && !(error == ECANCELED && value & COIR__SCOPE_CANCELLED))
        fail(s, error);
    if (!s->oldest && s->waiter && coir__waiter_claim_listed(s->waiter, 0))
        waiter = s->waiter;
    unlock(s);
    if (next)
        coir__spawn_start(next);
    if (waiter)
        coir__waiter_release(waiter);
}

/* A child that its own runtime need not wait for, since it waits for the opener, or for none. */
static bool follows_opener(struct coir__scope *s, struct coir__runtime *rt)
{
    struct coir__fiber *opener = opener_of(s);
    struct coir__worker *home = opener ? coir__fiber_home(opener) : NULL;
    return home && home->rt == rt;
}

int coir__scope_spawn(struct coir__scope *s, struct coir__runtime *rt, struct coir__spawn *how)
{
    struct coir__worker *w = coir__worker_self();
    uint64_t value = atomic_load_explicit(&s->word, memory_order_relaxed);
    if (!(value & COIR__SCOPE_OPEN) || how->flags & COIR__DETACHED_AT_SPAWN)
        return -EINVAL;
    if (value & COIR__SCOPE_CANCELLED)
        return -ECANCELED;
    how->scope = s;
    how->flags |= COIR__CHILD;
    if (follows_opener(s, w ? w->rt : rt))
        how->flags |= COIR__DETACHED_AT_SPAWN;
    struct coir__fiber *f;
    int err = coir__spawn_held(rt, how, &f);
    if (err < 0)
        return err;
    value = coir__word_lock(&s->word);
    add_child(s, f);
    if (value & COIR__SCOPE_CANCELLED) /* meanwhile */
        atomic_store_explicit(&f->cancelled, COIR__CANCELLED, memory_order_relaxed);
    bool start = !s->fibers_max || s->started < s->fibers_max;
    if (start)
        s->started++;
    else if (!s->held)
        s->held = f;
    unlock(s);
    if (start)
        coir__spawn_start(f);
    return 0;
}

int coir__scope_open(struct coir__scope *s, unsigned flags, uint32_t fibers_max)
{
    struct coir__fiber *self = coir__fiber_self();
    for (struct coir__scope *mine = self ? scopes_of(self) : NULL; mine; mine = mine->outer)
        if (mine == s)
            return -EBUSY;
    uint64_t value = COIR__SCOPE_OPEN | flags;
    *s = (struct coir__scope){ .opener = coir__owner_self(), .fibers_max = fibers_max };
    if (self) {
        s->outer = scopes_lock(self);
        if (self->shields)
            value |= COIR__SCOPE_SHIELDED;
        else if (atomic_load_explicit(&self->cancelled, memory_order_relaxed) & COIR__CANCELLED)
            value |= COIR__SCOPE_CANCELLED;
    }
    atomic_store_explicit(&s->word, value, memory_order_relaxed);
    if (self)
        scopes_unlock(self, s);
    return 0;
}

static void leave(struct coir__fiber *self, struct coir__scope *s)
{
    struct coir__scope *innermost = scopes_lock(self);
    struct coir__scope **at = &innermost;
    while (*at != s)
        at = &(*at)->outer;
    *at = s->outer;
    scopes_unlock(self, innermost);
}

/* The failure of the scope that is waited for is no news any more: is there another's? */
static void forget_failure(struct coir__fiber *self)
{
    atomic_fetch_and_explicit(&self->cancelled, (uint8_t)~COIR__SCOPE_FAILED, memory_order_acq_rel);
    for (struct coir__scope *s = scopes_of(self); s; s = s->outer) {
        uint64_t value = atomic_load_explicit(&s->word, memory_order_acquire);
        if (value & COIR__SCOPE_HAS_FAILED && !(value & COIR__SCOPE_WAITING))
            atomic_fetch_or_explicit(&self->cancelled, COIR__SCOPE_FAILED, memory_order_relaxed);
    }
}

int coir__scope_cancel(struct coir__scope *s)
{
    if (!(atomic_load_explicit(&s->word, memory_order_relaxed) & COIR__SCOPE_OPEN))
        return -EINVAL;
    coir__word_lock(&s->word);
    cancel_children(s);
    unlock(s);
    return 0;
}

/* The opener waits no longer for what it wanted, only for the end. */
static void give_up(struct coir__scope *s, int error)
{
    coir__word_lock(&s->word);
    if (!s->error)
        s->error = error;
    cancel_children(s);
    unlock(s);
}

/* Until the last child has ended: 0; ETIMEDOUT, ECANCELED unless anyway. Inline: sched/wait.h. */
static inline __attribute__((always_inline)) int await_children(struct coir__scope *s,
                                                                int64_t deadline_ns, bool anyway)
{
    struct coir__wait me;
    coir__wait_init(&me, s);
    uint64_t value = coir__word_lock(&s->word);
    if (!s->oldest) {
        unlock(s);
        return 0;
    }
    s->waiter = &me.waiter;
    coir__freshq_first(s->oldest);
    if (anyway)
        me.waiter.stop = coir__waiter_go_on;
    int err = coir__wait_park(&me, COIR__WHY_SCOPE, deadline_ns, &s->word, value);
    if (err) { /* the last child may be looking at me, which is over */
        coir__word_lock(&s->word);
        s->waiter = NULL;
        unlock(s);
    }
    return err;
}

int coir__scope_wait(struct coir__scope *s, bool close)
{
    struct coir__fiber *self = coir__fiber_self();
    if (!(atomic_load_explicit(&s->word, memory_order_relaxed) & COIR__SCOPE_OPEN))
        return -EINVAL;
    COIR__MISUSE_IF(close && s->opener != coir__owner_self(),
                    "coir_scope_close: the caller has not opened it");
    if (s->opener != coir__owner_self())
        return -EINVAL;
    uint64_t value = coir__word_lock(&s->word);
    coir__word_unlock(&s->word, value | COIR__SCOPE_WAITING);
    if (self && atomic_load_explicit(&self->cancelled, memory_order_relaxed) & COIR__SCOPE_FAILED)
        forget_failure(self);
    int err = close ? -ECANCELED : coir__fiber_check(self);
    if (err == 0)
        err = -await_children(s, coir__fiber_deadline(self), false);
    if (err < 0) {
        give_up(s, -err);
        await_children(s, COIR__NEVER, true);
    }
    err = s->error;
    if (self)
        leave(self, s);
    atomic_store_explicit(&s->word, 0, memory_order_relaxed);
    return -err;
}
