/* sync/select.c - the core of select, and its cases that wait for a fiber's end, or for a moment.
 * SPDX-License-Identifier: MIT */
#include "select.h"

#include "sched/runtime.h"

struct select {
    struct coir__waiter waiter; /* first */
    struct coir__case *cases;
    uint32_t n;
    uint32_t entered; /* so many, in their order */
    const struct coir__select_kind *const *kinds;
    struct coir__select_beside *beside;
};

static struct coir__case *nth(const struct select *s, uint32_t k)
{
    return &s->cases[s->cases[k].order];
}

static const struct coir__select_kind *kind_of(const struct select *s, const struct coir__case *c)
{
    return s->kinds[c->kind];
}

const struct coir__case *coir__select_view(const struct coir__waiter *waiter, uint32_t *n)
{
    const struct select *s = (const struct select *)waiter;
    *n = waiter->on ? s->n : 0;
    return waiter->on ? s->cases : NULL;
}

/* Below bound. Threads may lose each other's updates. */
static uint32_t random_below(uint32_t bound)
{
    static _Atomic uint32_t threads;
    struct coir__worker *w = coir__worker_self();
    _Atomic uint32_t *state = w ? &w->random : &threads;
    uint32_t x = atomic_load_explicit(state, memory_order_relaxed) * 747796405u + 2891336453u;
    atomic_store_explicit(state, x, memory_order_relaxed);
    x = (x >> ((x >> 28) + 4) ^ x) * 277803737u; /* PCG: the state's low bits are poor */
    return (uint32_t)((uint64_t)(x >> 22 ^ x) * bound >> 32);
}

/* Every permutation is as likely: ready cases share alike, whoever stands beside them. */
static void shuffle(struct select *s)
{
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t at = random_below(i + 1);
        s->cases[i].order = s->cases[at].order;
        s->cases[at].order = i;
    }
}

/* The index of the one that has happened, or -EAGAIN, or another errno. */
static long look(struct select *s)
{
    for (uint32_t k = 0; k < s->n; k++) {
        struct coir__case *c = nth(s, k);
        int done = kind_of(s, c)->look(c);
        if (done)
            return done < 0 ? done : c - s->cases;
    }
    return -EAGAIN;
}

/* 0: all are entered. 1: one could happen already. -errno. */
static int enter(struct select *s)
{
    for (; s->entered < s->n; s->entered++) {
        struct coir__case *c = nth(s, s->entered);
        c->entry.next = NULL;
        c->entry.waiter = &s->waiter;
        c->entry.claimed = false;
        const struct coir__select_kind *kind = kind_of(s, c);
        int ready = kind->enter ? kind->enter(c, &s->waiter) : 0;
        if (ready)
            return ready;
    }
    return 0;
}

/* The index of the one that its claimer has made happen, or -EAGAIN. */
static long leave(struct select *s)
{
    long happened = -EAGAIN;
    for (uint32_t k = 0; k < s->entered; k++) {
        struct coir__case *c = nth(s, k);
        if (kind_of(s, c)->leave)
            kind_of(s, c)->leave(c, &s->waiter);
        if (c->entry.claimed)
            happened = c - s->cases;
    }
    return happened;
}

/* When a waiting select has to look again by itself. */
static int64_t wake_up_at(const struct select *s, int64_t until_ns)
{
    int64_t at_ns = coir__wait_until(until_ns);
    for (uint32_t i = 0; i < s->n; i++)
        if (s->cases[i].kind == COIR__CASE_TIMER && s->cases[i].deadline_ns < at_ns)
            at_ns = s->cases[i].deadline_ns;
    return at_ns;
}

/* As look(). -EAGAIN: it is time to look. */
static long wait(struct select *s, int64_t until_ns)
{
    coir__waiter_init_lists(&s->waiter);
    s->waiter.on = s->cases;
    s->entered = 0;
    bool beside = s->beside;
    int ready = beside ? s->beside->enter(s->beside, &s->waiter) : 0;
    if (ready)
        beside = false;
    else
        ready = enter(s);
    /* Whoever has claimed the waiter by now is about to release it. */
    if (!ready || !coir__waiter_claim(&s->waiter, 0)) {
        coir__waiter_wait(&s->waiter, COIR__WHY_SELECT, wake_up_at(s, until_ns), NULL, NULL);
        ready = 0;
    }
    long happened = leave(s);
    if (beside)
        s->beside->leave(s->beside);
    return ready < 0 ? ready : happened;
}

/* Has the time come at which the caller gives up? */
static int give_up(int64_t until_ns)
{
    int err = coir__fiber_check(coir__fiber_self());
    if (err < 0 || until_ns == COIR__NEVER)
        return err;
    return until_ns <= 0 || until_ns <= coir__host_now() ? -ETIMEDOUT : 0;
}

long coir__select(struct coir__case *cases, uint32_t n, int64_t until_ns,
                  const struct coir__select_kind *const *kinds, struct coir__select_beside *beside)
{
    struct select s = { .cases = cases, .n = n, .kinds = kinds, .beside = beside };
    long happened = coir__fiber_check(coir__fiber_self());
    if (happened < 0)
        return happened;
    for (;;) {
        shuffle(&s);
        happened = look(&s);
        if (happened != -EAGAIN)
            return happened;
        int err = give_up(until_ns);
        if (err < 0)
            return err;
        happened = wait(&s, until_ns);
        if (happened != -EAGAIN)
            return happened;
    }
}

static int timer_look(struct coir__case *c)
{
    if (c->deadline_ns == COIR__NEVER || c->deadline_ns > coir__host_now())
        return 0;
    c->result = c->error = 0;
    return 1;
}

/* The waiter's deadline sees to it: wake_up_at(). */
const struct coir__select_kind coir__select_timer = { timer_look, NULL, NULL };

static int join_look(struct coir__case *c)
{
    int error = 0;
    int err = c->on ? coir__join_now(c->on, c->dst, &error) : -EAGAIN;
    if (err == -EAGAIN)
        return 0;
    c->error = err < 0 ? -err : error;
    c->result = c->error ? -1 : 0;
    return 1;
}

static int join_enter(struct coir__case *c, struct coir__waiter *waiter)
{
    struct coir__runtime *visited = NULL;
    bool ready = c->on && coir__join_enter(c->on, waiter, &visited) < 0;
    c->own = visited;
    return ready;
}

static void join_leave(struct coir__case *c, struct coir__waiter *waiter)
{
    if (c->on)
        coir__join_leave(c->on, waiter, c->own);
}

const struct coir__select_kind coir__select_join = { join_look, join_enter, join_leave };
