/* api/deadlock.c - fibers that wait for each other in a ring.
 * SPDX-License-Identifier: MIT
 *
 * Each worker is asked at a moment of its own, so one answer proves nothing: a fiber may have gone
 * on while another was looked at. Two do: who is in the same wait both times was in it all the time
 * in between, and what a parked fiber has it does not give back. A wait is the same when its place
 * on the stack and its stamp are; a later one there would have a later stamp, unless it began in
 * the very millisecond of the first look: that proves nothing yet. */
#include "dump.h"

#include "sync/waitq.h"

struct coir__sight *coir__waits_for(const struct coir__ask *ask, const struct coir__sight *s)
{
    const struct coir__fiber *f = NULL;
    if (s->state != COIR__PARKED || !s->waiter || s->woken)
        return NULL;
    if (s->why == COIR__WHY_JOIN)
        f = coir__fiber_of(s->on);
    else if (!(s->owner & COIR__OWNER_THREAD))
        f = (struct coir__fiber *)(uintptr_t)s->owner;
    return f ? coir__ask_find(ask, f) : NULL;
}

static bool stayed(const struct coir__ask *before, const struct coir__sight *s)
{
    const struct coir__sight *was = coir__ask_find(before, s->fiber);
    return was && was->handle == s->handle && was->waiter == s->waiter && was->since == s->since &&
           was->why == s->why && was->seen != was->since;
}

static bool all_stayed(const struct coir__ask *before, const struct coir__ask *ask,
                       const struct coir__sight *first)
{
    const struct coir__sight *s = first;
    do {
        if (!stayed(before, s))
            return false;
        s = coir__waits_for(ask, s);
    } while (s != first);
    return true;
}

/* Each fiber is followed to the end of its chain, or to one that a walk has passed before: if it
 * was this walk, a ring begins there. */
uint32_t coir__deadlocks(const struct coir__ask *before, const struct coir__ask *ask,
                         void (*found)(void *arg, const struct coir__ask *ask,
                                       struct coir__sight *first),
                         void *arg)
{
    struct coir__ask_place at = { 0 };
    struct coir__sight *start;
    uint32_t walk = 0, doubtful = 0;
    while ((start = coir__ask_next(ask, &at)))
        start->mark = 0;
    at = (struct coir__ask_place){ 0 };
    while ((start = coir__ask_next(ask, &at))) {
        struct coir__sight *s = start;
        for (walk++; s && !s->mark; s = coir__waits_for(ask, s))
            s->mark = walk;
        if (!s || s->mark != walk)
            continue;
        if (before && all_stayed(before, ask, s))
            found(arg, ask, s);
        else
            doubtful++;
    }
    return doubtful;
}
