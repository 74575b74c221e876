/* api/ask.h - asking the workers of all runtimes what their fibers do.
 * SPDX-License-Identifier: MIT
 *
 * Callers   fibers, which park meanwhile whatever their cancel and deadline; plain threads; and a
 *           worker's loop, which blocks: for when nothing runs.
 * Time      a worker that does not come to its loop is asked by a signal, and after that given
 *           up. */
#ifndef COIR_API_ASK_H
#define COIR_API_ASK_H

#include "sight.h"

/* The answers of all workers. */
struct coir__ask {
    struct coir__sights *sights; /* len of them */
    uint32_t len;
    struct coir__sight **table; /* by fiber; table_len a power of two */
    uint64_t table_len;
    uint64_t fibers[COIR__ENDED + 1]; /* in each state */
    uint64_t lost;
};

/* One at a time: who wants to see something. */
COIR_HIDDEN bool coir__ask_try_lock(void);
COIR_HIDDEN void coir__ask_lock(void);
COIR_HIDDEN void coir__ask_unlock(void);

/* 0, or -ENOMEM. */
COIR_HIDDEN int coir__ask_all(struct coir__ask *ask);
COIR_HIDDEN void coir__ask_free(struct coir__ask *ask);

/* What was seen of a fiber, last; NULL: nothing. */
COIR_HIDDEN struct coir__sight *coir__ask_find(const struct coir__ask *ask,
                                               const struct coir__fiber *f);

/* Let time pass: the fiber parks, the thread sleeps. */
COIR_HIDDEN void coir__ask_pause(int64_t ns);

/* For each sight that counts, in order. */
struct coir__ask_place {
    uint32_t sights;
    struct coir__sight_place place;
};
COIR_HIDDEN struct coir__sight *coir__ask_next(const struct coir__ask *ask,
                                               struct coir__ask_place *place);

/* runtime.c: coir_run's, and the one that starts by itself. */
enum { COIR__RUNTIMES = 2 };
COIR_HIDDEN extern struct coir__runtime *const coir__runtimes[COIR__RUNTIMES];

#endif
