/* sched/worker.h - one worker: an OS thread that runs fibers, with everything it owns.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_SCHED_WORKER_H
#define COIR_SCHED_WORKER_H

#include "engine.h"
#include "fiber.h"
#include "host.h"
#include "park.h"
#include "runq.h"
#include "timer.h"

enum {
    COIR__TICK_FIBERS = 64,     /* fibers that run between two looks at timers, inbox and engine */
    COIR__STACK_CACHE_MAX = 64, /* free stacks a worker keeps to itself */
    COIR__RECORD_MAGAZINE = 512 /* free records in each of its two magazines */
};

/* In an inbox, a fiber's record is a plain pointer, and a call has its lowest bit set. */
struct coir__mail_call {
    uintptr_t next; /* the inbox word that was there before */
    void (*handle)(struct coir__worker *w, struct coir__mail_call *call);
};

/* Where a worker is told that somebody wants to see its fibers: sched/dump.h. */
struct coir__look;
struct coir__looker {
    struct coir__look *_Atomic look; /* what is asked for; NULL: nothing */
    _Atomic uint32_t busy;           /* the worker is at it */
    _Atomic uint32_t posted;         /* mail is in the worker's inbox */
    struct coir__mail_call mail;
};

/* Counters of one worker: it alone writes, anyone reads. */
struct coir__counters {
    _Atomic uint64_t spawned, ended;                   /* fibers that somebody may join */
    _Atomic uint64_t spawned_detached, ended_detached; /* the others */
    _Atomic uint64_t switches, parks, wakes, steals, sleeps, enters, ops, ops_completed;
};

/* Bits: why a worker takes no new fibers. */
enum {
    COIR__REFUSES_STARVING = 1, /* starved is set: ENOMEM */
    COIR__REFUSES_ENDING = 2,   /* the runtime drains: EAGAIN */
};

/* What a worker knows about the others: steal.c. Its own, but for the last. */
struct coir__steal {
    int64_t look_ns;          /* it watches: when to look at the others' queues next */
    int64_t period_ns;        /* between two looks */
    int64_t seen_ns;          /* when something was last waiting there */
    int64_t stole_ns;         /* when it last stole, until it is known whether that was worth it */
    uint32_t stolen;          /* and how many */
    int64_t review_ns;        /* when to compare loads next */
    int64_t review_period_ns; /* between two comparisons */
    bool uneven;              /* its load was too high at the last one */
    int32_t place_to_load;    /* and place_to's was this */
    uint32_t placed;          /* so many were sent away since */
    uint32_t reviewed_head;   /* its coir__freshq_taken() then */
    int32_t excess;           /* so many more than place_to it has */
    struct coir__worker *place_to;
    uint32_t looks;     /* counts the looks of this watch */
    uint32_t seen_head; /* of its queue, at the watcher's last look; the watcher's */
};

/* In engine->wait, or about to. At rest it also has nothing under way, neither op nor timer. */
enum { COIR__SLEEPS = 1, COIR__RESTS = 2 };

struct coir__slot;

/* Fresh fibers that come before older ones: freshq.c. */
struct coir__level {
    uint32_t from, next; /* places in the ring: the first, and the first that was not yet taken */
};
enum { COIR__LEVELS_MAX = 31 };

struct coir__worker {
    struct coir__worker *self; /* where the GS base of the freestanding build points: see arch */
    /* The owner's, at every switch. */
    struct coir__fiber *current;
    void *_Atomic holding;           /* sched/lock.h; read by others */
    _Atomic bool in_fresh;           /* freshq.h; read by others */
    int32_t budget;                  /* fibers that may still run in this tick */
    uint32_t ready_left, fresh_left; /* still to take from the queue whose turn it is */
    bool fresh_turn;
    uint32_t spins;        /* how often it may still wait awake in vain for mail: worker.c; */
    uint32_t io_spins;     /* for completions; */
    uint32_t io_sleeps;    /* and so many short sleeps before it may again */
    uint32_t io_failures;  /* attempts that were given up, less those that went well for long */
    uint32_t place_left;   /* fresh fibers that may be sent to place_to: steal.c */
    void (*after)(void *); /* park.h: what the next stack has to do first */
    void *after_arg;
    struct coir__unwinder *unwinder; /* this thread's, or NULL */
    struct coir__fiber *starved;     /* FRESH: popped, but there was no stack for it */
    const void *left_for;            /* where the call would have returned to, in which a fiber was
                                      * last left: api/chan.c */
    struct coir__fiber *chosen;      /* what the next park switches to; NULL: it picks */
    struct coir__stack *stack_cache; /* of the runtime's usual class */
    uint32_t stack_cached;
    uint32_t stack_cache_low; /* the least stack_cached since the last trim */
    uint32_t records_len, records_spare_len;
    struct coir__fiber *records; /* free records: sched/record.c */
    struct coir__fiber *records_spare;
    int64_t starved_ns; /* since when; 0: it was told */
    struct coir__timer *timers;
    struct coir__runtime *rt;
    uint64_t fpu_default;     /* the control bits of fibers without COIR__SAVES_FPU */
    uintptr_t thread_pointer; /* the thread's own */
    uint32_t tick;            /* counts the rounds of the loop */
    uint32_t stamp;           /* this tick's time, in units of coir__stamp_of */
    _Atomic uint32_t random;  /* sync/select.c; the worker itself */
    uint32_t index;
    struct coir__slot *slot;    /* sched/bias.h */
    void *io;                   /* the engine's part */
    void *sanitizer;            /* sched/sanitize.h: the loop's context */
    const void *loop_stack_low; /* likewise: bounds of the thread's own stack, once known */
    size_t loop_stack_bytes;
    int64_t trim_ns;   /* when stacks are to be trimmed next */
    int64_t rest_ns;   /* it has found all at rest: when to look for threads; NEVER: it has */
    uint32_t restless; /* a worker that was not at rest */
    uintptr_t thread;  /* coir__host_thread_start; 0 for coir_run's caller */
    uint32_t tid;      /* the thread's id, as gettid(2) */
    void *host;        /* coir__host_worker_enter's */
    int32_t start_error;
    bool saw_draining;       /* and has cancelled what was left */
    struct coir__fiber loop; /* the loop itself, as something to switch to */
    struct coir__runq ready; /* started fibers, at home here */
    struct {
        _Atomic uint32_t asked;  /* a thief wants some */
        _Atomic uint32_t strays; /* of those taken off, the ones that were not started here */
        _Atomic uint32_t coming; /* on their way here from other workers */
        _Atomic uint8_t lock;
        uint32_t depth, holes;      /* freshq.c */
        uint32_t stamp, stamp_head; /* since when the oldest waits; the head then, plus 1 */
        struct coir__level levels[COIR__LEVELS_MAX];
        _Atomic uint32_t early; /* taken out of turn, and not passed by the queue's head */
        struct coir__runq q;    /* not yet started: freshq.h */
    } fresh;
    struct coir__steal steal;
    struct coir__counters counters;

    /* Everybody's. */
    _Atomic uintptr_t inbox __attribute__((aligned(2 * COIR__CACHE_LINE)));
    _Atomic uint32_t sleeping;     /* COIR__SLEEPS, COIR__RESTS; 0: who clears it must kick */
    _Atomic uint32_t kickers;      /* are about to kick */
    _Atomic uint32_t refuses;      /* COIR__REFUSES_*: spawning here fails */
    _Atomic uint32_t closing_seen; /* somebody wants the ops on closing descriptors ended */
    struct coir__looker looker;    /* sched/dump.h */
} __attribute__((aligned(2 * COIR__CACHE_LINE)));

#ifdef COIR_FREESTANDING
static inline struct coir__worker *coir__worker_self(void)
{
    return coir__arch_self();
}
#else
/* NULL on a thread that is no worker. Initial-exec: no call into the dynamic linker on a fiber's
 * path. A fiber that has started stays on its worker, so a compiler that keeps the address over a
 * park keeps the right one. */
COIR_HIDDEN extern _Thread_local struct coir__worker *coir__worker_tls
    __attribute__((tls_model("initial-exec")));

static inline struct coir__worker *coir__worker_self(void)
{
    return coir__worker_tls;
}
#endif

/* The running fiber; NULL on a plain thread, and in the loop. */
static inline struct coir__fiber *coir__fiber_self(void)
{
    struct coir__worker *w = coir__worker_self();
    return w && w->current != &w->loop ? w->current : NULL;
}

/* Time as waits are stamped with it: 32 bits, a millisecond each, that wrap around. */
static inline uint32_t coir__stamp_of(int64_t now_ns)
{
    return (uint32_t)(now_ns >> 20);
}

/* Within a tick, too, time goes on: w, the calling worker, looks at the clock. */
COIR_HIDDEN void coir__worker_restamp(struct coir__worker *w);

static inline void coir__count(_Atomic uint64_t *counter, uint64_t n)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + n, memory_order_release);
}

/* coir__wake of a fiber that is at home on w, the calling worker. */
static inline void coir__wake_here(struct coir__worker *w, struct coir__fiber *f)
{
    coir__count(&w->counters.wakes, 1);
    coir__fiber_state_set(f, COIR__READY);
    coir__runq_push(&w->ready, f);
}

/* Run fibers of w on this thread until its runtime stops. */
COIR_HIDDEN void coir__worker_loop(struct coir__worker *w);

/* Put a fiber, or a call, into w's inbox, and wake w if it sleeps. Any thread. */
COIR_HIDDEN void coir__worker_mail_fiber(struct coir__fiber *f, uint32_t why);
/* The same by whoever knows that f does not end before this mail, but may be outside f's runtime:
 * has claimed its wait, or has a scope of which it is a child or the opener. */
COIR_HIDDEN void coir__worker_mail_alive(struct coir__fiber *f, uint32_t why);
COIR_HIDDEN void coir__worker_mail_call(struct coir__worker *w, struct coir__mail_call *call);

/* Handle what has arrived. The worker itself. */
COIR_HIDDEN void coir__worker_read_inbox(struct coir__worker *w);

/* Wake w's loop if it sleeps. Any thread; what w should see was written before. */
COIR_HIDDEN void coir__worker_kick(struct coir__worker *w);

/* w, which runs no fibers any more, waits until an op is over or it gets mail. */
COIR_HIDDEN void coir__worker_await_mail(struct coir__worker *w);

/* w sleeps no more: wait until nobody is about to kick it. Before its engine goes. */
COIR_HIDDEN void coir__worker_await_kickers(struct coir__worker *w);

#endif
