/* io/pool.h - threads for calls that block.
 * SPDX-License-Identifier: MIT
 *
 * A pool has no thread until there is a job, grows with the jobs that find none idle, to its
 * maximum, and shrinks again. More jobs than threads wait in a queue, oldest first. */
#ifndef COIR_IO_POOL_H
#define COIR_IO_POOL_H

#include "sched/worker.h"

enum { COIR__POOL_THREADS_MAX = 64 };

/* One call. Its memory is the caller's, until done() is called. */
struct coir__job {
    void (*run)(struct coir__job *job);  /* on a thread of the pool */
    void (*done)(struct coir__job *job); /* likewise, after it: the pool has let go of the job */
    bool interruptible;                  /* run may be ended by coir__pool_stop */
    bool queued;
    uint32_t thread; /* where it runs; 0: it does not */
    struct coir__job *next;
};

struct coir__pool_thread {
    uintptr_t thread;
    struct coir__pool *pool;
    enum { COIR__POOL_FREE, COIR__POOL_RUNS, COIR__POOL_GONE } state; /* GONE: still to be joined */
    bool busy;                                                        /* has a job */
    bool detached; /* ends by itself, and is FREE then */
};

struct coir__pool {
    uint32_t threads_max;
    bool foreign; /* its jobs are the program's code, which may do anything: they are not counted */
    bool abandons; /* a job that runs may outlast the users; its thread then ends by itself */
    _Atomic int32_t
        begin_or_end;     /* held by who is about to become the first user, or was the last */
    _Atomic int32_t lock; /* for all that follows but `word` */
    _Atomic int32_t word; /* threads without a job sleep on it */
    struct coir__job *first, *last;
    uint32_t users, jobs, idle; /* jobs: in the queue; idle: threads that will look into it */
    bool ends;
    struct coir__pool_thread threads[COIR__POOL_THREADS_MAX];
};

/* How many threads all pools have, but for the foreign ones. */
COIR_HIDDEN extern _Atomic uint32_t coir__pool_threads;

/* The pool is needed, and not any more: then its threads end, and no jobs are queued. */
COIR_HIDDEN void coir__pool_hold(struct coir__pool *pool);
COIR_HIDDEN void coir__pool_let_go(struct coir__pool *pool);

/* 0; or -errno: there is no thread, and none can be started. Any thread. */
COIR_HIDDEN int coir__pool_add(struct coir__pool *pool, struct coir__job *job);

/* The job is not wanted any more. True: it had not begun, and done() is not called. Else, if it can
 * be, it is interrupted: which does nothing when that comes right before its system call, so again
 * later. Not once the job's memory is given back. */
COIR_HIDDEN bool coir__pool_stop(struct coir__pool *pool, struct coir__job *job);

#endif
