/* tests/model/kit.h - workers and fibers for cases, made by hand and from setup.
 * SPDX-License-Identifier: MIT */
#ifndef MODEL_KIT_H
#define MODEL_KIT_H

#include "model.h"
#include "sched/runtime.h"
#include "sched/wait.h"

enum { KIT_WORKERS = 3, KIT_FIBERS = 8 };

extern struct coir__worker kit_workers[KIT_WORKERS];
extern struct coir__runtime kit_rt;
extern const struct coir__engine kit_engine;
extern int64_t kit_thread_deadline_ns; /* of plain threads */
extern bool kit_told_rest;             /* the sources have said that nothing will ever happen */

/* Records that were ever used, and those of them that were given back by no worker. */
extern unsigned kit_records_len, kit_records_freed_outside;

/* n workers, and a thread of the model for each of the first `loops`, which runs its loop. They do
 * not steal unless kit_rt.watching is made 0. */
void kit_begin(unsigned n, unsigned loops);

/* A fiber of worker number i, about to go on with fn(arg): READY, with a stack. */
struct coir__fiber *kit_fiber(unsigned i, void *(*fn)(void *), void *arg);

/* A record of worker number i, FRESH, in no queue. */
struct coir__fiber *kit_fresh(unsigned i, void *(*fn)(void *), void *arg);

/* The calling thread of the model is worker number i from now on, without a loop. */
void kit_be_worker(unsigned i);

/* A plain thread's mutual exclusion, or a fiber's, was kept. */
struct kit_guarded {
    int inside, count;
};
void kit_enter(struct kit_guarded *g);
void kit_leave(struct kit_guarded *g);

#endif
