/* api/sight.c - see sight.h.
 * SPDX-License-Identifier: MIT */
#include "sight.h"

#include "sched/lock.h"
#include "sched/memory.h"
#include "sched/record.h"
#include "sched/wait.h"
#include "sync/cond.h"
#include "sync/future.h"
#include "sync/rwlock.h"

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

/* It waits for its mutex, whatever happens, until that is its own. */
static void see_signalled(struct coir__sight *sight, const struct coir__waiter *wait)
{
    sight->why = COIR__WHY_MUTEX;
    sight->on = coir__cond_mutex_of(wait);
    sight->owner = coir__mutex_owner(sight->on);
    sight->woken = sight->owner == (uintptr_t)sight->fiber;
    sight->bounded = false;
}

static void see_cases(struct coir__sight *sight, const struct coir__waiter *wait)
{
    const struct coir__case *cases = coir__select_view(wait, &sight->cases_len);
    for (uint32_t i = 0; i < sight->cases_len && i < COIR__CASES_SEEN; i++)
        sight->cases[i] =
            (struct coir__case_view){ (uint8_t)cases[i].kind, cases[i].fd, cases[i].on };
}

/* The waiter is on the stack of a fiber that stays parked, and what it waits for is there as long
 * as its call has not returned. */
static void see_wait(struct coir__sight *sight, const struct coir__waiter *wait, uint32_t stamp)
{
    sight->seen = stamp;
    sight->now = coir__stamp_of(coir__host_now_roughly());
    sight->waiter = wait;
    sight->since = wait->since;
    sight->on = wait->on;
    bool has_timed_form = sight->why == COIR__WHY_MUTEX || sight->why == COIR__WHY_RWLOCK_READ ||
                          sight->why == COIR__WHY_RWLOCK_WRITE;
    sight->bounded = wait->stop != coir__waiter_go_on &&
                     (has_timed_form || sight->fiber->deadline_ns != COIR__NEVER);
    sight->woken = atomic_load_explicit(&wait->word, memory_order_acquire) >= 0;
    switch ((enum coir__why)sight->why) {
    case COIR__WHY_IO:
        sight->op = coir__op_view(wait);
        break;
    case COIR__WHY_MUTEX:
        sight->owner = coir__mutex_owner(wait->on);
        break;
    case COIR__WHY_RWLOCK_READ:
    case COIR__WHY_RWLOCK_WRITE:
        sight->owner = coir__rwlock_writer(wait->on);
        break;
    case COIR__WHY_SELECT:
        see_cases(sight, wait);
        break;
    case COIR__WHY_COND:
        if (sight->woken)
            see_signalled(sight, wait);
        break;
    case COIR__WHY_FUTURE:
        sight->owner = (uintptr_t)coir__future_fiber(wait->on);
        break;
    case COIR__WHY_JOIN:
        sight->on = coir__fiber_handle((struct coir__fiber *)(uintptr_t)wait->on);
        break;
    default:
        break;
    }
}

/* What is the same for all that live. An ended fiber's record may be freed at any moment: it is
 * counted; false. */
static inline __attribute__((always_inline)) bool
see_common(struct coir__sights *sights, struct coir__sight *sight, struct coir__fiber *f)
{
    uint8_t state = atomic_load_explicit(&f->state, memory_order_acquire);
    sights->ended += state == COIR__ENDED;
    if (state == COIR__FREE || state == COIR__ENDED)
        return false;
    *sight = (struct coir__sight){
        .state = state & COIR__STATE_MASK,
        .why = state >> COIR__WHY_SHIFT,
        .cancelled = atomic_load_explicit(&f->cancelled, memory_order_relaxed),
        .detached = atomic_load_explicit(&f->detached, memory_order_relaxed),
        .fiber = f,
        .handle = coir__fiber_handle(f),
        .scope =
            f->flags & COIR__CHILD ? atomic_load_explicit(&f->scope, memory_order_relaxed) : NULL,
    };
    memcpy(sight->name, coir__fiber_name(f), f->flags & COIR__NAMED ? COIR__NAME_BYTES : 1);
    return true;
}

static void keep_running(struct coir__sights *sights, struct coir__fiber *f)
{
    struct coir__sight sight;
    sights->running = f;
    if (!see_common(sights, &sight, f))
        return;
    sight.state = COIR__RUNNING;
    keep(sights, &sight, &sights->interrupted_at);
}

static void see_fresh(struct coir__sights *sights, struct coir__fiber *f)
{
    const struct coir__backtrace none = { 0 };
    struct coir__sight sight;
    if (coir__fiber_home(f) != sights->look.worker || !see_common(sights, &sight, f))
        return;
    sight.fn = (uintptr_t)f->fn;
    keep(sights, &sight, &none);
}

static void see_started(struct coir__sights *sights, struct coir__fiber *f)
{
    struct coir__sight sight;
    struct coir__backtrace bt;
    /* Interrupted between the change of its state and the switch: on its stack we still are. */
    if (sights->interrupted && coir__on_stack(f, sights->interrupted_sp)) {
        keep_running(sights, f);
        return;
    }
    if (!see_common(sights, &sight, f))
        return;
    if (sight.state == COIR__RUNNING)
        sight.state = COIR__READY; /* to be switched to next */
    if (sight.state == COIR__PARKED && coir__fiber_more(f)->wait)
        see_wait(&sight, coir__fiber_more(f)->wait, sights->look.worker->stamp);
    if (f == sights->asker)
        sight.state = COIR__RUNNING;
    coir__backtrace_of(&bt, f);
    keep(sights, &sight, &bt);
}

/* Its function has returned; its stack may be another's. */
static bool ends(struct coir__fiber *f)
{
    return atomic_load_explicit(&f->state, memory_order_acquire) ==
           (COIR__PARKED | COIR__WHY_END << COIR__WHY_SHIFT);
}

/* A fresh one may be stolen, run and end elsewhere, unless it is locked. What a signal handler has
 * interrupted may have a lock: there we take the risk of telling nonsense. */
static void see(struct coir__look *look, struct coir__fiber *f)
{
    struct coir__sights *sights = (struct coir__sights *)look;
    switch (coir__fiber_state(f)) {
    case COIR__FREE:
        break;
    case COIR__ENDED:
        sights->ended++;
        break;
    case COIR__FRESH:
        if (sights->interrupted) {
            see_fresh(sights, f);
        } else if (coir__fiber_lock(f, coir__fiber_generation(f))) {
            see_fresh(sights, f);
            coir__fiber_unlock(f);
        }
        break;
    default:
        if (f != sights->running && !ends(f))
            see_started(sights, f);
    }
}

void coir__sights_init(struct coir__sights *sights, struct coir__worker *w, bool only_running)
{
    *sights = (struct coir__sights){ .look = { .see = see, .worker = w },
                                     .index = w->index,
                                     .asker = coir__fiber_self() };
    if (only_running)
        sights->look.at = COIR__RECORDS_END;
}

COIR__UNSANITIZED struct coir__progress coir__progress_of(struct coir__worker *w)
{
    struct coir__progress p = {
        .tick = *(volatile uint32_t *)&w->tick,
        .budget = *(volatile int32_t *)&w->budget,
        .fiber = *(struct coir__fiber *volatile *)&w->current,
    };
    if (p.fiber == &w->loop)
        p.fiber = NULL;
    return p;
}

/* The stack pointer is the kernel's word, not the unwinder's: its CFA of that frame is on the
 * handler's stack where the signal's frame has no unwind information of its own. */
void coir__sights_interrupted(struct coir__look *look, void *context)
{
    struct coir__sights *sights = (struct coir__sights *)look;
    struct coir__worker *w = look->worker;
    memcpy(&sights->interrupted_sp, (char *)context + COIR__INTERRUPTED_SP, sizeof(uintptr_t));
    coir__backtrace_interrupted(&sights->interrupted_at);
    sights->interrupted = true;
    sights->progress = coir__progress_of(w);
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
        if (!see_common(sights, &sight, f))
            continue;
        sight.outside = true;
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
