/* sched/freshq.c - the order in which fresh fibers start: first in, first out, but depth first.
 * SPDX-License-Identifier: MIT
 *
 * A fiber that waits for one which has not started wants that one next, and not all those that were
 * there before. So a tree of fibers that spawn and join is walked depth first: as many of them live
 * at a time as it is deep, not as it is wide (docs/adr/0017).
 * Levels  who waits for the fiber at some place of the ring makes a level, from that place to the
 *         tail. The next fiber is the youngest level's oldest; what is spawned meanwhile belongs to
 *         that level. When nothing of it is left the tail goes back to where it began. The places
 *         of levels grow strictly from the oldest to the youngest.
 * Holes   what is taken from a level leaves a hole: `&w->loop` in the ring. Who goes by the
 *         queue's head steps over it: thieves, and what is older than all levels. No holes are in
 *         what is left of the youngest level.
 * Head    may pass levels, also all of them, when thieves come: places are looked at from head on.
 * Fair    every AGE the oldest of all is the next one, so that it does not wait for ever.
 * In the list behind the ring there are no levels. */
#include "freshq.h"

enum { AGE = 10 }; /* units of coir__stamp_of, a millisecond each */

__attribute__((noinline)) bool coir__freshq_push_slowly(struct coir__worker *w,
                                                        struct coir__fiber *f)
{
    coir__freshq_leave(w);
    coir__spin_lock(&w->fresh.lock);
    bool empty = !coir__freshq_put(w, f);
    coir__spin_unlock(&w->fresh.lock);
    return empty;
}

__attribute__((noinline)) struct coir__fiber *coir__freshq_pop_slowly(struct coir__worker *w)
{
    coir__freshq_leave(w);
    coir__spin_lock(&w->fresh.lock);
    struct coir__fiber *f = coir__freshq_take(w);
    coir__spin_unlock(&w->fresh.lock);
    return f;
}

static void count_early(struct coir__worker *w, uint32_t n)
{
    coir__runq_set(&w->fresh.early, coir__runq_get(&w->fresh.early) + n);
}

/* A place of a level, or the head when that has passed it. */
static uint32_t from_head(const struct coir__runq *q, uint32_t place)
{
    uint32_t head = coir__runq_get(&q->head), in_ring = coir__runq_in_ring(q);
    return place - head > in_ring ? head : place;
}

struct coir__fiber *coir__freshq_take_oldest(struct coir__worker *w)
{
    struct coir__runq *q = &w->fresh.q;
    while (coir__freshq_has_levels(w) && coir__runq_in_ring(q)) {
        uint32_t head = coir__runq_get(&q->head);
        struct coir__fiber *f = q->ring[head % COIR__RUNQ_CAP];
        coir__runq_set(&q->head, head + 1);
        if (f != &w->loop)
            return f;
        w->fresh.holes--;
        count_early(w, -1u);
    }
    if (!coir__runq_in_ring(q))
        w->fresh.depth = 0;
    return coir__runq_pop(q);
}

/* The youngest level, or NULL. Those of which nothing is left go. */
static struct coir__level *youngest(struct coir__worker *w)
{
    struct coir__runq *q = &w->fresh.q;
    while (w->fresh.depth) {
        struct coir__level *l = &w->fresh.levels[w->fresh.depth - 1];
        uint32_t tail = coir__runq_get(&q->tail), from = from_head(q, l->from);
        if (from_head(q, l->next) != tail)
            return l;
        w->fresh.depth--;
        w->fresh.holes -= tail - from;
        coir__runq_set(&q->tail, from);
    }
    return NULL;
}

struct coir__fiber *coir__freshq_take_deep(struct coir__worker *w)
{
    struct coir__runq *q = &w->fresh.q;
    struct coir__level *l = youngest(w);
    if (!l || w->stamp - w->fresh.stamp >= AGE) {
        w->fresh.stamp = w->stamp;
        return coir__freshq_take_oldest(w);
    }
    uint32_t place = from_head(q, l->next);
    struct coir__fiber *f = q->ring[place % COIR__RUNQ_CAP];
    q->ring[place % COIR__RUNQ_CAP] = &w->loop;
    l->next = place + 1;
    w->fresh.holes++;
    count_early(w, 1);
    youngest(w);
    return f;
}

/* Of too many levels the oldest becomes part of what is older. As long as the head stays, what is
 * there is the oldest, however often all levels end and others begin. */
static void add_level(struct coir__worker *w, uint32_t place)
{
    struct coir__level *levels = w->fresh.levels;
    uint32_t next_head = coir__runq_get(&w->fresh.q.head) + 1;
    if (w->fresh.depth == 0 && w->fresh.stamp_head != next_head) {
        w->fresh.stamp = w->stamp;
        w->fresh.stamp_head = next_head;
    }
    if (w->fresh.depth == COIR__LEVELS_MAX) {
        w->fresh.depth--;
        for (uint32_t i = 0; i < w->fresh.depth; i++)
            levels[i] = levels[i + 1];
    }
    levels[w->fresh.depth++] = (struct coir__level){ .from = place, .next = place };
}

/* If f is in the ring of w, and not the next one anyway. */
static void put_first(struct coir__worker *w, struct coir__fiber *f)
{
    struct coir__runq *q = &w->fresh.q;
    struct coir__level *l = youngest(w);
    if (!l && w->fresh.holes) /* of levels that were too many: they may be behind f */
        return;
    uint32_t head = coir__runq_get(&q->head), next = l ? from_head(q, l->next) : head;
    uint32_t place = atomic_load_explicit(&f->place, memory_order_relaxed);
    uint32_t behind = (place - next) % COIR__RUNQ_CAP; /* how many come before it */
    if (behind && behind < coir__runq_get(&q->tail) - next && q->ring[place % COIR__RUNQ_CAP] == f)
        add_level(w, next + behind);
}

void coir__freshq_first(struct coir__fiber *f)
{
    struct coir__worker *w = coir__worker_self();
    if (!w || coir__fiber_state(f) != COIR__FRESH || coir__fiber_home(f) != w)
        return;
    if (coir__freshq_enter(w)) {
        put_first(w, f);
        coir__freshq_leave(w);
        return;
    }
    coir__freshq_leave(w);
    coir__spin_lock(&w->fresh.lock);
    put_first(w, f);
    coir__spin_unlock(&w->fresh.lock);
}
