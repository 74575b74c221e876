/* sched/runtime.h - a set of workers, from start to stop.
 * SPDX-License-Identifier: MIT
 *
 * There are at most two: that of coir_run, and the one that starts by itself for plain threads.
 * Everything that is not the runtime's is a worker's; records and stacks are shared by both. */
#ifndef COIR_SCHED_RUNTIME_H
#define COIR_SCHED_RUNTIME_H

#include "worker.h"

enum { COIR__WORKERS_MAX = 1024 };

struct coir__config {
    const struct coir__engine *engine;
    unsigned workers;
    unsigned stack_class;
    bool unguarded; /* go on without guards when they run out, else fail with ENOMEM */
    int64_t drain_ns;
    bool watched; /* call coir__host_woke */
};

/* LATER: there were threads that may wake fibers. TOLD: that there are none, or it shall not be
 * told. */
enum { COIR__REST_UNKNOWN, COIR__REST_LATER, COIR__REST_TOLD };

/* Sums of struct coir__counters. */
struct coir__totals {
    uint64_t spawned, ended; /* all fibers */
    uint64_t switches, parks, wakes, steals, sleeps, enters, ops, ops_completed;
};

struct coir__runtime {
    struct coir__config config;
    struct coir__worker *workers; /* config.workers of them; NULL: not running */
    uint64_t workers_bytes;
    _Atomic uint32_t started;     /* workers whose start has been tried */
    _Atomic uint32_t accepting;   /* plain threads may spawn */
    _Atomic uint32_t main_ended;  /* coir_run: fn has returned */
    _Atomic uint32_t draining;    /* detached fibers have been cancelled */
    _Atomic uint32_t stopping;    /* the loops end */
    _Atomic uint32_t next_worker; /* round robin of spawns from outside */
    _Atomic uint32_t watching;    /* 1 + the index of the worker that watches for fresh fibers
                                   * that wait too long: steal.h; 0: none */
    _Atomic uint32_t visitors;    /* strangers who use its workers: spawn, mail, lent ops */
    _Atomic uint32_t joining;     /* threads and foreign fibers inside join or detach, or a hold */
    _Atomic uint32_t rest;        /* COIR__REST_*: what is known of all being at rest */
    _Atomic uint32_t up;          /* between start and stop: may be held */
    _Atomic uint64_t spawned_outside, spawned_outside_detached, detached_later;
    int64_t drain_until_ns;     /* worker 0, once draining */
    struct coir__totals totals; /* of the last run, once it has ended */
};

/* Is w, which may be gone, one of rt's workers? rt is running. */
static inline bool coir__runtime_has(const struct coir__runtime *rt, const struct coir__worker *w)
{
    return (uintptr_t)w - (uintptr_t)rt->workers < rt->config.workers * sizeof *w;
}

/* Whoever comes to a fiber from outside its runtime does not know whether that still has it: it may
 * give it up, and end, at any moment. He knocks first; the end first parts with its fibers, and
 * then waits until nobody knocks. */
COIR_HIDDEN extern _Atomic uint32_t coir__knockers;

static inline void coir__knock(void)
{
    atomic_fetch_add(&coir__knockers, 1);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in await_knockers() */
}

static inline void coir__knocked(void)
{
    atomic_fetch_sub(&coir__knockers, 1);
}

/* Is home a worker of the calling worker's own runtime, which does not end without the caller? */
static inline bool coir__worker_is_sibling(const struct coir__worker *home)
{
    struct coir__worker *self = coir__worker_self();
    return self && home >= self->rt->workers && home < self->rt->workers + self->rt->config.workers;
}

/* Keep the workers' memory from going, for a short time: their threads may end meanwhile. Not by a
 * fiber of rt, which need not. False: rt does not run. */
static inline bool coir__runtime_hold(struct coir__runtime *rt)
{
    atomic_fetch_add(&rt->joining, 1);
    if (atomic_load(&rt->up) && !atomic_load(&rt->stopping))
        return true;
    atomic_fetch_sub(&rt->joining, 1);
    return false;
}

static inline void coir__runtime_let_go(struct coir__runtime *rt)
{
    atomic_fetch_sub(&rt->joining, 1);
}

/* Begin with what ended runtimes have counted; then add each that is up, and the number of its
 * workers. None ends in between. */
COIR_HIDDEN void coir__totals_begin(struct coir__totals *sum);
COIR_HIDDEN void coir__totals_add(struct coir__totals *sum, struct coir__runtime *rt,
                                  uint64_t *workers);
COIR_HIDDEN void coir__totals_end(void);

/* Start the workers; worker 0 runs on the calling thread (which then calls coir__runtime_run) if
 * here, else on a thread of its own. 0, or -errno and nothing is left running. */
COIR_HIDDEN int coir__runtime_start(struct coir__runtime *rt, const struct coir__config *config,
                                    bool here);

/* coir_run's caller becomes worker 0: run fn(arg) as a fiber until everything has ended, then stop
 * and free. */
COIR_HIDDEN int coir__runtime_run(struct coir__runtime *rt, void (*fn)(void *), void *arg);

/* How far the end has come: 0 fn runs, 1 it has returned, 2 draining. Only grows. */
static inline uint32_t coir__runtime_phase(struct coir__runtime *rt)
{
    return atomic_load_explicit(&rt->main_ended, memory_order_acquire) +
           atomic_load_explicit(&rt->draining, memory_order_acquire);
}

/* Have all fibers that are not detached ended? Exact only when nobody else can spawn. */
COIR_HIDDEN bool coir__runtime_quiet(struct coir__runtime *rt, bool detached_too);

/* What a worker's loop does about the end of the runtime, once fn has returned. */
COIR_HIDDEN void coir__runtime_wind_down(struct coir__runtime *rt, struct coir__worker *w,
                                         int64_t now_ns);

/* Who is to get what comes from a plain thread: the workers in turn, but rather one that sleeps,
 * since another may be in a fiber that blocks. */
COIR_HIDDEN struct coir__worker *coir__runtime_idle(struct coir__runtime *rt);

/* Kick every worker. */
COIR_HIDDEN void coir__runtime_kick(struct coir__runtime *rt);

struct coir__spawn {
    void *(*fn)(void *);
    void *arg;
    const char *name;
    unsigned flags;
    int stack_class; /* -1: the runtime's */
    int64_t deadline_ns;
    struct coir__scope *scope; /* with COIR__CHILD: whose */
};
/* rt: where to, for a plain thread. -errno: ENOMEM, EAGAIN. */
COIR_HIDDEN int coir__spawn(struct coir__runtime *rt, const struct coir__spawn *how,
                            struct coir__fiber **fiber);

/* The same in two steps: a fiber that is in no queue yet, and its start, at any time and by anyone.
 * It keeps the home that it was given. */
COIR_HIDDEN int coir__spawn_held(struct coir__runtime *rt, const struct coir__spawn *how,
                                 struct coir__fiber **fiber);
COIR_HIDDEN void coir__spawn_start(struct coir__fiber *f);

/* The usual case: from a fiber of w, without attributes. NULL: no memory. */
COIR_HIDDEN struct coir__fiber *coir__spawn_plain(struct coir__worker *w, void *(*fn)(void *),
                                                  void *arg);

/* -errno as in coir/fiber.h. Success: *result and *error are the fiber's. */
COIR_HIDDEN int coir__join(void *handle, void **result, int *error);
/* For select. As coir__join, but -EAGAIN instead of waiting. */
COIR_HIDDEN int coir__join_now(void *handle, void **result, int *error);
/* Have the fiber's end claim waiter, which may be its joiner already: 0. Or -EINVAL: coir__join_now
 * would not have said -EAGAIN. visited is for coir__join_leave. */
COIR_HIDDEN int coir__join_enter(void *handle, struct coir__waiter *waiter,
                                 struct coir__runtime **visited);
COIR_HIDDEN void coir__join_leave(void *handle, struct coir__waiter *waiter,
                                  struct coir__runtime *visited);
COIR_HIDDEN int coir__detach(void *handle);
COIR_HIDDEN int coir__cancel(void *handle);
/* For who knows that f does not end meanwhile: one more bit of `cancelled`, and have the call that
 * it is parked in fail. What is below f is the caller's business. */
COIR_HIDDEN void coir__cancel_alive(struct coir__fiber *f, uint8_t why);
/* At the end of rt: cancel f if it is, and not only was, a fiber of rt, and no scope's child. */
COIR_HIDDEN void coir__cancel_within(struct coir__runtime *rt, struct coir__fiber *f);
/* The calling fiber sleeps until that moment: 0, or -errno. */
COIR_HIDDEN int coir__sleep_until(int64_t until_ns);

/* The end of a fiber as others see it: f has returned, and its stack is no longer its own. Home
 * worker only. */
COIR_HIDDEN void coir__fiber_end(struct coir__worker *w, struct coir__fiber *f);
/* Mail for f has arrived on its home worker. */
COIR_HIDDEN void coir__fiber_mail(struct coir__worker *w, struct coir__fiber *f);

#endif
