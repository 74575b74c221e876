/* api/sight.h - what one worker has seen of its fibers: what a dump is made of.
 * SPDX-License-Identifier: MIT
 *
 * Written by the worker, in its loop or in a signal handler, and read by whoever asked, once the
 * look is done: so it takes nothing from malloc and leaves formatting to the reader. */
#ifndef COIR_API_SIGHT_H
#define COIR_API_SIGHT_H

#include "backtrace.h"
#include "io/op.h"
#include "sched/dump.h"
#include "sched/runtime.h"
#include "sync/select.h"

/* Of a select's case: its kind, and what it waits for. */
struct coir__case_view {
    uint8_t kind; /* enum coir__case_kind */
    int32_t fd;   /* FD */
    const void *on;
};

enum { COIR__CASES_SEEN = 4 };

/* One fiber. */
struct coir__sight {
    uint32_t bytes; /* up to the next one */
    uint8_t state;  /* enum coir__state */
    uint8_t why;    /* enum coir__why, when PARKED */
    bool cancelled, detached;
    bool woken;      /* PARKED: but somebody is about to make it ready */
    bool superseded; /* the reader's: seen again later */
    bool cut;        /* of the backtrace: there were more */
    bool outside; /* its worker did not answer: state and name are all there is, and perhaps old */
    bool bounded; /* PARKED: its deadline may end the wait */
    uint8_t frames_len;
    uint32_t since, seen; /* PARKED in a wait: its stamp, and the worker's when it was seen, */
    uint32_t now;         /* and the time then, as a stamp */
    uint32_t mark;        /* the reader's */
    struct coir__fiber *fiber;
    void *handle;
    const void *scope;                 /* whose child it is; NULL: no scope's */
    const struct coir__waiter *waiter; /* PARKED: only to be compared; NULL: in no common wait */
    const void *on;                    /* the lock, ...; JOIN: the other fiber's handle */
    uint64_t owner;                    /* MUTEX: who has it, as in sync/waitq.h; 0: nobody */
    struct coir__op_view op;           /* IO */
    struct coir__case_view cases[COIR__CASES_SEEN]; /* SELECT: the first ones */
    uint32_t cases_len;                             /* likewise: all */
    uintptr_t fn;                                   /* FRESH: its function */
    char name[COIR__NAME_BYTES];
    uintptr_t frames[];
};

/* How far a worker has come: a fiber's turn. fiber NULL: it is in its loop. */
struct coir__progress {
    uint32_t tick;
    int32_t budget;
    struct coir__fiber *fiber;
};

/* By any thread; w may go on meanwhile. */
COIR_HIDDEN struct coir__progress coir__progress_of(struct coir__worker *w);

static inline bool coir__progress_same(const struct coir__progress *a,
                                       const struct coir__progress *b)
{
    return a->tick == b->tick && a->budget == b->budget && a->fiber == b->fiber;
}

struct coir__sight_chunk {
    struct coir__sight_chunk *next;
    uint32_t used;
};

/* One worker's. */
struct coir__sights {
    struct coir__look look; /* first */
    struct coir__sight_chunk *first, *last;
    uint32_t index;            /* the worker's */
    struct coir__fiber *asker; /* who wants to know: it counts as running. NULL: a thread */
    uint64_t ended, lost; /* fibers that wait to be joined; those that there was no memory for */
    bool interrupted;     /* seen in a signal handler: the worker did not come to its loop */
    struct coir__progress progress; /* then */
    struct coir__fiber *running;    /* likewise: the fiber that it ran; NULL: none */
    struct coir__backtrace interrupted_at;
    uintptr_t interrupted_sp;
};

/* Ready for coir__look_begin. only_running: nothing but the fiber that w runs, if a signal handler
 * finds one. */
COIR_HIDDEN void coir__sights_init(struct coir__sights *sights, struct coir__worker *w,
                                   bool only_running);
COIR_HIDDEN void coir__sights_free(struct coir__sights *sights);

/* For coir__look_now in a signal handler, whose third argument is the context. */
COIR_HIDDEN void coir__sights_interrupted(struct coir__look *look, void *context);

/* The look has ended, and the worker is there, but has not seen all: add what can be told without
 * it. */
COIR_HIDDEN void coir__sights_from_outside(struct coir__sights *sights);

/* The one after s, in the order in which they were seen; from NULL: the first. NULL: no more. */
struct coir__sight_place {
    struct coir__sight_chunk *chunk;
    uint32_t at;
};
COIR_HIDDEN struct coir__sight *coir__sights_next(const struct coir__sights *sights,
                                                  struct coir__sight_place *place);

#endif
