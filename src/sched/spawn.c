/* sched/spawn.c - the life of a fiber as others see it: spawn, end, join, detach, cancel.
 * SPDX-License-Identifier: MIT
 *
 * Who frees the record: the joiner; when detached, whoever comes last of the end and coir_detach,
 * decided under the record's lock. A record that is still in an inbox is freed by the reader of
 * that inbox (COIR__MAIL_FREE). */
#include "freshq.h"
#include "lock.h"
#include "nest.h"
#include "record.h"
#include "runtime.h"
#include "steal.h"
#include "wait.h"

#include <errno.h>

/* The fields under the lock. Atomic all the same: a stale handle, which is a mistake of the program
 * but no harm, may look at them while the record is made ready for its next fiber. */
#define GET(field)        atomic_load_explicit(&(field), memory_order_relaxed)
#define SET(field, value) atomic_store_explicit(&(field), value, memory_order_relaxed)

/* While a record is in an inbox, or what was there for it is being handled, its mail is not 0, and
 * whoever reads the inbox frees it. */
static void free_record(struct coir__worker *w, struct coir__fiber *f)
{
    if (__builtin_expect(atomic_load_explicit(&f->mail, memory_order_acquire) != 0, 0)) {
        coir__fiber_state_set(f, COIR__FREE); /* dumps: it has no stack any more */
        if (atomic_fetch_or_explicit(&f->mail, COIR__MAIL_FREE, memory_order_acq_rel) != 0)
            return;
        atomic_store_explicit(&f->mail, 0, memory_order_relaxed); /* read meanwhile */
    }
    coir__record_free(w, f);
}

static void set_name(struct coir__fiber *f, const char *from)
{
    char *name = coir__fiber_more(f)->name;
    size_t i = 0;
    for (; from[i] && i < COIR__NAME_BYTES - 1; i++)
        name[i] = from[i];
    name[i] = 0;
}

/* Count a fiber that now belongs to rt, before it can be seen. */
static void count_spawn(struct coir__runtime *rt, struct coir__worker *w, bool detached)
{
    if (w)
        coir__count(detached ? &w->counters.spawned_detached : &w->counters.spawned, 1);
    else
        atomic_fetch_add(detached ? &rt->spawned_outside_detached : &rt->spawned_outside, 1);
}

static struct coir__worker *next_worker(struct coir__runtime *rt)
{
    return &rt->workers[atomic_fetch_add_explicit(&rt->next_worker, 1, memory_order_relaxed) %
                        rt->config.workers];
}

struct coir__worker *coir__runtime_idle(struct coir__runtime *rt)
{
    enum { LOOKS_MAX = 64 };
    struct coir__worker *first = next_worker(rt), *w = first,
                        *end = rt->workers + rt->config.workers;
    for (int i = 0; i < LOOKS_MAX; i++) {
        if (atomic_load_explicit(&w->sleeping, memory_order_relaxed))
            return w;
        w = w + 1 == end ? rt->workers : w + 1;
        if (w == first)
            break;
    }
    return first;
}

/* Where a new fiber goes: the spawner's own queue; with COIR_SPREAD, the next worker's; from
 * outside, an idle one's. */
static struct coir__worker *place(struct coir__runtime *rt, struct coir__worker *w, unsigned flags)
{
    if (w && (!(flags & COIR__SPREAD) || rt->config.workers == 1))
        return w;
    return w || flags & COIR__SPREAD ? next_worker(rt) : coir__runtime_idle(rt);
}

/* What every new record gets. here: home is the calling worker. */
static inline void begin(struct coir__fiber *f, struct coir__worker *home, bool here,
                         void *(*fn)(void *), void *arg, int64_t deadline_ns, unsigned stack_class,
                         unsigned flags)
{
    __atomic_store_n(&f->home, home, __ATOMIC_RELAXED); /* pairs with coir__fiber_home() */
    f->fn = fn;
    f->arg = arg;
    f->deadline_ns = deadline_ns;
    SET(f->joiner, NULL);
    atomic_store_explicit(&f->cancelled, 0, memory_order_relaxed);
    SET(f->detached, (flags & COIR__DETACHED_AT_SPAWN) != 0);
    /* Who sees that it is not done sees whose it is. Pairs with coir__cancel_within(). */
    atomic_store_explicit(&f->done, false, memory_order_release);
    f->stack_class = (uint8_t)stack_class;
    f->flags = (uint8_t)flags;
    f->shields = 0;
    if (__builtin_expect(!coir__lock_biased || !here, 0))
        coir__fiber_unbias(f);
    coir__fiber_state_set(f, COIR__FRESH);
}

/* w: the caller. */
static inline __attribute__((always_inline)) void enqueue(struct coir__worker *w,
                                                          struct coir__fiber *f)
{
    if (__builtin_expect(coir__freshq_push(w, f), 0) && w->rt->config.workers > 1)
        coir__steal_invite(w);
}

struct coir__fiber *coir__spawn_plain(struct coir__worker *w, void *(*fn)(void *), void *arg)
{
    if (atomic_load_explicit(&w->refuses, memory_order_relaxed))
        return NULL;
    struct coir__fiber *f = coir__record_alloc(w);
    if (!f)
        return NULL;
    begin(f, w, true, fn, arg, w->current->deadline_ns, w->rt->config.stack_class, 0);
    coir__count(&w->counters.spawned, 1);
    enqueue(w, f);
    return f;
}

int coir__spawn_held(struct coir__runtime *rt, const struct coir__spawn *how,
                     struct coir__fiber **fiber)
{
    struct coir__worker *w = coir__worker_self();
    if (w)
        rt = w->rt;
    struct coir__worker *home = place(rt, w, how->flags);
    uint32_t refuses = atomic_load_explicit(&home->refuses, memory_order_relaxed);
    if (refuses)
        return refuses & COIR__REFUSES_ENDING ? -EAGAIN : -ENOMEM;
    struct coir__fiber *f = coir__record_alloc(w);
    if (!f)
        return -ENOMEM;
    if (how->name)
        set_name(f, how->name); /* before a dump finds it FRESH */
    begin(f, home, home == w, how->fn, how->arg, how->deadline_ns,
          how->stack_class < 0 ? rt->config.stack_class : (unsigned)how->stack_class,
          how->flags | (how->name ? COIR__NAMED : 0));
    if (how->flags & COIR__CHILD)
        atomic_store_explicit(&f->scope, how->scope, memory_order_relaxed);
    count_spawn(rt, w, how->flags & COIR__DETACHED_AT_SPAWN);
    *fiber = f;
    return 0;
}

void coir__spawn_start(struct coir__fiber *f)
{
    struct coir__worker *w = coir__worker_self(), *home = coir__fiber_home(f);
    if (home == w) {
        enqueue(w, f);
        return;
    }
    bool outside = !coir__worker_is_sibling(home);
    if (outside)
        coir__knock();
    if (coir__fiber_home(f)) /* else its runtime ended without it */
        coir__freshq_send(f);
    if (outside)
        coir__knocked();
}

int coir__spawn(struct coir__runtime *rt, const struct coir__spawn *how, struct coir__fiber **fiber)
{
    int err = coir__spawn_held(rt, how, fiber);
    if (err == 0)
        coir__spawn_start(*fiber);
    return err;
}

static void handle_mail(struct coir__worker *w, struct coir__fiber *f, uint32_t why)
{
    if (why & COIR__MAIL_START) {
        atomic_fetch_sub_explicit(&w->fresh.coming, 1, memory_order_relaxed);
        enqueue(w, f);
    }
    if (why & COIR__MAIL_WAKE)
        coir__wake(f);
    /* After a wake the wait is over, and its stop finds that out. */
    struct coir__waiter *wait = coir__fiber_more(f)->wait;
    if (why & COIR__MAIL_CANCEL && wait && coir__fiber_cancelled(f))
        wait->stop(wait, ECANCELED);
}

/* mail becomes 0 with the last touch: until then the record stays this fiber's. */
void coir__fiber_mail(struct coir__worker *w, struct coir__fiber *f)
{
    uint8_t why = atomic_load_explicit(&f->mail, memory_order_acquire), seen = 0;
    do {
        if (!(why & COIR__MAIL_FREE))
            handle_mail(w, f, why & ~(uint32_t)seen);
        seen = why;
    } while (!atomic_compare_exchange_strong_explicit(&f->mail, &why, 0, memory_order_acq_rel,
                                                      memory_order_acquire));
    if (seen & COIR__MAIL_FREE)
        coir__record_free(w, f);
}

static __attribute__((noinline)) bool claim_joiner(struct coir__waiter *joiner)
{
    return coir__waiter_claim_listed(joiner, 0);
}

/* Nobody joins a child, so its record goes at once. Its scope is told first: before it is counted
 * as ended, its runtime stays. */
static __attribute__((noinline)) void end_child(struct coir__worker *w, struct coir__fiber *f)
{
    coir__scope_child_ended(f);
    bool shared = coir__fiber_hold(w, f) & COIR__ASKED;
    if (shared) {
        coir__fiber_let_go(w);
        coir__spin_lock(&f->lock);
    }
    bool apart = GET(f->detached);
    SET(f->done, true);
    coir__count(apart ? &w->counters.ended_detached : &w->counters.ended, 1);
    if (shared)
        coir__spin_unlock(&f->lock);
    else
        coir__fiber_let_go(w);
    free_record(w, f);
}

/* ENDED is the last that is written to a record that somebody will join: he may free it at once. */
void coir__fiber_end(struct coir__worker *w, struct coir__fiber *f)
{
    if (__builtin_expect(f->flags & COIR__CHILD, 0)) {
        end_child(w, f);
        return;
    }
    bool claimed = false;
    bool shared = coir__fiber_hold(w, f) & COIR__ASKED;
    if (__builtin_expect(shared, 0)) {
        coir__fiber_let_go(w);
        coir__spin_lock(&f->lock);
    }
    bool detached = GET(f->detached);
    struct coir__waiter *joiner = GET(f->joiner);
    if (joiner)
        claimed = claim_joiner(joiner);
    SET(f->done, true);
    coir__count(detached ? &w->counters.ended_detached : &w->counters.ended, 1);
    if (__builtin_expect(shared, 0))
        coir__spin_unlock(&f->lock);
    else
        coir__fiber_let_go(w);
    if (detached) {
        free_record(w, f);
        return;
    }
    coir__fiber_state_set(f, COIR__ENDED);
    if (claimed)
        coir__waiter_release(joiner);
}

/* after-hook of a join: from here on the fiber that ends may find the joiner. */
static void unlock(void *arg)
{
    struct coir__fiber *f = arg;
    coir__fiber_unlock(f);
}

/* A fiber that is done is about to be ENDED: a few instructions. */
static inline void take_result(struct coir__fiber *f, void **result, int *error)
{
    uint32_t turns = 0;
    while (coir__fiber_state(f) != COIR__ENDED)
        coir__spin(&turns);
    *error = f->arg == COIR__FAILED ? coir__fiber_more(f)->error : 0;
    if (result)
        *result = f->arg;
    free_record(coir__worker_self(), f);
}

/* Is f, which is locked, still the handle's? Asked last: records are freed and used anew without
 * the lock, and what was read of one before its generation is then the handle's fiber's. While it
 * is locked that one does not end; ended and without a joiner, it is not freed. */
static inline bool still(struct coir__fiber *f, void *handle)
{
    atomic_thread_fence(memory_order_acquire); /* pairs with the one in coir__record_free() */
    return coir__fiber_of(handle) == f;
}

/* Who has taken a fiber's result and frees it. */
static struct coir__waiter nobody;

/* Whoever takes a fiber's result, or gives it up, becomes its joiner first, so that there is only
 * one. A thread, or a fiber of another runtime, also visits the fiber's runtime, which keeps its
 * memory until leave(); once it is stopping it lets nobody in. f is locked. 0, or -EINVAL. */
static inline int claim(struct coir__fiber *f, void *handle, struct coir__runtime **visited)
{
    struct coir__worker *w = coir__worker_self();
    struct coir__worker *home = coir__fiber_home(f);
    bool taken = GET(f->detached) || GET(f->joiner) || !home;
    *visited = NULL;
    if (!still(f, handle) || taken)
        return -EINVAL;
    struct coir__runtime *rt = home->rt;
    if (__builtin_expect(!w || w->rt != rt, 0)) {
        atomic_fetch_add(&rt->joining, 1);
        if (atomic_load(&rt->stopping)) {
            atomic_fetch_sub(&rt->joining, 1);
            return -EINVAL;
        }
        *visited = rt;
    }
    SET(f->joiner, &nobody);
    return 0;
}

static inline void leave(struct coir__runtime *visited)
{
    if (__builtin_expect(visited != NULL, 0))
        atomic_fetch_sub(&visited->joining, 1);
}

/* f is locked, and the caller is its joiner. 0: it has ended; else -errno, and anybody may join. */
static __attribute__((noinline)) int await_end(struct coir__fiber *f, int64_t deadline_ns)
{
    struct coir__waiter me;
    coir__waiter_init(&me);
    me.on = f;
    SET(f->joiner, &me);
    coir__freshq_first(f);
    int err = coir__waiter_wait(&me, COIR__WHY_JOIN, deadline_ns, unlock, f);
    if (err == 0)
        return 0;
    /* Early, unless it ended in this very moment: then its waker found the claim taken, and let go
     * under the lock. */
    coir__fiber_lock(f, coir__fiber_generation(f)); /* it is: nobody else may free it */
    bool done = GET(f->done);
    if (!done)
        SET(f->joiner, NULL);
    coir__fiber_unlock(f);
    return done ? 0 : -err;
}

/* The usual case: a fiber of this worker that has ended, and that nobody else has asked for. */
static inline bool take_at_home(struct coir__worker *w, struct coir__fiber *f, void *handle,
                                void **result, int *error)
{
    enum { AHEAD = 8 };
    __builtin_prefetch(f + AHEAD, 1); /* to be joined soon, most likely */
    if (coir__fiber_home(f) != w || !GET(f->done))
        return false;
    bool mine = coir__fiber_hold(w, f) == coir__handle_generation(handle) && !GET(f->joiner) &&
                !GET(f->detached);
    if (__builtin_expect(mine, 1)) {
        *error = f->arg == COIR__FAILED ? coir__fiber_more(f)->error : 0;
        if (result)
            *result = f->arg;
        SET(f->joiner, &nobody); /* mail on its way may put the end of the record off */
        free_record(w, f);
    }
    coir__fiber_let_go(w); /* only now: who comes after this finds the handle stale */
    return mine;
}

static __attribute__((noinline)) int join(void *handle, void **result, int *error)
{
    struct coir__fiber *self = coir__fiber_self();
    struct coir__fiber *f = coir__fiber_of(handle);
    if (!f)
        return -EINVAL;
    if (f == self)
        return -EDEADLK;
    int err = coir__fiber_check(self);
    if (err < 0)
        return err;
    struct coir__runtime *visited;
    if (!coir__fiber_lock(f, coir__handle_generation(handle)))
        return -EINVAL;
    err = claim(f, handle, &visited);
    if (err < 0 || GET(f->done))
        coir__fiber_unlock(f);
    else
        err = await_end(f, coir__fiber_deadline(self));
    if (err == 0)
        take_result(f, result, error);
    leave(visited);
    return err;
}

int coir__join(void *handle, void **result, int *error)
{
    struct coir__worker *w = coir__worker_self();
    struct coir__fiber *f = coir__fiber_of(handle);
    if (w && f && w->current->deadline_ns == COIR__NEVER && !coir__fiber_cancelled(w->current) &&
        take_at_home(w, f, handle, result, error))
        return 0;
    return join(handle, result, error);
}

int coir__join_now(void *handle, void **result, int *error)
{
    struct coir__fiber *f = coir__fiber_of(handle);
    struct coir__runtime *visited;
    if (f && f == coir__fiber_self())
        return -EDEADLK;
    if (!f || !coir__fiber_lock(f, coir__handle_generation(handle)))
        return -EINVAL;
    int err = claim(f, handle, &visited);
    if (err == 0 && !GET(f->done)) {
        SET(f->joiner, NULL);
        err = -EAGAIN;
    }
    coir__fiber_unlock(f);
    if (err == 0)
        take_result(f, result, error);
    leave(visited);
    return err;
}

int coir__join_enter(void *handle, struct coir__waiter *waiter, struct coir__runtime **visited)
{
    struct coir__fiber *f = coir__fiber_of(handle);
    *visited = NULL;
    if (!f || f == coir__fiber_self() || !coir__fiber_lock(f, coir__handle_generation(handle)))
        return -EINVAL;
    int err = 0;
    if (GET(f->joiner) != waiter || !still(f, handle)) {
        err = claim(f, handle, visited);
        if (err == 0)
            SET(f->joiner, GET(f->done) ? NULL : waiter);
        if (err == 0 && GET(f->done))
            err = -EINVAL;
    }
    coir__fiber_unlock(f);
    if (err < 0) {
        leave(*visited);
        *visited = NULL;
    }
    return err;
}

void coir__join_leave(void *handle, struct coir__waiter *waiter, struct coir__runtime *visited)
{
    struct coir__fiber *f = coir__fiber_of(handle);
    if (f && coir__fiber_lock(f, coir__handle_generation(handle))) {
        if (GET(f->joiner) == waiter)
            SET(f->joiner, NULL);
        coir__fiber_unlock(f);
    }
    leave(visited);
}

int coir__detach(void *handle)
{
    struct coir__fiber *f = coir__fiber_of(handle);
    struct coir__runtime *visited;
    if (!f || !coir__fiber_lock(f, coir__handle_generation(handle)))
        return -EINVAL;
    int err = claim(f, handle, &visited);
    bool done = GET(f->done);
    if (err == 0 && !done) {
        struct coir__runtime *rt = f->home->rt;
        SET(f->joiner, NULL);
        SET(f->detached, true);
        atomic_fetch_add(&rt->detached_later, 1);
        /* It may have been the last that the runtime waits for. While we hold its lock it cannot
         * end, and with it alive the workers are there. */
        coir__worker_kick(&rt->workers[0]);
    }
    coir__fiber_unlock(f);
    if (err == 0 && done)
        take_result(f, NULL, &(int){ 0 });
    leave(visited);
    return err;
}

/* By mail also on its own worker: it is handled while the fiber is parked, in the loop, never from
 * within a call. */
void coir__cancel_alive(struct coir__fiber *f, uint8_t why)
{
    atomic_fetch_or_explicit(&f->cancelled, why, memory_order_acq_rel);
    /* Who is seen to be fresh may be stolen, so it gets no mail; it sees the bit when it runs. */
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in run_child() */
    if (coir__fiber_state(f) != COIR__FRESH)
        coir__worker_mail_alive(f, COIR__MAIL_CANCEL);
}

/* Under the lock, so that the fiber does not end meanwhile, and with it, perhaps, its worker. True:
 * coir__scopes_cancel is to be called, without the lock. */
static bool send_cancel(struct coir__fiber *f)
{
    atomic_fetch_or_explicit(&f->cancelled, COIR__CANCELLED, memory_order_acq_rel);
    coir__worker_mail_fiber(f, COIR__MAIL_CANCEL);
    return coir__scopes_hold(f);
}

int coir__cancel(void *handle)
{
    struct coir__fiber *f = coir__fiber_of(handle);
    if (!f || !coir__fiber_lock(f, coir__handle_generation(handle)))
        return -EINVAL;
    bool done = GET(f->done);
    bool stale = !still(f, handle);
    bool nested = !stale && !done && send_cancel(f);
    coir__fiber_unlock(f);
    if (nested)
        coir__scopes_cancel(f);
    return stale ? -EINVAL : 0;
}

/* A biased fiber was spawned by its home worker, which will come here for it itself. */
static bool is_ours(struct coir__fiber *f)
{
    return coir__fiber_home(f) == coir__worker_self() ||
           atomic_load_explicit(&f->ident, memory_order_acquire) & COIR__REVOKED;
}

void coir__cancel_within(struct coir__runtime *rt, struct coir__fiber *f)
{
    uint16_t generation = coir__fiber_generation(f);
    if (atomic_load_explicit(&f->done, memory_order_acquire) || !is_ours(f) ||
        !coir__fiber_lock(f, generation))
        return;
    bool done = atomic_load_explicit(&f->done, memory_order_acquire);
    /* A child: its opener's cancel reaches it, after the opener. Only what is not done stays the
     * fiber that it was, and its flags with it. */
    bool nested = !done && coir__runtime_has(rt, coir__fiber_home(f)) &&
                  !(f->flags & COIR__CHILD) && send_cancel(f);
    coir__fiber_unlock(f);
    if (nested)
        coir__scopes_cancel(f);
}

int coir__sleep_until(int64_t until_ns)
{
    struct coir__waiter me;
    coir__waiter_init(&me);
    int err = coir__fiber_check(me.fiber);
    if (err < 0)
        return err;
    bool bounded = me.fiber->deadline_ns < until_ns;
    err = coir__waiter_wait(&me, COIR__WHY_SLEEP, bounded ? me.fiber->deadline_ns : until_ns, NULL,
                            NULL);
    return err == ETIMEDOUT && !bounded ? 0 : -err;
}
