/* sched/timer.c - the pairing heap of timer.h.
 * SPDX-License-Identifier: MIT */
#include "timer.h"

#include "wait.h"
#include "worker.h"

#include <errno.h>

/* Two roots become one: the later becomes the first child of the earlier. Among equals a stays on
 * top. */
static struct coir__timer *meld(struct coir__timer *a, struct coir__timer *b)
{
    if (!a)
        return b;
    if (!b)
        return a;
    if (b->when_ns < a->when_ns) {
        struct coir__timer *t = a;
        a = b;
        b = t;
    }
    b->prev = a;
    b->next = a->child;
    if (b->next)
        b->next->prev = b;
    a->child = b;
    return a;
}

/* A list of siblings becomes one heap: in pairs from the left, then the pairs from the right.
 * Iterative: the list may be as long as there are fibers. */
static struct coir__timer *meld_siblings(struct coir__timer *first)
{
    struct coir__timer *pairs = NULL; /* linked through prev: the last pair first */
    while (first) {
        struct coir__timer *a = first;
        struct coir__timer *b = a->next;
        first = b ? b->next : NULL;
        a->next = NULL;
        if (b)
            b->next = NULL;
        struct coir__timer *pair = meld(a, b);
        pair->prev = pairs;
        pairs = pair;
    }
    struct coir__timer *heap = NULL;
    while (pairs) {
        struct coir__timer *before = pairs->prev;
        pairs->prev = NULL;
        heap = meld(pairs, heap);
        pairs = before;
    }
    return heap;
}

void coir__timer_add(struct coir__worker *w, struct coir__timer *t, int64_t when_ns,
                     struct coir__waiter *waiter)
{
    *t = (struct coir__timer){ .when_ns = when_ns, .waiter = waiter, .armed = true };
    w->timers = meld(w->timers, t);
}

void coir__timer_remove(struct coir__worker *w, struct coir__timer *t)
{
    if (!t->armed)
        return;
    t->armed = false;
    struct coir__timer *orphans = t->child ? meld_siblings(t->child) : NULL;
    if (t == w->timers) {
        w->timers = orphans;
        return;
    }
    if (t->prev->child == t)
        t->prev->child = t->next;
    else
        t->prev->next = t->next;
    if (t->next)
        t->next->prev = t->prev;
    if (orphans)
        w->timers = meld(w->timers, orphans);
}

void coir__timer_expire(struct coir__worker *w, int64_t now_ns)
{
    while (w->timers && w->timers->when_ns <= now_ns) {
        struct coir__timer *t = w->timers;
        coir__timer_remove(w, t);
        t->waiter->stop(t->waiter, ETIMEDOUT);
    }
}

int64_t coir__timer_first(const struct coir__worker *w)
{
    return w->timers ? w->timers->when_ns : COIR__NEVER;
}
