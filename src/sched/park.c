/* sched/park.c - leaving one fiber for the next: the only caller of the switch.
 * SPDX-License-Identifier: MIT
 *
 * A fiber that parks goes straight to the next ready one. Only after COIR__TICK_FIBERS of them, or when none is left, does
 * it go to the worker's loop, which is itself something to switch to. A fresh fiber gets its stack here; and when a fiber
 * has ended and the next one is fresh, that one runs on the same stack, still warm, without a switch. */
#include "park.h"

#include "runtime.h"
#include "sanitize.h"
#include "stack.h"

/* The other queue's turn; false: both are empty. */
static bool next_round(struct coir__worker *w)
{
    for (int i = 0; i < 2 && !w->round_left; i++) {
        w->turn = w->turn == &w->ready && !w->starved ? &w->fresh : &w->ready;
        w->round_left = coir__runq_len(w->turn);
    }
    return w->round_left > 0;
}

/* The next fiber, by turns: what is in one queue now, then what is in the other. NULL: back to the loop. */
static inline struct coir__fiber *pick(struct coir__worker *w)
{
    if (__builtin_expect(--w->budget < 0, 0))
        return NULL;
    if (__builtin_expect(w->round_left == 0, 0) && !next_round(w))
        return NULL;
    w->round_left--;
    return coir__runq_pop(w->turn);
}

/* Give a fresh fiber its stack. */
static bool bind(struct coir__worker *w, struct coir__fiber *f)
{
    struct coir__stack *s = coir__stack_alloc(w, f->stack_class);
    if (!s)
        return false;
    coir__san_stack_bind(s);
    f->stack = s;
    f->sp = coir__arch_init(coir__stack_top(s), coir__fiber_main);
    return true;
}

/* Without a stack a fresh fiber waits, and the rest of its queue behind it, until one is free; spawn fails meanwhile. */
static __attribute__((noinline)) struct coir__fiber *starve(struct coir__worker *w, struct coir__fiber *f)
{
    w->starved = f;
    atomic_store_explicit(&w->starving, 1, memory_order_relaxed);
    w->turn = &w->ready;
    w->round_left = coir__runq_len(&w->ready);
    return pick(w);
}

void coir__unstarve(struct coir__worker *w)
{
    struct coir__fiber *f = w->starved;
    if (!bind(w, f))
        return;
    w->starved = NULL;
    atomic_store_explicit(&w->starving, 0, memory_order_relaxed);
    coir__runq_push(&w->ready, f);
}

/* What switching between these two has to do besides: the slow path of fibers with floating-point control bits or a
 * thread pointer of their own. Returns the thread pointer to load. */
static __attribute__((noinline)) uintptr_t leave_special(struct coir__worker *w, struct coir__fiber *f,
                                                         struct coir__fiber *next, uint64_t *fpu)
{
    if (f->flags & COIR__SAVES_FPU) {
        *fpu = coir__arch_fpu_save();
        coir__arch_fpu_load(w->fpu_default);
    }
    if (next->flags & COIR__OWNS_TP)
        return next->thread_pointer;
    return f->flags & COIR__OWNS_TP ? w->thread_pointer : 0;
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

__attribute__((noinline)) COIR__UNSANITIZED void coir__park(enum coir__why why, void (*after)(void *),
                                                            void *arg)
{
    struct coir__worker *w = coir__worker_self();
    struct coir__fiber *f = w->current;
    struct coir__fiber *next = w->chosen;
    if (__builtin_expect(!next, 1))
        next = pick(w);
    w->chosen = NULL;
    if (__builtin_expect(next && !next->sp, 0) && !bind(w, next))
        next = starve(w, next);
    if (!next)
        next = &w->loop;
    if (next == f)
        return; /* it yielded, and is alone */

    f->why = (uint8_t)why;
    f->parked_tick = w->tick;
    coir__fiber_state_set(f, why == COIR__WHY_YIELD ? COIR__READY : COIR__PARKED);
    coir__fiber_state_set(next, COIR__RUNNING);
    w->current = next;
    w->after = after;
    w->after_arg = arg;
    coir__count(&w->counters.switches, 1);

    struct coir__unwinder unwinder = { 0 };
    uint64_t fpu = 0;
    uintptr_t tp = 0;
    void *fake = NULL;
    if (w->unwinder)
        unwinder = *w->unwinder;
    if (__builtin_expect((f->flags | next->flags) & COIR__SPECIAL, 0))
        tp = leave_special(w, f, next, &fpu);
    coir__san_leave(w, next, &fake, why == COIR__WHY_END);

    coir__arch_switch(&f->sp, &next->sp, tp);

    w = coir__worker_self();
    coir__san_arrive(w, fake);
    if (w->unwinder)
        *w->unwinder = unwinder;
    if (__builtin_expect(w->current->flags & COIR__SAVES_FPU, 0))
        coir__arch_fpu_load(fpu);
    arrive(w);
}

void coir__yield(void)
{
    struct coir__worker *w = coir__worker_self();
    /* No other thread takes from this queue, so nobody finds the fiber before it is saved. */
    coir__runq_push(&w->ready, w->current);
    coir__park(COIR__WHY_YIELD, NULL, NULL);
}

void coir__run_fibers(struct coir__worker *w)
{
    w->budget = COIR__TICK_FIBERS;
    coir__park(COIR__WHY_IDLE, NULL, NULL);
}

void coir__wake(struct coir__fiber *f)
{
    struct coir__worker *w = coir__worker_self();
    if (f->home == w) {
        coir__fiber_state_set(f, COIR__READY);
        coir__runq_push(&w->ready, f);
    } else {
        coir__worker_mail_fiber(f, COIR__MAIL_WAKE);
    }
}

/* after-hook of a fiber that has ended and left its stack. */
static void end_apart(void *arg)
{
    struct coir__fiber *f = arg;
    struct coir__worker *w = coir__worker_self();
    struct coir__stack *s = f->stack;
    f->stack = NULL;
    coir__san_stack_clean(s);
    coir__stack_free(w, s);
    coir__fiber_end(w, f);
}

/* A fiber that may go on on the stack of f, which has ended there: fresh, of the same size, nothing special. Whatever else
 * was next is left in w->chosen. */
static struct coir__fiber *next_here(struct coir__worker *w, struct coir__fiber *f)
{
    struct coir__fiber *next = w->starved;
    bool plain = !(f->flags & COIR__SPECIAL);
    if (__builtin_expect(next != NULL, 0)) {
        if (plain && next->stack_class == f->stack_class) {
            w->starved = NULL;
            atomic_store_explicit(&w->starving, 0, memory_order_relaxed);
            return next;
        }
    }
    next = pick(w);
    if (next && plain && !next->sp && next->stack_class == f->stack_class &&
        !(next->flags & COIR__SPECIAL))
        return next;
    w->chosen = next ? next : &w->loop;
    return NULL;
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
        void *result = f->fn(f->arg);
        w = coir__worker_self();
        if (result == COIR__FAILED)
            f->error = coir__host_errno();
        f->arg = result;

        struct coir__fiber *next = next_here(w, f);
        if (!next)
            coir__park(COIR__WHY_END, end_apart, f); /* does not return */
        struct coir__stack *s = f->stack;
        f->stack = NULL;
        next->stack = s;
        coir__fiber_state_set(next, COIR__RUNNING);
        w->current = next;
        coir__count(&w->counters.switches, 1);
        coir__fiber_end(w, f);
    }
}
