/* api/sight.c - see sight.h.
 * SPDX-License-Identifier: MIT */
#include "sight.h"

#include "sched/memory.h"
#include "sched/record.h"
#include "sched/wait.h"
#include "sync/mutex.h"

#include <string.h>

enum { CHUNK_BYTES = 256 * 1024 };

static struct coir__sight_chunk *chunk_for(struct coir__sights *sights, uint32_t bytes)
{
    struct coir__sight_chunk *last = sights->last;
    if (last && CHUNK_BYTES - last->used >= bytes)
        return last;
    struct coir__sight_chunk *chunk = coir__map(CHUNK_BYTES);
    if (!chunk)
        return NULL;
    chunk->used = sizeof *chunk;
    if (last)
        last->next = chunk;
    else
        sights->first = chunk;
    sights->last = chunk;
    return chunk;
}

static void keep(struct coir__sights *sights, struct coir__sight *sight,
                 const struct coir__backtrace *bt)
{
    size_t frames_bytes = bt->len * sizeof bt->pc[0];
    sight->frames_len = (uint8_t)bt->len;
    sight->cut = bt->cut;
    sight->bytes = (uint32_t)(sizeof *sight + frames_bytes);
    struct coir__sight_chunk *chunk = chunk_for(sights, sight->bytes);
    if (!chunk) {
        sights->lost++;
        return;
    }
    struct coir__sight *copy = (struct coir__sight *)((char *)chunk + chunk->used);
    *copy = *sight;
    memcpy(copy->frames, bt->pc, frames_bytes);
    chunk->used += sight->bytes;
}

/* The waiter is on the stack of a fiber that stays parked, and what it waits for is there as long
 * as its call has not returned. */
static void see_wait(struct coir__sight *sight, const struct coir__waiter *wait, uint32_t stamp)
{
    sight->seen = stamp;
    sight->waiter = wait;
    sight->since = wait->since;
    sight->on = wait->on;
    sight->bounded = wait->stop != coir__waiter_go_on &&
                     (sight->why == COIR__WHY_MUTEX || sight->fiber->deadline_ns != COIR__NEVER);
    sight->woken = atomic_load_explicit(&wait->word, memory_order_acquire) != COIR__WAITING;
    if (sight->why == COIR__WHY_IO)
        sight->op = coir__op_view(wait);
    else if (sight->why == COIR__WHY_MUTEX)
        sight->owner = coir__mutex_owner(wait->on);
    else if (sight->why == COIR__WHY_JOIN)
        sight->on = coir__fiber_handle((struct coir__fiber *)(uintptr_t)wait->on);
}

static inline __attribute__((always_inline)) void see_common(struct coir__sight *sight,
                                                             struct coir__fiber *f)
{
    uint8_t state = atomic_load_explicit(&f->state, memory_order_acquire);
    *sight = (struct coir__sight){
        .state = state & COIR__STATE_MASK,
        .why = state >> COIR__WHY_SHIFT,
        .cancelled = atomic_load_explicit(&f->cancelled, memory_order_relaxed),
        .detached = atomic_load_explicit(&f->detached, memory_order_relaxed),
        .fiber = f,
        .handle = coir__fiber_handle(f),
    };
    memcpy(sight->name, coir__fiber_name(f), f->flags & COIR__NAMED ? COIR__NAME_BYTES : 1);
}

static void keep_running(struct coir__sights *sights, struct coir__fiber *f)
{
    struct coir__sight sight;
    see_common(&sight, f);
    sight.state = COIR__RUNNING;
    sights->running = f;
    keep(sights, &sight, &sights->interrupted_at);
}

static void see(struct coir__look *look, struct coir__fiber *f)
{
    struct coir__sights *sights = (struct coir__sights *)look;
    struct coir__sight sight;
    struct coir__backtrace bt = { 0 };
    see_common(&sight, f);
    switch ((enum coir__state)sight.state) {
    case COIR__FREE:
        return;
    case COIR__ENDED:
        sights->ended++;
        return;
    case COIR__FRESH:
        sight.fn = (uintptr_t)f->fn;
        break;
    case COIR__READY:
    case COIR__RUNNING:
    case COIR__PARKED:
        if (f == sights->running)
            return;
        /* Interrupted between the change of its state and the switch: on its stack we still are. */
        if (sights->interrupted && coir__on_stack(f, sights->interrupted_sp)) {
            keep_running(sights, f);
            return;
        }
        if (sight.state == COIR__RUNNING)
            sight.state = COIR__READY; /* to be switched to next */
        if (sight.state == COIR__PARKED && coir__fiber_more(f)->wait)
            see_wait(&sight, coir__fiber_more(f)->wait, look->worker->stamp);
        coir__backtrace_of(&bt, f);
        break;
    }
    keep(sights, &sight, &bt);
}

void coir__sights_init(struct coir__sights *sights, struct coir__worker *w, bool only_running)
{
    *sights = (struct coir__sights){ .look = { .see = see, .worker = w }, .index = w->index };
    if (only_running)
        sights->look.at = COIR__RECORDS_END;
}

void coir__sights_interrupted(struct coir__look *look, void *arg)
{
    struct coir__sights *sights = (struct coir__sights *)look;
    struct coir__worker *w = look->worker;
    (void)arg;
    coir__backtrace_interrupted(&sights->interrupted_at, &sights->interrupted_sp);
    sights->interrupted = true;
    if (w->current != &w->loop && coir__on_stack(w->current, sights->interrupted_sp))
        keep_running(sights, w->current);
}

/* The records may change under us: then what is told is a mixture, but no harm is done. */
COIR__UNSANITIZED void coir__sights_from_outside(struct coir__sights *sights)
{
    const struct coir__backtrace none = { 0 };
    struct coir__sight sight;
    struct coir__fiber *f;
    while ((f = coir__record_next(&sights->look.at, UINT32_MAX))) {
        if (coir__fiber_home(f) != sights->look.worker)
            continue;
        see_common(&sight, f);
        sight.outside = true;
        if (sight.state == COIR__ENDED)
            sights->ended++;
        else if (sight.state != COIR__FREE)
            keep(sights, &sight, &none);
    }
}

void coir__sights_free(struct coir__sights *sights)
{
    while (sights->first) {
        struct coir__sight_chunk *next = sights->first->next;
        coir__unmap(sights->first, CHUNK_BYTES);
        sights->first = next;
    }
}

struct coir__sight *coir__sights_next(const struct coir__sights *sights,
                                      struct coir__sight_place *place)
{
    if (!place->chunk) {
        place->chunk = sights->first;
        place->at = sizeof *place->chunk;
    }
    if (place->chunk && place->at == place->chunk->used && place->chunk->next) {
        place->chunk = place->chunk->next;
        place->at = sizeof *place->chunk;
    }
    if (!place->chunk || place->at == place->chunk->used)
        return NULL;
    struct coir__sight *sight = (struct coir__sight *)((char *)place->chunk + place->at);
    place->at += sight->bytes;
    return sight;
}
