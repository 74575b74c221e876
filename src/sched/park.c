/* sched/park.c - leaving one fiber for the next: the only caller of the switch.
 * SPDX-License-Identifier: MIT
 *
 * A fiber that parks goes straight to the next ready one. Only after COIR__TICK_FIBERS of them, or
 * when none is left, does it go to the worker's loop, which is itself something to switch to. A
 * fresh fiber gets its stack here; and when a fiber has ended and the next one is fresh, that one
 * runs on the same stack, still warm, without a switch. */
#include "park.h"

#include "freshq.h"
#include "runtime.h"
#include "sanitize.h"
#include "stack.h"
#include "steal.h"

#include <errno.h>

/* The other queue's turn; false: both are empty. */
static bool next_round(struct coir__worker *w)
{
    for (int i = 0; i < 2 && !(w->ready_left | w->fresh_left); i++) {
        w->fresh_turn = !w->fresh_turn && !w->starved;
        if (w->fresh_turn)
            w->fresh_left = coir__freshq_len(w);
        else
            w->ready_left = coir__runq_len(&w->ready);
    }
    return w->ready_left | w->fresh_left;
}

/* The next fresh one that is to run here, unless thieves were faster. */
static struct coir__fiber *pick_fresh(struct coir__worker *w)
{
    struct coir__fiber *f = NULL;
    while (w->fresh_left && (f = coir__freshq_pop(w))) {
        w->fresh_left--;
        if (!w->place_left || !coir__place_away(w, f))
            return f;
    }
    w->fresh_left = 0;
    return NULL;
}

static __attribute__((noinline)) struct coir__fiber *pick_slowly(struct coir__worker *w)
{
    struct coir__fiber *f = NULL;
    while (!f && (w->ready_left || w->fresh_left || next_round(w))) {
        if (!w->ready_left) {
            f = pick_fresh(w);
        } else {
            w->ready_left--;
            f = coir__runq_pop(&w->ready);
        }
    }
    return f;
}

/* The next fiber, by turns: what is in one queue now, then what is in the other. NULL: back to the
 * loop. */
static inline __attribute__((always_inline)) struct coir__fiber *pick(struct coir__worker *w)
{
    if (__builtin_expect(--w->budget < 0, 0))
        return NULL;
    if (w->fresh_left && !w->place_left) {
        struct coir__fiber *f = coir__freshq_pop(w);
        w->fresh_left--;
        if (__builtin_expect(f != NULL, 1))
            return f;
    }
    return pick_slowly(w);
}

static bool is_fresh(struct coir__fiber *f)
{
    return atomic_load_explicit(&f->state, memory_order_relaxed) == COIR__FRESH;
}

/* What begins on s: kept there, since the record has no room for it once it is started. */
static void enter(struct coir__fiber *f, struct coir__stack *s)
{
    s->fn = f->fn;
    s->arg = f->arg;
    f->stack = s;
}

/* Give a fresh fiber its stack. */
static bool bind(struct coir__worker *w, struct coir__fiber *f)
{
    struct coir__stack *s = coir__stack_alloc(w, f->stack_class);
    if (!s)
        return false;
    coir__san_stack_bind(s);
    enter(f, s);
    f->sp = coir__arch_init(coir__stack_top(s), coir__fiber_main);
    return true;
}

/* Without a stack a fresh fiber waits, and the rest of its queue behind it, until one is free;
 * spawn fails meanwhile. */
static __attribute__((noinline)) struct coir__fiber *starve(struct coir__worker *w,
                                                            struct coir__fiber *f)
{
    w->starved = f;
    w->starved_ns = coir__host_now();
    atomic_fetch_or_explicit(&w->refuses, COIR__REFUSES_STARVING, memory_order_relaxed);
    w->fresh_turn = false;
    w->fresh_left = 0;
    w->ready_left = coir__runq_len(&w->ready);
    return pick(w);
}

static void starves_no_more(struct coir__worker *w)
{
    w->starved = NULL;
    atomic_fetch_and_explicit(&w->refuses, ~(uint32_t)COIR__REFUSES_STARVING, memory_order_relaxed);
}

void coir__unstarve(struct coir__worker *w)
{
    struct coir__fiber *f = w->starved;
    if (!bind(w, f))
        return;
    starves_no_more(w);
    coir__fiber_state_set(f, COIR__READY);
    coir__runq_push(&w->ready, f);
}

/* What a fiber that leaves keeps on its own stack until it comes back. */
struct left {
    struct coir__unwinder unwinder;
    uint64_t fpu;
    uintptr_t tp;
    void *fake;
};

/* The two ends of a switch; from NULL: no switch. */
struct ends {
    struct coir__fiber *from, *to;
};

/* What switching between these two has to do besides: the slow path of fibers with a thread pointer
 * of their own. */
static __attribute__((noinline)) void leave_special(struct coir__worker *w, struct coir__fiber *f,
                                                    struct coir__fiber *next, struct left *left)
{
    if (next->flags & COIR__OWNS_TP)
        left->tp = coir__fiber_more(next)->thread_pointer;
    else if (f->flags & COIR__OWNS_TP)
        left->tp = w->thread_pointer;
}

/* Everything is decided: put it in order for the switch. */
static inline __attribute__((always_inline)) COIR__UNSANITIZED struct ends
depart(struct coir__worker *w, struct coir__fiber *f, struct coir__fiber *next, enum coir__why why,
       void (*after)(void *), void *arg, struct left *left)
{
    if (why == COIR__WHY_YIELD)
        coir__fiber_state_set(f, COIR__READY);
    else
        coir__fiber_state_parked(f, why);
    coir__fiber_state_set(next, COIR__RUNNING);
    w->current = next;
    if (after) {
        w->after = after;
        w->after_arg = arg;
    }
    if (w->unwinder)
        left->unwinder = *w->unwinder;
    coir__san_leave(w, next, &left->fake, why == COIR__WHY_END);
    return (struct ends){ f, next };
}

static __attribute__((noinline)) COIR__UNSANITIZED struct ends
leave_slowly(enum coir__why why, void (*after)(void *), void *arg, struct left *left)
{
    struct coir__worker *w = coir__worker_self();
    struct coir__fiber *f = w->current;
    struct coir__fiber *next = w->chosen ? w->chosen : pick(w);
    w->chosen = NULL;
    /* First: Boost's new contexts begin with the control bits that they find when they are made. */
    if (f->flags & COIR__SAVES_FPU) {
        left->fpu = coir__arch_fpu_save();
        coir__arch_fpu_load(w->fpu_default);
    }
    if (next && is_fresh(next) && !bind(w, next))
        next = starve(w, next);
    if (!next)
        next = &w->loop;
    if (next == f) { /* it yielded and is alone, or was woken before it came here */
        coir__fiber_state_set(f, COIR__RUNNING);
        if (f->flags & COIR__SAVES_FPU)
            coir__arch_fpu_load(left->fpu);
        return (struct ends){ NULL, NULL };
    }
    if ((f->flags | next->flags) & COIR__SPECIAL)
        leave_special(w, f, next, left);
    return depart(w, f, next, why, after, arg, left);
}

/* How many in the ready queue have their turn now; of a round that is over, of the next one, unless
 * that is the fresh ones'. A few fibers that wake each other begin a round at every switch. */
static inline uint32_t ready_turn(struct coir__worker *w, uint32_t in_ring)
{
    if (__builtin_expect(w->ready_left != 0, 1))
        return w->ready_left;
    if (w->fresh_left | coir__freshq_len(w))
        return 0;
    w->fresh_turn = false;
    return in_ring;
}

/* The usual case, from one started fiber to the next in the ring, needs no call: so this function
 * saves no registers, nor does coir__park, which has none in use over the switch. */
static __attribute__((noinline)) COIR__UNSANITIZED struct ends
leave(enum coir__why why, void (*after)(void *), void *arg, struct left *left)
{
    struct coir__worker *w = coir__worker_self();
    struct coir__fiber *f = w->current;
    struct coir__runq *q = &w->ready;
    uint32_t head = coir__runq_get(&q->head), tail = coir__runq_get(&q->tail);
    left->tp = 0;
    uint32_t turn = ready_turn(w, tail - head);
    if (__builtin_expect(w->budget <= 0 || !turn || head == tail || w->chosen, 0))
        return leave_slowly(why, after, arg, left);
    struct coir__fiber *next = q->ring[head % COIR__RUNQ_CAP];
    if (__builtin_expect(next == f || ((f->flags | next->flags) & COIR__SPECIAL), 0))
        return leave_slowly(why, after, arg, left);
    w->budget--;
    w->ready_left = turn - 1;
    coir__runq_set(&q->head, head + 1);
    coir__runq_fetch_ahead(q, head + 1, tail);
    return depart(w, f, next, why, after, arg, left);
}

/* What every arrival begins with: the wish of the fiber that was left. */
static inline void arrive(struct coir__worker *w)
{
    void (*after)(void *) = w->after;
    if (after) {
        w->after = NULL;
        after(w->after_arg);
    }
}

static inline void come_back(struct coir__worker *w, const struct left *left)
{
    coir__san_arrive(w, left->fake);
    if (w->unwinder)
        *w->unwinder = left->unwinder;
    if (__builtin_expect(w->current->flags & COIR__SAVES_FPU, 0))
        coir__arch_fpu_load(left->fpu);
    arrive(w);
}

__attribute__((noinline)) COIR__UNSANITIZED void coir__park(enum coir__why why,
                                                            void (*after)(void *), void *arg)
{
    struct left left;
    struct ends ends = leave(why, after, arg, &left);
    if (__builtin_expect(!ends.from, 0))
        return;
    coir__arch_switch(&ends.from->sp, &ends.to->sp, left.tp);
    come_back(coir__worker_self(), &left);
}

void coir__yield(void)
{
    struct coir__worker *w = coir__worker_self();
    /* No other thread takes from this queue, so nobody finds the fiber before it is saved. */
    coir__runq_push(&w->ready, w->current);
    coir__park(COIR__WHY_YIELD, NULL, NULL);
}

void coir__yield_tick(void)
{
    struct coir__worker *w = coir__worker_self();
    coir__runq_push(&w->ready, w->current);
    w->chosen = &w->loop;
    coir__park(COIR__WHY_YIELD, NULL, NULL);
}

void coir__end_tick(void)
{
    struct coir__worker *w = coir__worker_self();
    w->chosen = &w->loop;
}

void coir__run_fibers(struct coir__worker *w)
{
    w->budget = COIR__TICK_FIBERS;
    coir__park(COIR__WHY_IDLE, NULL, NULL);
    coir__count(&w->counters.switches,
                (uint64_t)(COIR__TICK_FIBERS - (w->budget > 0 ? w->budget : 0)));
}

void coir__wake(struct coir__fiber *f)
{
    struct coir__worker *w = coir__worker_self();
    if (w && coir__fiber_home(f) == w)
        coir__wake_here(w, f);
    else
        coir__worker_mail_alive(f, COIR__MAIL_WAKE);
}

/* after-hook of a fiber that has ended and left its stack. */
static void end_apart(void *arg)
{
    struct coir__fiber *f = arg;
    struct coir__worker *w = coir__worker_self();
    struct coir__stack *s = f->stack;
    f->arg = s->arg;
    coir__san_stack_clean(s);
    coir__stack_free(w, s);
    coir__fiber_end(w, f);
}

static bool fits(const struct coir__fiber *next, const struct coir__fiber *f)
{
    return next->stack_class == f->stack_class && !((next->flags | f->flags) & COIR__SPECIAL);
}

/* A fiber that may go on on the stack of f, which has ended there: fresh, of the same size, nothing
 * special. Whatever else was next is left in w->chosen. */
static struct coir__fiber *next_here(struct coir__worker *w, struct coir__fiber *f)
{
    struct coir__fiber *next = w->starved;
    if (__builtin_expect(next != NULL, 0) && fits(next, f)) {
        starves_no_more(w);
        return next;
    }
    next = pick(w);
    if (next && is_fresh(next) && fits(next, f))
        return next;
    w->chosen = next ? next : &w->loop;
    return NULL;
}

/* A scope's child tells of its failure by the errno alone. */
static void *run_child(struct coir__stack *s)
{
    int (*fn)(void *) = (int (*)(void *))(void (*)(void))s->fn;
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in coir__cancel_alive() */
    if (fn(s->arg) >= 0)
        return NULL;
    int error = coir__host_errno();
    return (void *)(intptr_t)(error > 0 ? error : EIO);
}

COIR__UNSANITIZED void coir__fiber_main(void)
{
    struct coir__worker *w = coir__worker_self();
    coir__san_arrive(w, NULL);
    arrive(w);
    for (;;) {
        struct coir__fiber *f = w->current;
        if (w->unwinder)
            *w->unwinder = (struct coir__unwinder){ 0 };
        struct coir__stack *s = f->stack;
        void *result = f->flags & COIR__CHILD ? run_child(s) : s->fn(s->arg);
        if (result == COIR__FAILED)
            coir__fiber_more(f)->error = coir__host_errno() > 0 ? coir__host_errno() : EIO;
        if (__builtin_expect(f->has_values, 0))
            coir__host_fiber_values_end(f);
        w = coir__worker_self();
#ifdef COIR_DEBUG
        /* The lowest bit is somebody who cancels f and looks whether there are any. */
        if (atomic_load_explicit(&coir__fiber_more(f)->scopes, memory_order_relaxed) & ~1ull)
            coir__host_misuse("a fiber has ended without closing its scope");
#endif

        struct coir__fiber *next = next_here(w, f);
        if (!next) {
            s->arg = result;
            coir__park(COIR__WHY_END, end_apart, f); /* does not return */
        }
        enter(next, s);
        coir__fiber_state_set(next, COIR__RUNNING);
        w->current = next;
        f->arg = result;
        coir__fiber_end(w, f);
    }
}
