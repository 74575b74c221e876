/* tests/model/case_steal.c - fresh fibers and thieves: each is taken once, and none is forgotten.
 * SPDX-License-Identifier: MIT */
#include "cases.h"
#include "kit.h"
#include "sched/freshq.h"
#include "sched/steal.h"

enum { FRESH_MAX = 4 };

static struct coir__fiber *fresh[FRESH_MAX];
static int taken[FRESH_MAX];
static _Atomic uint32_t ran;

static void begin(unsigned queued, unsigned made)
{
    kit_begin(2, 0);
    kit_rt.watching = 0;
    for (unsigned i = 0; i < made; i++)
        fresh[i] = kit_fresh(0, NULL, NULL);
    kit_be_worker(0);
    for (unsigned i = 0; i < queued; i++)
        coir__freshq_push(&kit_workers[0], fresh[i]);
}

static void note_taken(struct coir__fiber *f)
{
    for (int i = 0; i < FRESH_MAX; i++)
        if (fresh[i] == f) {
            taken[i]++;
            model_pay();
            return;
        }
    model_fail("what was popped is no fiber");
}

/* The owner pops what is left for him, with pushes in between. */
static void own(void *arg)
{
    struct coir__worker *w = &kit_workers[0];
    struct coir__fiber *f;
    kit_be_worker(0);
    for (uintptr_t i = 0; i < (uintptr_t)arg; i++)
        coir__freshq_push(w, fresh[FRESH_MAX - 1 - i]);
    while ((f = coir__freshq_pop(w)))
        note_taken(f);
}

/* What a thief does who found his last catch worth it: he looks and takes at once. */
static void steal(void *arg)
{
    struct coir__worker *w = &kit_workers[1];
    struct coir__fiber *f;
    (void)arg;
    kit_be_worker(1);
    w->steal.stole_ns = 1;
    coir__steal_when_idle(w, 1000 * 1000 * 1000);
    while ((f = coir__freshq_pop(w))) {
        model_assert(coir__fiber_home(f) == w);
        note_taken(f);
    }
}

static void pops_and_thief(void)
{
    begin(2, 2);
    model_thread("owner", own, (void *)0);
    model_thread("thief", steal, NULL);
    model_owe(2);
}

static void pushes_and_thief(void)
{
    begin(1, FRESH_MAX);
    model_thread("owner", own, (void *)1);
    model_thread("thief", steal, NULL);
    model_owe(2);
}

/* Four are there, and the second is waited for, and then the last: half of all are the first and,
 * if the second has gone, the third. */
static void own_by_levels(void *arg)
{
    struct coir__worker *w = &kit_workers[0];
    struct coir__fiber *f;
    (void)arg;
    kit_be_worker(0);
    coir__freshq_first(fresh[1]);
    if ((f = coir__freshq_pop(w)))
        note_taken(f);
    coir__freshq_first(fresh[3]);
    while ((f = coir__freshq_pop(w)))
        note_taken(f);
    model_assert(w->fresh.depth == 0 && w->fresh.holes == 0);
}

static void levels_and_thief(void)
{
    begin(FRESH_MAX, FRESH_MAX);
    model_thread("owner", own_by_levels, NULL);
    model_thread("thief", steal, NULL);
    model_owe(FRESH_MAX);
}

/* Somebody cancels a fiber while it is stolen. The mail stays with whoever is home. */
static void cancel(void *arg)
{
    (void)arg;
    coir__cancel(coir__fiber_handle(fresh[0]));
    model_pay();
}

static void own_and_read(void *arg)
{
    own(arg);
    model_await_quiet();
    own(NULL); /* what the thief gave back */
}

static void cancelled_and_stolen(void)
{
    begin(2, 2);
    model_thread("owner", own_and_read, (void *)0);
    model_thread("thief", steal, NULL);
    model_thread("canceller", cancel, NULL);
    model_owe(3);
}

static void mail_is_at_home(void)
{
    struct coir__fiber *f = fresh[0];
    struct coir__worker *home = coir__fiber_home(f);
    if (atomic_load(&f->mail))
        model_assert((uintptr_t)f == atomic_load(&home->inbox));
    model_assert(atomic_load(&f->cancelled) == COIR__CANCELLED);
}

/* Whole workers: the fiber of worker 0 spawns another and does not go on before that has run, which
 * it can only do elsewhere. Worker 1 is asleep, about to sleep, or watches; time passes. */
static void *run_once(void *arg)
{
    (void)arg;
    atomic_store(&ran, 1);
    model_pay();
    return NULL;
}

static void *spawn_and_spin(void *arg)
{
    (void)arg;
    coir__spawn_plain(coir__worker_self(), run_once, NULL);
    while (!atomic_load(&ran))
        coir__arch_pause();
    model_pay();
    return NULL;
}

/* Once at any moment, and then whenever nobody can go on. */
static void pass_time(void *arg)
{
    int64_t step_ns = 1000 * 1000;
    for (uintptr_t i = 0; i < (uintptr_t)arg && !atomic_load(&ran); i++) {
        if (i)
            model_await_quiet();
        model_clock_advance(model_now() + step_ns);
    }
}

static void whole_workers(void)
{
    kit_begin(2, 2);
    kit_rt.watching = 0;
    kit_fiber(0, spawn_and_spin, NULL);
    model_thread("time", pass_time, (void *)6);
    model_owe(2);
}

const struct model_case cases_steal[] = {
    { "steal, pops", "the owner pops 2 fresh fibers, a thief comes", pops_and_thief, NULL,
      MODEL_BARRIERS, 0 },
    { "steal, pushes", "the owner pushes to 1 fresh fiber and pops, a thief comes",
      pushes_and_thief, NULL, MODEL_BARRIERS, 0 },
    { "steal, levels", "the owner pops 4 fresh fibers out of turn, a thief comes", levels_and_thief,
      NULL, MODEL_BARRIERS, 0 },
    { "steal, cancel", "the owner pops 2 fresh fibers, a thief comes, one is cancelled",
      cancelled_and_stolen, mail_is_at_home, MODEL_BARRIERS, MODEL_ALWAYS },
    { "steal, whole workers", "a fiber spawns one and spins until it has run", whole_workers, NULL,
      MODEL_BARRIERS | MODEL_CLOCK, 0 },
    { 0 },
};
