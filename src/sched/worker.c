/* sched/worker.c - a worker's loop, its inbox, and how it sleeps.
 * SPDX-License-Identifier: MIT
 *
 * One tick: due timers, the inbox, the engine, then up to COIR__TICK_FIBERS fibers. Without a ready
 * fiber the engine waits.
 *
 * Sleep and kick: the worker sets `sleeping`, fences, looks at the inbox once more, and waits.
 * Whoever brings something writes it, fences, and kicks if it can change `sleeping` from 1 to 0.
 * One of the two sees the other. */
#include "freshq.h"
#include "runtime.h"
#include "sanitize.h"
#include "stack.h"
#include "steal.h"
#include "wait.h"

#include <sys/syscall.h>

#ifndef COIR_FREESTANDING
_Thread_local struct coir__worker *coir__worker_tls;
#endif

enum {
    STARVED_RETRY_NS = 10 * 1000 * 1000,
    STARVED_TELL_NS = 1000 * 1000 * 1000,
    REST_NS = 1000 * 1000 * 1000,
    CALL_BIT = 1
};

/* Waiting awake for mail: for how long, how often it may be in vain, and how long it takes to wake
 * from sleep. */
enum { SPIN_NS = 20 * 1000, SPIN_LOOKS = 16, SPINS_MAX = 4, WAKE_UP_NS = 30 * 1000 };
/* The same for completions: so often in vain at first, and at most, when it mostly was not; then so
 * many short sleeps come before the next attempt, and twice as many after each failure. A sleep
 * that was over at once cost little: who brought the completion was on this CPU meanwhile. With
 * more ops in flight than that a sleep collects what comes meanwhile, and each costs less. */
enum {
    IO_SPIN_NS = 40 * 1000,
    IO_WAKE_UP_MIN_NS = 8 * 1000,
    IO_SPINS_MIN = 2,
    IO_SPINS_MAX = 8,
    IO_SLEEPS_MIN = 16,
    IO_FAILURES_MAX = 8,
    IO_SPIN_OPS_MAX = 16
};

/* The worker may wake by itself, and go, before the kick: it waits for `kickers` first. */
void coir__worker_kick(struct coir__worker *w)
{
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in sleep_until() */
    if (!atomic_load_explicit(&w->sleeping, memory_order_relaxed))
        return;
    atomic_fetch_add(&w->kickers, 1);
    if (atomic_exchange(&w->sleeping, 0))
        w->rt->config.engine->kick(w);
    atomic_fetch_sub(&w->kickers, 1);
}

void coir__worker_await_kickers(struct coir__worker *w)
{
    atomic_thread_fence(memory_order_seq_cst); /* sleeping is 0: who comes later does not kick */
    while (atomic_load(&w->kickers))
        coir__sys(SYS_sched_yield);
}

/* A node's link is its own field; the inbox word says what kind it is. */
static void push(struct coir__worker *w, uintptr_t node, uintptr_t *link)
{
    uintptr_t head = atomic_load_explicit(&w->inbox, memory_order_relaxed);
    do
        *link = head;
    while (!atomic_compare_exchange_weak_explicit(&w->inbox, &head, node, memory_order_release,
                                                  memory_order_relaxed));
    coir__worker_kick(w);
}

/* Until the mail is read, f and its worker stay; after that a sender who is not of this runtime
 * needs to be a visitor for the last instructions. */
void coir__worker_mail_fiber(struct coir__fiber *f, uint32_t why)
{
    struct coir__worker *w = coir__fiber_home(f), *self = coir__worker_self();
    if (!w)
        return; /* its runtime ended without it */
    struct coir__runtime *rt = w->rt;
    bool foreign = !self || self->rt != rt;
    if (foreign)
        atomic_fetch_add(&rt->visitors, 1);
    if (atomic_fetch_or_explicit(&f->mail, (uint8_t)why, memory_order_acq_rel) == 0)
        push(w, (uintptr_t)f, &coir__fiber_more(f)->mail_next);
    if (foreign)
        atomic_fetch_sub(&rt->visitors, 1);
}

void coir__worker_mail_alive(struct coir__fiber *f, uint32_t why)
{
    if (coir__worker_is_sibling(coir__fiber_home(f))) {
        coir__worker_mail_fiber(f, why);
        return;
    }
    coir__knock();
    coir__worker_mail_fiber(f, why);
    coir__knocked();
}

void coir__worker_mail_call(struct coir__worker *w, struct coir__mail_call *call)
{
    push(w, (uintptr_t)call | CALL_BIT, &call->next);
}

static uintptr_t *link_of(uintptr_t node)
{
    return node & CALL_BIT ? &((struct coir__mail_call *)(node & ~(uintptr_t)CALL_BIT))->next
                           : &coir__fiber_more((struct coir__fiber *)node)->mail_next;
}

/* Handle what has arrived, oldest first. */
void coir__worker_read_inbox(struct coir__worker *w)
{
    uintptr_t newest = atomic_exchange_explicit(&w->inbox, 0, memory_order_acquire);
    uintptr_t oldest = 0;
    while (newest) {
        uintptr_t *link = link_of(newest), next = *link;
        *link = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        uintptr_t node = oldest;
        oldest = *link_of(node); /* before it is handled: it may be pushed again at once */
        if (node & CALL_BIT) {
            struct coir__mail_call *call = (struct coir__mail_call *)(node & ~(uintptr_t)CALL_BIT);
            call->handle(w, call);
        } else {
            coir__fiber_mail(w, (struct coir__fiber *)node);
        }
    }
}

static bool inbox_full(struct coir__worker *w)
{
    return atomic_load_explicit(&w->inbox, memory_order_relaxed) ||
           atomic_load_explicit(&w->closing_seen, memory_order_relaxed);
}

static bool has_work(struct coir__worker *w)
{
    return coir__runq_len(&w->ready) || (coir__freshq_len(w) && !w->starved);
}

/* Has something come, or changed, that was not there when w last looked? Whoever changes the phase
 * or ends a fiber does so before a fence, and looks at the other after it. Fresh fibers come from
 * threads, and back from thieves. */
static bool must_look(struct coir__worker *w, uint32_t phase)
{
    struct coir__runtime *rt = w->rt;
    return inbox_full(w) || has_work(w) ||
           atomic_load_explicit(&rt->stopping, memory_order_relaxed) ||
           coir__runtime_phase(rt) != phase || coir__steal_must_look(w) ||
           (w->index == 0 && phase == 1 && coir__runtime_quiet(rt, false));
}

/* The rough clock lags behind the other. */
void coir__worker_restamp(struct coir__worker *w)
{
    uint32_t stamp = coir__stamp_of(coir__host_now_roughly());
    if ((int32_t)(stamp - w->stamp) > 0)
        w->stamp = stamp;
}

/* Mail has come soon after the last waits for it began: look for it a little before sleeping, which
 * costs a system call here and one there. True: it is here. Not while ops are in flight: their
 * completions would wait meanwhile. */
static bool mail_comes_soon(struct coir__worker *w)
{
    if (!w->spins || w->rt->config.engine->in_flight(w))
        return false;
    int64_t end_ns = coir__host_now() + SPIN_NS;
    do {
        for (int i = 0; i < SPIN_LOOKS; i++) {
            if (inbox_full(w)) {
                w->spins = SPINS_MAX;
                return true;
            }
            coir__arch_pause();
        }
    } while (coir__host_now() < end_ns);
    w->spins--;
    return false;
}

/* The same for completions, while ops are in flight: to sleep and to wake up takes longer than a
 * peer that answers at once. What must run on this very CPU to bring them cannot meanwhile: after
 * some attempts in vain there are none for a while, and that gets longer. True: something is here,
 * or the next tick's look brings it. */
static bool io_comes_soon(struct coir__worker *w, int64_t until_ns)
{
    const struct coir__engine *engine = w->rt->config.engine;
    uint64_t ops = w->io_spins ? engine->in_flight(w) : 0;
    if (!ops || ops > IO_SPIN_OPS_MAX)
        return false;
    int64_t end_ns = coir__host_now() + IO_SPIN_NS;
    if (end_ns > until_ns)
        return false;
    engine->wait(w, 0); /* what was queued is to begin first */
    if (has_work(w))
        return true;
    do {
        for (int i = 0; i < SPIN_LOOKS; i++) {
            if (engine->look(w)) {
                if (++w->io_spins > IO_SPINS_MAX) {
                    w->io_spins = IO_SPINS_MAX;
                    w->io_failures -= w->io_failures > 0;
                }
                return true;
            }
            if (inbox_full(w))
                return true;
            coir__arch_pause();
        }
    } while (coir__host_now() < end_ns);
    if (--w->io_spins == 0) {
        w->io_sleeps = IO_SLEEPS_MIN << w->io_failures;
        w->io_failures += w->io_failures < IO_FAILURES_MAX;
    }
    return false;
}

static uint64_t completed(const struct coir__worker *w)
{
    return atomic_load_explicit(&w->counters.ops_completed, memory_order_relaxed);
}

/* w slept since from_ns, when so many ops were complete: would it have been worth waiting awake? */
static void learn(struct coir__worker *w, int64_t from_ns, uint64_t before)
{
    int64_t took_ns = coir__host_now() - from_ns;
    if (inbox_full(w) && took_ns < SPIN_NS + WAKE_UP_NS)
        w->spins = SPINS_MAX;
    if (completed(w) == before || took_ns < IO_WAKE_UP_MIN_NS || took_ns >= IO_SPIN_NS + WAKE_UP_NS)
        return;
    if (w->io_sleeps)
        w->io_sleeps--;
    else
        w->io_spins = IO_SPINS_MIN;
}

/* Nothing that w has under way will make a fiber ready. */
static bool may_rest(struct coir__worker *w)
{
    return !w->timers && !w->starved && !w->rt->config.engine->in_flight(w) &&
           !atomic_load_explicit(&w->rt->draining, memory_order_relaxed);
}

/* Others see w at rest only once it has looked for what came before, and has counted this sleep: so
 * from that count on it does nothing until it is kicked, and then it is not at rest. False: it has
 * just been. */
static bool begin_rest(struct coir__worker *w)
{
    uint32_t sleeps = COIR__SLEEPS;
    bool rests = atomic_compare_exchange_strong(&w->sleeping, &sleeps, COIR__RESTS);
    atomic_thread_fence(memory_order_seq_cst); /* of two, one sees both at rest */
    return rests;
}

/* Nor will any of the others, and they sleep: only a thread that is no worker can bring something.
 * Whoever falls asleep last finds that. */
static bool all_rest(struct coir__worker *w)
{
    const struct coir__runtime *rt = w->rt;
    for (unsigned i = 0; i < rt->config.workers; i++) {
        uint32_t at = (w->restless + i) % rt->config.workers;
        if (atomic_load_explicit(&rt->workers[at].sleeping, memory_order_relaxed) != COIR__RESTS) {
            w->restless = at;
            return false;
        }
    }
    return true;
}

static uint64_t sleeps(const struct coir__runtime *rt)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < rt->config.workers; i++)
        sum += atomic_load_explicit(&rt->workers[i].counters.sleeps, memory_order_acquire);
    return sum;
}

/* Is there such a thread? One that was there may have woken a worker, and gone: so nobody may have
 * been awake meanwhile. False: somebody was. */
static bool look_for_threads(struct coir__worker *w)
{
    struct coir__runtime *rt = w->rt;
    uint64_t before = sleeps(rt);
    uint32_t state = atomic_exchange(&rt->rest, COIR__REST_TOLD);
    if (state == COIR__REST_TOLD)
        return true; /* another worker is at it, too */
    bool alone = coir__host_alone(rt), still = all_rest(w) && sleeps(rt) == before;
    if (alone && still)
        coir__host_at_rest(rt);
    else
        atomic_store(&rt->rest, alone ? state : COIR__REST_LATER);
    return still || !alone;
}

/* All rest. To look for threads takes a while: once some were found, it is done only when it has
 * been quiet for some time, and then once. Returns until when to sleep. */
static int64_t rest(struct coir__worker *w, int64_t until_ns)
{
    uint32_t state = atomic_load_explicit(&w->rt->rest, memory_order_relaxed);
    if (state == COIR__REST_TOLD || w->rest_ns == COIR__NEVER)
        return until_ns;
    int64_t now_ns = coir__host_now();
    bool due = w->rest_ns && now_ns >= w->rest_ns;
    if ((due || state == COIR__REST_UNKNOWN) && !look_for_threads(w))
        return 0;
    if (due)
        w->rest_ns = COIR__NEVER;
    else if (!w->rest_ns)
        w->rest_ns = now_ns + REST_NS;
    return until_ns < w->rest_ns ? until_ns : w->rest_ns;
}

/* Nothing is ready: let the engine wait until something is. until_ns 0: w has work by now, and is
 * not at rest. phase: the runtime's, when w last saw to it. */
static void sleep_until(struct coir__worker *w, int64_t until_ns, uint32_t phase)
{
    atomic_store_explicit(&w->sleeping, COIR__SLEEPS, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in coir__worker_kick() */
    if (until_ns && must_look(w, phase))
        until_ns = 0;
    if (until_ns) {
        coir__count(&w->counters.sleeps, 1);
        if (may_rest(w) && begin_rest(w) && all_rest(w))
            until_ns = rest(w, until_ns);
    }
    int64_t from_ns = until_ns ? coir__host_now() : 0;
    uint64_t before = completed(w);
    w->rt->config.engine->wait(w, until_ns);
    atomic_store_explicit(&w->sleeping, 0, memory_order_relaxed);
    if (until_ns) {
        coir__worker_restamp(w); /* what waits from now on does so from now */
        learn(w, from_ns, before);
    }
    if (__builtin_expect(w->rt->config.watched, 0))
        coir__host_woke();
}

void coir__worker_await_mail(struct coir__worker *w)
{
    atomic_store_explicit(&w->sleeping, COIR__SLEEPS, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* as in sleep_until() */
    bool mail = atomic_load_explicit(&w->inbox, memory_order_relaxed);
    w->rt->config.engine->wait(w, mail ? 0 : COIR__NEVER);
    atomic_store_explicit(&w->sleeping, 0, memory_order_relaxed);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* When an idle worker has to look again by itself. */
static int64_t next_event(struct coir__worker *w, int64_t now_ns)
{
    struct coir__runtime *rt = w->rt;
    int64_t until_ns = earlier(coir__timer_first(w), w->trim_ns);
    if (w->starved)
        until_ns = earlier(until_ns, now_ns + STARVED_RETRY_NS);
    if (w->index == 0 && atomic_load_explicit(&rt->draining, memory_order_acquire))
        until_ns = earlier(until_ns, rt->drain_until_ns);
    return until_ns;
}

static void take_stock(struct coir__worker *w, int64_t now_ns)
{
    coir__timer_expire(w, now_ns);
    if (atomic_load_explicit(&w->inbox, memory_order_relaxed))
        coir__worker_read_inbox(w);
    if (atomic_load_explicit(&w->closing_seen, memory_order_relaxed)) {
        atomic_exchange(&w->closing_seen, 0); /* who sees the 1 sees CLOSING, too */
        w->rt->config.engine->stop_closing(w);
    }
    if (w->starved)
        coir__unstarve(w);
    if (now_ns >= w->trim_ns)
        w->trim_ns = coir__stack_trim(w, now_ns);
}

/* Nothing else may be left to do, and then nobody would ever know why. */
static __attribute__((noinline)) void tell_of_starving(struct coir__worker *w, int64_t now_ns)
{
    if (!w->starved_ns || now_ns - w->starved_ns < STARVED_TELL_NS)
        return;
    w->starved_ns = 0;
    coir__host_starves();
}

static void work(struct coir__worker *w, int64_t now_ns)
{
    w->rest_ns = 0;
    if (w->rt->config.workers > 1) {
        coir__steal_when_busy(w);
        coir__place_review(w, now_ns);
    }
    w->rt->config.engine->wait(w, 0);
}

static void idle(struct coir__worker *w, int64_t now_ns, uint32_t phase)
{
    bool alone = w->rt->config.workers == 1;
    if (__builtin_expect(w->starved != NULL, 0))
        tell_of_starving(w, now_ns);
    if (!alone && mail_comes_soon(w))
        return;
    int64_t look_ns = alone ? COIR__NEVER : coir__steal_when_idle(w, now_ns);
    int64_t until_ns = has_work(w) ? 0 : earlier(look_ns, next_event(w, now_ns));
    if (!io_comes_soon(w, until_ns))
        sleep_until(w, until_ns, phase);
}

void coir__worker_loop(struct coir__worker *w)
{
    struct coir__runtime *rt = w->rt;
    coir__san_loop_begin(w);
    for (;;) {
        w->tick++;
        int64_t now_ns = coir__host_now();
        w->stamp = coir__stamp_of(now_ns);
        take_stock(w, now_ns);
        uint32_t phase = coir__runtime_phase(rt);
        if (__builtin_expect(phase != 0, 0))
            coir__runtime_wind_down(rt, w, now_ns);
        if (atomic_load_explicit(&rt->stopping, memory_order_acquire))
            break;
        if (has_work(w))
            work(w, now_ns);
        else
            idle(w, now_ns, phase);
        coir__run_fibers(w);
    }
}
