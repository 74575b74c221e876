/* sched/fiber.h - the record of a fiber, its states and its handle.
 * SPDX-License-Identifier: MIT
 *
 *   FREE    -> FRESH    spawn
 *   FRESH   -> RUNNING  a worker binds a stack and enters it
 *   RUNNING -> READY    it yields
 *   READY   -> RUNNING  a worker
 *   RUNNING -> PARKED   it parks
 *   PARKED  -> READY    exactly one waker (sched/wait.h)
 *   RUNNING -> ENDED    its function returned; also from PARKED, for COIR__WHY_END
 *   ENDED   -> FREE     the joiner
 *   RUNNING -> FREE     a detached one's function, or a child's, returned; likewise
 *
 * A record is type-stable: its memory is never anything else, so that a late look at it is
 * harmless, and its generation grows with every use, so that such a look is noticed. A fiber that
 * has started stays on its home worker. */
#ifndef COIR_SCHED_FIBER_H
#define COIR_SCHED_FIBER_H

#include "arch/arch.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>

#define COIR__NEVER      INT64_MAX
#define COIR__CACHE_LINE 64

struct coir__worker;
struct coir__runtime;
struct coir__waiter;
struct coir__stack;
struct coir__scope;
struct coir__values;

enum coir__state {
    COIR__FREE,
    COIR__FRESH,
    COIR__READY,
    COIR__RUNNING,
    COIR__PARKED,
    COIR__ENDED,
};

/* Why a fiber is parked: what a dump shows. */
enum coir__why {
    COIR__WHY_NOTHING,
    COIR__WHY_YIELD,
    COIR__WHY_SLEEP,
    COIR__WHY_JOIN,
    COIR__WHY_IO,
    COIR__WHY_CLOSE,
    COIR__WHY_IDLE,
    COIR__WHY_END,
    COIR__WHY_MUTEX, /* from here on the waiter's `on` is the object */
    COIR__WHY_COND,
    COIR__WHY_RWLOCK_READ,
    COIR__WHY_RWLOCK_WRITE,
    COIR__WHY_SEM,
    COIR__WHY_BARRIER,
    COIR__WHY_ONCE,
    COIR__WHY_WAITGROUP,
    COIR__WHY_SEND,
    COIR__WHY_RECV,
    COIR__WHY_SELECT,
    COIR__WHY_FUTURE,
    COIR__WHY_FUTURES,
    COIR__WHY_SCOPE,
    COIR__WHY_DUMP,
    COIR__WHY_BLOCKING,
    COIR__WHY_LOOKUP,
    COIR__WHY_LAST,
};

enum coir__flag {
    COIR__DETACHED_AT_SPAWN = 1, /* the public flags of coir_attr */
    COIR__SAVES_FPU = 2,
    COIR__SPREAD = 4,
    COIR__OWNS_TP = 8, /* has a thread pointer of its own, which the switch loads */
    COIR__NAMED = 16,
    COIR__CHILD = 32, /* of a scope, which waits for its end instead of a joiner */
    COIR__STAYS = 64, /* begins where it was spawned to: not stolen, not sent away */
    COIR__SPECIAL = COIR__SAVES_FPU | COIR__OWNS_TP,
};

/* Bits of `cancelled`: why its calls that may park fail. */
enum {
    COIR__CANCELLED = 1,   /* coir_cancel, or its scope was: for ever */
    COIR__SCOPE_FAILED = 2 /* a child of a scope that it has open: until it waits for that */
};

/* What a function returns when it failed, as in coir/fiber.h. */
#define COIR__FAILED ((void *)-1)

/* Bits of `mail`: why a fiber's record is in its home's inbox. */
enum { COIR__MAIL_WAKE = 1, COIR__MAIL_CANCEL = 2, COIR__MAIL_FREE = 4, COIR__MAIL_START = 8 };

enum { COIR__NAME_BYTES = 16 };

/* The part that every fiber uses, one cache line: a million spawned fibers are 64 MB. */
struct coir__fiber {
    union {
        void *sp;  /* READY, PARKED: the saved stack pointer */
        void *arg; /* FRESH: fn's argument. ENDED: its result; a child's: 0 or its errno */
    };
    struct coir__fiber *next;  /* in one list: a run queue's overflow, or free records */
    struct coir__worker *home; /* whose queues, timers and engine it uses; FRESH: whose queue */
    union {
        struct coir__stack *stack; /* started */
        void *(*fn)(void *);       /* FRESH */
    };
    int64_t deadline_ns; /* read and written by the fiber itself only */
    union {
        struct coir__waiter *_Atomic joiner; /* who waits for the end; under lock */
        struct coir__scope *_Atomic scope;   /* with COIR__CHILD: constant */
    };
    _Atomic uint8_t state;     /* enum coir__state, and above it, when PARKED, enum coir__why; by
                                  * the home worker, and spawn and free */
    _Atomic uint8_t mail;      /* COIR__MAIL_*. Not 0: in its home's inbox, where the one who
                                    * made it so has put it */
    _Atomic uint8_t cancelled; /* by anyone; COIR__SCOPE_FAILED is cleared by the fiber itself */
    _Atomic uint8_t lock;      /* guards joiner, detached, done: sched/lock.h */
    _Atomic bool detached;     /* nobody will join */
    _Atomic bool done;         /* fn has returned, and the joiner has been told */
    uint8_t stack_class;       /* sched/stack.h */
    uint8_t flags;             /* enum coir__flag; constant after spawn */
    uint8_t shields;           /* COIR_SHIELD blocks it is in; the fiber itself */
    bool has_values;           /* more.values is not NULL; the fiber itself */
    _Atomic uint16_t place;    /* FRESH, in its home's ring: where. Else anything: freshq.h */
    _Atomic uint32_t ident; /* the generation, which grows with each use and is never 0 in use; and
                             * above it COIR__ASKED, COIR__REVOKED */
} __attribute__((aligned(COIR__CACHE_LINE)));

_Static_assert(sizeof(struct coir__fiber) == 64, "one cache line");

/* The part that only some use: a line that a fiber which never parks does not touch. */
struct coir__fiber_more {
    struct coir__waiter *wait; /* PARKED in a wait that can be stopped: it. Home worker only */
    uintptr_t mail_next;       /* in an inbox: the word that was there before */
    union {
        uintptr_t thread_pointer;  /* with COIR__OWNS_TP */
        struct coir__fiber *older; /* with COIR__CHILD: in its scope's list */
    };
    struct coir__values *values; /* of keys: the host's. NULL but in a fiber that has started */
    union {
        int32_t error;               /* ENDED, result COIR__FAILED: the errno */
        struct coir__fiber *younger; /* with COIR__CHILD: in its scope's list */
    };
    _Atomic uint64_t scopes;     /* those that it has open, as sync/scope.c has them; 0: none */
    char name[COIR__NAME_BYTES]; /* with COIR__NAMED */
} __attribute__((aligned(COIR__CACHE_LINE)));

/* A slab's first half is fibers, its second half what more there is of each (record.c). */
enum { COIR__RECORD_SLAB_BYTES = 1 << 21 };

static inline struct coir__fiber_more *coir__fiber_more(struct coir__fiber *f)
{
    return (struct coir__fiber_more *)((char *)f + COIR__RECORD_SLAB_BYTES / 2);
}

_Static_assert(sizeof(struct coir__fiber_more) == sizeof(struct coir__fiber), "the same index");

static inline const char *coir__fiber_name(struct coir__fiber *f)
{
    return f->flags & COIR__NAMED ? coir__fiber_more(f)->name : "";
}

/* Bits of ident: sched/lock.h. */
enum { COIR__ASKED = 1 << 16, COIR__REVOKED = 1 << 17 };

static inline uint16_t coir__fiber_generation(const struct coir__fiber *f)
{
    return (uint16_t)atomic_load_explicit(&f->ident, memory_order_relaxed);
}

/* A public handle is the record's address with the generation in its 16 top bits, which user
 * addresses leave 0. It is no valid pointer on purpose. */
enum { COIR__HANDLE_SHIFT = 48 };

static inline void *coir__fiber_handle(struct coir__fiber *f)
{
    return (void *)((uintptr_t)f | (uint64_t)coir__fiber_generation(f) << COIR__HANDLE_SHIFT);
}

static inline uint16_t coir__handle_generation(const void *handle)
{
    return (uint16_t)((uintptr_t)handle >> COIR__HANDLE_SHIFT);
}

/* The record of a handle; NULL when it is NULL or stale. */
static inline struct coir__fiber *coir__fiber_of(const void *handle)
{
    uintptr_t word = (uintptr_t)handle & (((uintptr_t)1 << COIR__HANDLE_SHIFT) - 1);
    struct coir__fiber *f = (struct coir__fiber *)word;
    uint16_t generation = coir__handle_generation(handle);
    if (!f || !generation || word % COIR__CACHE_LINE || coir__fiber_generation(f) != generation)
        return NULL;
    return f;
}

enum { COIR__WHY_SHIFT = 3, COIR__STATE_MASK = (1 << COIR__WHY_SHIFT) - 1 };
_Static_assert(COIR__WHY_LAST <= 1 << (8 - COIR__WHY_SHIFT), "state and why are one byte");

static inline enum coir__state coir__fiber_state(struct coir__fiber *f)
{
    uint8_t state = atomic_load_explicit(&f->state, memory_order_acquire);
    return (enum coir__state)(state & COIR__STATE_MASK);
}

static inline void coir__fiber_state_set(struct coir__fiber *f, enum coir__state state)
{
    atomic_store_explicit(&f->state, (uint8_t)state, memory_order_release);
}

static inline void coir__fiber_state_parked(struct coir__fiber *f, enum coir__why why)
{
    uint8_t state = (uint8_t)(COIR__PARKED | (unsigned)why << COIR__WHY_SHIFT);
    atomic_store_explicit(&f->state, state, memory_order_release);
}

/* The home of a record that may be made ready for its next fiber meanwhile. */
static inline struct coir__worker *coir__fiber_home(struct coir__fiber *f)
{
    return __atomic_load_n(&f->home, __ATOMIC_RELAXED);
}

/* One turn of a wait for what another thread does in a few instructions, unless the kernel has
 * taken its CPU away. */
static inline void coir__spin(uint32_t *turns)
{
    enum { PATIENCE = 128 };
    if (++*turns % PATIENCE)
        coir__arch_pause();
    else
        coir__sys(SYS_sched_yield);
}

/* The few-instructions lock of a record and of other small things. */
static inline void coir__spin_lock(_Atomic uint8_t *lock)
{
    uint32_t turns = 0;
    while (atomic_exchange_explicit(lock, 1, memory_order_acquire))
        while (atomic_load_explicit(lock, memory_order_relaxed))
            coir__spin(&turns);
}

static inline bool coir__spin_try_lock(_Atomic uint8_t *lock)
{
    return !atomic_exchange_explicit(lock, 1, memory_order_acquire);
}

static inline void coir__spin_unlock(_Atomic uint8_t *lock)
{
    atomic_store_explicit(lock, 0, memory_order_release);
}

#endif
