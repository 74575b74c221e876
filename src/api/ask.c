/* api/ask.c - see ask.h.
 * SPDX-License-Identifier: MIT */
#include "ask.h"

#include "poke.h"
#include "sched/memory.h"
#include "sched/wait.h"

#include <errno.h>
#include <time.h>

enum {
    PAUSE_MIN_NS = 50 * 1000,
    PAUSE_MAX_NS = 5 * 1000 * 1000,
    PATIENCE_NS = 100 * 1000 * 1000, /* without anything new, until the signal */
    LAST_NS = 500 * 1000 * 1000,     /* and after it */
};

/* 0; or who has it: a fiber's handle, or a thread's id with the lowest bit set. */
static _Atomic uint64_t lock;

/* A runtime may end, and give a fiber up, in the middle of anything. */
static bool was_given_up(uint64_t owner)
{
    struct coir__fiber *f = owner & 1 ? NULL : coir__fiber_of((void *)(uintptr_t)owner);
    return !(owner & 1) && (!f || !coir__fiber_home(f));
}

bool coir__ask_try_lock(void)
{
    struct coir__fiber *f = coir__fiber_self();
    uint64_t me = f ? (uintptr_t)coir__fiber_handle(f) : (uint64_t)coir__host_thread_id() << 1 | 1;
    uint64_t owner = 0;
    return atomic_compare_exchange_strong(&lock, &owner, me) ||
           (was_given_up(owner) && atomic_compare_exchange_strong(&lock, &owner, me));
}

void coir__ask_lock(void)
{
    while (!coir__ask_try_lock())
        coir__ask_pause(PAUSE_MIN_NS);
}

void coir__ask_unlock(void)
{
    atomic_store(&lock, 0);
}

void coir__ask_pause(int64_t ns)
{
    if (!coir__fiber_self()) {
        struct timespec pause = { ns / 1000000000, ns % 1000000000 };
        nanosleep(&pause, NULL);
        return;
    }
    struct coir__waiter me;
    coir__waiter_init(&me);
    coir__waiter_wait(&me, COIR__WHY_DUMP, coir__host_now() + ns, NULL, NULL);
}

/* A fiber's own runtime does not end without it, and would wait for ever if the fiber were given
 * up. */
static bool hold(struct coir__runtime *rt)
{
    struct coir__worker *self = coir__worker_self();
    return (self && self->rt == rt) || coir__runtime_hold(rt);
}

static void let_go(struct coir__runtime *rt)
{
    struct coir__worker *self = coir__worker_self();
    if (!self || self->rt != rt)
        coir__runtime_let_go(rt);
}

/* How many have answered, and *turns, which grows when any of them does something. */
static uint32_t answered(const struct coir__ask *ask, uint64_t *turns)
{
    uint32_t n = 0;
    *turns = 0;
    for (uint32_t i = 0; i < ask->len; i++) {
        const struct coir__look *look = &ask->sights[i].look;
        n += atomic_load_explicit(&look->done, memory_order_acquire);
        *turns += atomic_load_explicit(&look->turns, memory_order_relaxed);
    }
    return n;
}

static void poke_the_others(struct coir__ask *ask)
{
    for (uint32_t i = 0; i < ask->len; i++)
        if (!atomic_load(&ask->sights[i].look.done))
            coir__poke(ask->sights[i].look.worker);
}

static void await_answers(struct coir__ask *ask)
{
    int64_t pause_ns = PAUSE_MIN_NS, since_ns = coir__host_now();
    uint64_t turns = 0, turns_now;
    bool poked = false;
    while (answered(ask, &turns_now) < ask->len) {
        int64_t now_ns = coir__host_now();
        if (turns_now != turns) {
            since_ns = now_ns;
            turns = turns_now;
        } else if (now_ns - since_ns > (poked ? LAST_NS : PATIENCE_NS)) {
            if (poked)
                break;
            poke_the_others(ask);
            poked = true;
            since_ns = now_ns;
            pause_ns = PAUSE_MIN_NS;
        }
        coir__ask_pause(pause_ns);
        pause_ns = pause_ns < PAUSE_MAX_NS ? pause_ns * 2 : PAUSE_MAX_NS;
    }
    for (uint32_t i = 0; i < ask->len; i++) {
        coir__look_end(&ask->sights[i].look);
        if (!atomic_load(&ask->sights[i].look.done))
            coir__sights_from_outside(&ask->sights[i]);
    }
    if (poked)
        coir__poke_over();
}

/* The caller's own worker, when it is in its loop, does not read its mail meanwhile. */
static void ask_workers(struct coir__ask *ask, struct coir__runtime *const *held)
{
    struct coir__worker *self = coir__fiber_self() ? NULL : coir__worker_self();
    for (int r = 0; r < COIR__RUNTIMES; r++)
        for (unsigned i = 0; held[r] && i < held[r]->config.workers; i++) {
            struct coir__sights *sights = &ask->sights[ask->len++];
            coir__sights_init(sights, &held[r]->workers[i], false);
            coir__look_begin(&sights->look);
        }
    if (self) {
        self->stamp = coir__stamp_of(coir__host_now()); /* its tick may be long */
        coir__look_now(self, NULL, NULL);
    }
    await_answers(ask);
}

static size_t sights_bytes(void)
{
    return (size_t)COIR__RUNTIMES * COIR__WORKERS_MAX * sizeof(struct coir__sights);
}

static struct coir__sight **place_of(const struct coir__ask *ask, const struct coir__fiber *f)
{
    uint64_t at = ((uintptr_t)f / COIR__CACHE_LINE) * 0x9e3779b97f4a7c15u >> 32;
    while (ask->table[at % ask->table_len] && ask->table[at % ask->table_len]->fiber != f)
        at++;
    return &ask->table[at % ask->table_len];
}

struct coir__sight *coir__ask_find(const struct coir__ask *ask, const struct coir__fiber *f)
{
    return *place_of(ask, f);
}

struct coir__sight *coir__ask_next(const struct coir__ask *ask, struct coir__ask_place *place)
{
    for (; place->sights < ask->len; place->sights++, place->place.chunk = NULL) {
        struct coir__sight *sight;
        while ((sight = coir__sights_next(&ask->sights[place->sights], &place->place)))
            if (!sight->superseded)
                return sight;
    }
    return NULL;
}

/* Index and count what was seen. A fiber may have been seen twice: parked, then running when its
 * worker was interrupted. */
static int put_in_order(struct coir__ask *ask)
{
    struct coir__ask_place at = { 0 };
    struct coir__sight *sight;
    uint64_t n = 0;
    while (coir__ask_next(ask, &at))
        n++;
    for (ask->table_len = 16; ask->table_len < 2 * n;)
        ask->table_len *= 2;
    ask->table = coir__map(ask->table_len * sizeof ask->table[0]);
    if (!ask->table)
        return -ENOMEM;
    at = (struct coir__ask_place){ 0 };
    while ((sight = coir__ask_next(ask, &at))) {
        struct coir__sight **place = place_of(ask, sight->fiber);
        if (*place)
            (*place)->superseded = true;
        *place = sight;
    }
    at = (struct coir__ask_place){ 0 };
    while ((sight = coir__ask_next(ask, &at)))
        ask->fibers[sight->state]++;
    for (uint32_t i = 0; i < ask->len; i++) {
        ask->fibers[COIR__ENDED] += ask->sights[i].ended;
        ask->lost += ask->sights[i].lost;
    }
    return 0;
}

int coir__ask_all(struct coir__ask *ask)
{
    struct coir__runtime *held[COIR__RUNTIMES];
    *ask = (struct coir__ask){ .sights = coir__map(sights_bytes()) };
    if (!ask->sights)
        return -ENOMEM;
    coir__ask_lock();
    for (int r = 0; r < COIR__RUNTIMES; r++)
        held[r] = hold(coir__runtimes[r]) ? coir__runtimes[r] : NULL;
    ask_workers(ask, held);
    coir__ask_unlock();
    int err = put_in_order(ask);
    for (int r = 0; r < COIR__RUNTIMES; r++)
        if (held[r])
            let_go(held[r]);
    if (err < 0)
        coir__ask_free(ask);
    return err;
}

void coir__ask_free(struct coir__ask *ask)
{
    for (uint32_t i = 0; i < ask->len; i++)
        coir__sights_free(&ask->sights[i]);
    if (ask->table)
        coir__unmap(ask->table, ask->table_len * sizeof ask->table[0]);
    coir__unmap(ask->sights, sights_bytes());
}
