/* sched/runtime.c - starting the workers, and ending them when nothing is left to do.
 * SPDX-License-Identifier: MIT
 *
 * The end, in order: fn has returned (main_ended); no fiber that somebody may join is left (quiet);
 * plain threads are shut out, detached fibers cancelled (draining); all have ended, or their time
 * is up (stopping): the loops end, the ops in flight are ended and awaited, threads joined, memory
 * freed. */
#include "runtime.h"

#include "bias.h"
#include "dump.h"
#include "memory.h"
#include "record.h"
#include "stack.h"
#include "wait.h"

#include <errno.h>

/* The last runtime that ends gives the memory of records and stacks back; one that starts meanwhile
 * waits. */
static struct {
    _Atomic int32_t lock;
    uint32_t len;
    bool probed;
    bool left_behind; /* records of fibers that will never run again, which others may still know */
} runtimes;

static struct coir__worker *map_workers(struct coir__runtime *rt)
{
    rt->workers_bytes = rt->config.workers * sizeof(struct coir__worker);
    return coir__map(rt->workers_bytes);
}

static void self_set(struct coir__worker *w)
{
#ifndef COIR_FREESTANDING
    coir__worker_tls = w;
#else
    coir__arch_self_set(w);
#endif
}

/* Everything of w that needs its own thread. */
static int worker_enter(struct coir__worker *w)
{
    self_set(w);
    w->current = &w->loop;
    w->fresh.asked = !coir__lock_biased;
    w->loop.home = w;
    w->trim_ns = COIR__NEVER;
    w->tid = coir__host_thread_id();
    w->stamp = coir__stamp_of(coir__host_now());
    w->fpu_default = coir__arch_fpu_save();
    w->thread_pointer = coir__arch_tp();
    w->unwinder = coir__host_unwinder();
    int err = coir__host_worker_enter(w);
    if (err < 0)
        goto unset;
    err = w->rt->config.engine->init(w);
    if (err < 0)
        goto leave;
    /* One stack at least, so that a first fiber can run. */
    struct coir__stack *s = coir__stack_alloc(w, w->rt->config.stack_class);
    if (s) {
        coir__stack_free(w, s);
        return 0;
    }
    err = -ENOMEM;
    w->rt->config.engine->fini(w);
leave:
    coir__host_worker_leave(w);
unset:
    self_set(NULL);
    return err;
}

/* Nothing may outlive this thread that refers to it: not the ops of fibers that will never run
 * again (completing them touches the fibers' stacks, which therefore stay), nor what plain threads
 * still brought in. */
static void worker_leave(struct coir__worker *w)
{
    const struct coir__engine *engine = w->rt->config.engine;
    do {
        coir__worker_read_inbox(w);
        engine->stop_all(w);
        if (engine->in_flight(w))
            coir__worker_await_mail(w);
    } while (engine->in_flight(w) || atomic_load(&w->inbox));
    coir__worker_await_kickers(w);
    engine->fini(w);
    coir__stack_flush(w);
    coir__record_flush(w);
    coir__host_worker_leave(w);
    self_set(NULL);
}

static void worker_thread(void *arg)
{
    struct coir__worker *w = arg;
    struct coir__runtime *rt = w->rt;
    w->start_error = worker_enter(w);
    bool entered = w->start_error == 0;
    atomic_fetch_add(&rt->started, 1);
    coir__futex_wake((_Atomic int32_t *)&rt->started, 1);
    if (!entered)
        return;
    coir__worker_loop(w);
    worker_leave(w);
}

void coir__runtime_kick(struct coir__runtime *rt)
{
    for (unsigned i = 0; i < rt->config.workers; i++)
        coir__worker_kick(&rt->workers[i]);
}

static void wait_for_starts(struct coir__runtime *rt, uint32_t n)
{
    uint32_t started;
    while ((started = atomic_load(&rt->started)) < n)
        coir__futex_wait((_Atomic int32_t *)&rt->started, (int32_t)started, COIR__NEVER);
}

static void free_runtime(struct coir__runtime *rt)
{
    coir__unmap(rt->workers, rt->workers_bytes);
    rt->workers = NULL;
    coir__sleep_lock(&runtimes.lock);
    if (--runtimes.len == 0) {
        coir__stack_unmap();
        if (!runtimes.left_behind)
            coir__record_trim();
    }
    coir__sleep_unlock(&runtimes.lock);
}

static void join_threads(struct coir__runtime *rt)
{
    for (unsigned i = 0; i < rt->config.workers; i++)
        if (rt->workers[i].thread)
            coir__host_thread_join(rt->workers[i].thread);
}

/* Start the threads of workers from first on; 0, or the first error. */
static int start_threads(struct coir__runtime *rt, unsigned first)
{
    int err = 0;
    unsigned n = first;
    for (; n < rt->config.workers && err == 0; n++) {
        err = coir__host_thread_start(&rt->workers[n].thread, worker_thread, &rt->workers[n]);
        if (err < 0)
            break;
    }
    wait_for_starts(rt, n - first);
    for (unsigned i = first; i < n; i++)
        if (rt->workers[i].start_error < 0)
            err = rt->workers[i].start_error;
    return err;
}

/* All but `visitors` and `joining`: a plain thread may be knocking right now. */
static void reset(struct coir__runtime *rt)
{
    atomic_store(&rt->started, 0);
    atomic_store(&rt->main_ended, 0);
    atomic_store(&rt->draining, 0);
    atomic_store(&rt->stopping, 0);
    atomic_store(&rt->next_worker, 0);
    atomic_store(&rt->watching, 0);
    atomic_store(&rt->spawned_outside, 0);
    atomic_store(&rt->spawned_outside_detached, 0);
    atomic_store(&rt->detached_later, 0);
}

int coir__runtime_start(struct coir__runtime *rt, const struct coir__config *config, bool here)
{
    reset(rt);
    /* What started a runtime that starts by itself may always wake its fibers. */
    atomic_store(&rt->rest, here ? COIR__REST_UNKNOWN : COIR__REST_TOLD);
    rt->config = *config;
    rt->workers = map_workers(rt);
    if (!rt->workers)
        return -ENOMEM;
    for (unsigned i = 0; i < config->workers; i++) {
        rt->workers[i].self = &rt->workers[i];
        rt->workers[i].rt = rt;
        rt->workers[i].index = i;
        rt->workers[i].slot = coir__slot_of(here, i);
        rt->workers[i].looker.mail.handle = coir__look_mail;
    }
    coir__sleep_lock(&runtimes.lock);
    if (!runtimes.probed) {
        coir__arch_probe();
        coir__lock_init();
    }
    runtimes.probed = true;
    runtimes.len++;
    coir__sleep_unlock(&runtimes.lock);
    int err = here ? worker_enter(&rt->workers[0]) : 0;
    if (err < 0)
        goto free;
    err = start_threads(rt, here);
    if (err < 0)
        goto stop;
    if (!here)
        atomic_store(&rt->accepting, 1);
    atomic_store(&rt->up, 1);
    return 0;
stop:
    atomic_store(&rt->stopping, 1);
    coir__runtime_kick(rt);
    join_threads(rt);
    if (here)
        worker_leave(&rt->workers[0]);
free:
    free_runtime(rt);
    return err;
}

static uint64_t total(struct coir__runtime *rt, size_t offset)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < rt->config.workers; i++)
        sum += atomic_load_explicit((_Atomic uint64_t *)((char *)&rt->workers[i].counters + offset),
                                    memory_order_acquire);
    return sum;
}

#define TOTAL(rt, field) total(rt, offsetof(struct coir__counters, field))

/* All counters only grow, and ends are read before spawns: equal sums mean that there was a moment
 * without fibers. */
bool coir__runtime_quiet(struct coir__runtime *rt, bool detached_too)
{
    /* Of two workers that each count an end and then look, one sees both. */
    atomic_thread_fence(memory_order_seq_cst);
    uint64_t ended = TOTAL(rt, ended);
    if (detached_too)
        ended += TOTAL(rt, ended_detached);
    else
        ended += atomic_load(&rt->detached_later);
    uint64_t spawned = TOTAL(rt, spawned) + atomic_load(&rt->spawned_outside);
    if (detached_too)
        spawned += TOTAL(rt, spawned_detached) + atomic_load(&rt->spawned_outside_detached);
    return ended == spawned;
}

static void cancel(struct coir__fiber *f, void *arg)
{
    coir__cancel_within(arg, f);
}

/* Shut plain threads out and see whether the last of them brought something in. */
static bool close_doors(struct coir__runtime *rt)
{
    atomic_store(&rt->accepting, 0);
    while (atomic_load(&rt->visitors))
        coir__sys(SYS_sched_yield);
    if (coir__runtime_quiet(rt, false))
        return true;
    atomic_store(&rt->accepting, 1);
    return false;
}

void coir__runtime_wind_down(struct coir__runtime *rt, struct coir__worker *w, int64_t now_ns)
{
    if (!atomic_load_explicit(&rt->draining, memory_order_acquire)) {
        if (w->index != 0) {
            if (coir__runtime_quiet(rt, false))
                coir__worker_kick(&rt->workers[0]);
            return;
        }
        if (!coir__runtime_quiet(rt, false) || !close_doors(rt))
            return;
        if (__builtin_add_overflow(now_ns, rt->config.drain_ns, &rt->drain_until_ns))
            rt->drain_until_ns = COIR__NEVER;
        for (unsigned i = 0; i < rt->config.workers; i++)
            atomic_fetch_or(&rt->workers[i].refuses, COIR__REFUSES_ENDING);
        atomic_store(&rt->draining, 1);
        coir__runtime_kick(rt);
    }
    /* Each worker for itself: what a fiber of its was about to spawn when the doors were closed is
     * there by now. */
    if (!w->saw_draining) {
        w->saw_draining = true;
        coir__record_each(rt, cancel, rt);
    }
    if (coir__runtime_quiet(rt, true) || (w->index == 0 && now_ns >= rt->drain_until_ns)) {
        atomic_store_explicit(&rt->stopping, 1, memory_order_release);
        coir__runtime_kick(rt);
    }
}

/* What ended runtimes have counted. The lock also guards the end of each: its counters are there,
 * or here. */
static struct {
    _Atomic int32_t lock;
    struct coir__totals past;
} totals;

static void add(struct coir__totals *sum, const struct coir__totals *more)
{
    const uint64_t *from = (const uint64_t *)more;
    for (size_t i = 0; i < sizeof *sum / sizeof(uint64_t); i++)
        ((uint64_t *)sum)[i] += from[i];
}

static struct coir__totals totals_of(struct coir__runtime *rt)
{
    struct coir__totals t = {
        .ended = TOTAL(rt, ended) + TOTAL(rt, ended_detached),
        .wakes = TOTAL(rt, wakes),
        .ops_completed = TOTAL(rt, ops_completed),
    };
    /* What comes second is read second: no more ended than spawned. */
    t.spawned = TOTAL(rt, spawned) + TOTAL(rt, spawned_detached) +
                atomic_load(&rt->spawned_outside) + atomic_load(&rt->spawned_outside_detached);
    t.switches = TOTAL(rt, switches);
    t.parks = TOTAL(rt, parks);
    t.steals = TOTAL(rt, steals);
    t.sleeps = TOTAL(rt, sleeps);
    t.enters = TOTAL(rt, enters);
    t.ops = TOTAL(rt, ops);
    return t;
}

void coir__totals_begin(struct coir__totals *sum)
{
    coir__sleep_lock(&totals.lock);
    *sum = totals.past;
}

void coir__totals_add(struct coir__totals *sum, struct coir__runtime *rt, uint64_t *workers)
{
    if (!atomic_load(&rt->up))
        return;
    struct coir__totals now = totals_of(rt);
    add(sum, &now);
    *workers += rt->config.workers;
}

void coir__totals_end(void)
{
    coir__sleep_unlock(&totals.lock);
}

/* Its workers have ended. */
static void go_down(struct coir__runtime *rt)
{
    coir__sleep_lock(&totals.lock);
    rt->totals = totals_of(rt);
    add(&totals.past, &rt->totals);
    atomic_store(&rt->up, 0); /* pairs with coir__runtime_hold() */
    coir__sleep_unlock(&totals.lock);
}

struct first {
    void (*fn)(void *);
    void *arg;
};

static void *run_first(void *arg)
{
    struct first *first = arg;
    struct coir__runtime *rt = coir__worker_self()->rt;
    first->fn(first->arg);
    atomic_store_explicit(&rt->main_ended, 1, memory_order_release);
    return NULL;
}

/* The workers are gone: what is left of a record's lock is `lock`, and what has not ended never
 * will. What has may be joined at any time, and its record used anew, for another runtime. */
static void send_joiner_home(struct coir__fiber *f, void *arg)
{
    struct coir__runtime *rt = arg;
    enum coir__state state = coir__fiber_state(f);
    if (state == COIR__FREE || state == COIR__ENDED || !coir__runtime_has(rt, coir__fiber_home(f)))
        return;
    /* Nobody shall wait for it. */
    coir__spin_lock(&f->lock);
    struct coir__waiter *joiner = f->flags & COIR__CHILD ? NULL : atomic_load(&f->joiner);
    if (joiner && (atomic_load(&f->done) || !coir__waiter_claim(joiner, ECANCELED)))
        joiner = NULL;
    coir__spin_unlock(&f->lock);
    if (joiner)
        coir__waiter_release(joiner);
    if (state == COIR__FRESH)
        coir__host_given_up(f->fn, f->arg);
    else
        coir__host_given_up(f->stack->fn, f->stack->arg);
}

/* What is still there when the loops have ended: unjoined results, and fibers that will never run
 * again. The latter's records and stacks stay: others may still hold pointers to them. */
static void forget(struct coir__fiber *f, void *arg)
{
    (void)arg;
    coir__spin_lock(&f->lock); /* others may be about to cancel it */
    bool ended = coir__fiber_state(f) == COIR__ENDED;
    if (!ended) {
        __atomic_store_n(&f->home, NULL, __ATOMIC_RELAXED);
        runtimes.left_behind = true;
    } else {
        coir__record_free(NULL, f);
    }
    coir__spin_unlock(&f->lock);
}

_Atomic uint32_t coir__knockers;

/* Who knocks sees that its fiber was given up, or is seen here. */
static void await_knockers(void)
{
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in coir__knock() */
    while (atomic_load(&coir__knockers))
        coir__sys(SYS_sched_yield);
}

int coir__runtime_run(struct coir__runtime *rt, void (*fn)(void *), void *arg)
{
    struct first first = { fn, arg };
    struct coir__spawn how = { .fn = run_first,
                               .arg = &first,
                               .name = "main",
                               .flags = COIR__STAYS, /* on the calling thread */
                               .stack_class = -1,
                               .deadline_ns = COIR__NEVER };
    struct coir__fiber *f = NULL;
    int err = coir__spawn(rt, &how, &f);
    if (err == 0) {
        atomic_store(&rt->accepting, 1);
        coir__worker_loop(&rt->workers[0]);
    } else {
        atomic_store(&rt->stopping, 1);
        coir__runtime_kick(rt);
    }
    join_threads(rt);
    worker_leave(&rt->workers[0]);
    go_down(rt);
    coir__record_each(rt, send_joiner_home, rt);
    while (atomic_load(&rt->joining) || atomic_load(&rt->visitors))
        coir__sys(SYS_sched_yield);
    for (unsigned i = 0; i < rt->config.workers; i++) {
        coir__worker_read_inbox(&rt->workers[i]); /* what the last visitors brought */
        coir__record_flush(&rt->workers[i]);
    }
    coir__record_each(rt, forget, NULL);
    await_knockers();
    free_runtime(rt);
    return err;
}
