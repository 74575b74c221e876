/* sched/host.h - what the core asks of the build it is part of. The API's build answers with libc
 * and pthreads (api/host.c); the drop-in's, which runs underneath libc, answers with raw system
 * calls.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_SCHED_HOST_H
#define COIR_SCHED_HOST_H

#include "arch/arch.h"

#include <stdbool.h>

struct coir__fiber;
struct coir__runtime;
struct coir__worker;

/* CLOCK_MONOTONIC in ns. Called at least once per tick, so it should not enter the kernel. */
COIR_HIDDEN int64_t coir__host_now(void);

/* The same to within some milliseconds, at a quarter of the cost. */
COIR_HIDDEN int64_t coir__host_now_roughly(void);

/* The kernel's page size. */
COIR_HIDDEN size_t coir__host_page_bytes(void);

/* The calling thread's errno: read when a fiber's function returned COIR_FAILED. */
COIR_HIDDEN int coir__host_errno(void);

/* Start an OS thread that runs fn(arg), with all signals but SIGURG blocked that a thread may
 * block. 0, or -errno; *thread is for coir__host_thread_join. */
COIR_HIDDEN int coir__host_thread_start(uintptr_t *thread, void (*fn)(void *), void *arg);

/* May the calling thread, which was started so, be interrupted? Who interrupts it names it by its
 * id (coir__host_thread_id): a system call that it is in then fails with EINTR. */
COIR_HIDDEN void coir__host_interruptible(bool on);
COIR_HIDDEN void coir__host_interrupt(uint32_t thread);

/* Wait until the thread has ended and its resources are free. */
COIR_HIDDEN void coir__host_thread_join(uintptr_t thread);
/* Or have them freed when it ends; nobody waits for that. */
COIR_HIDDEN void coir__host_thread_detach(uintptr_t thread);

/* The thread that will run w, about to run its first fiber, and after its last one: thread-wide
 * things such as the alternate signal stack. enter: 0, or -errno. */
COIR_HIDDEN int coir__host_worker_enter(struct coir__worker *w);
COIR_HIDDEN void coir__host_worker_leave(struct coir__worker *w);

/* For plain threads: the runtime to use, started if there is none. Until coir__host_runtime_leave
 * it does not end. 0, or -errno. */
COIR_HIDDEN int coir__host_runtime_enter(struct coir__runtime **rt);
COIR_HIDDEN void coir__host_runtime_leave(struct coir__runtime *rt);

/* The calling plain thread's deadline; is it to fail as if it were a cancelled fiber? */
COIR_HIDDEN int64_t coir__host_thread_deadline(void);
COIR_HIDDEN bool coir__host_thread_cancelled(void);

/* Are rt's workers, and threads of the library, the only ones of the process? */
COIR_HIDDEN bool coir__host_alone(struct coir__runtime *rt);
/* Then, and all workers rest: nothing will ever make a fiber ready. Called in a worker's loop. */
COIR_HIDDEN void coir__host_at_rest(struct coir__runtime *rt);

/* A worker of a watched runtime has slept, and goes on. */
COIR_HIDDEN void coir__host_woke(void);

/* The calling thread's id, as gettid(2). */
COIR_HIDDEN uint32_t coir__host_thread_id(void);

/* f, the calling fiber, which has_values, is about to end: destroy them. May park. */
COIR_HIDDEN void coir__host_fiber_values_end(struct coir__fiber *f);

/* Fibers that were spawned have waited for memory for a stack for some time. */
COIR_HIDDEN void coir__host_starves(void);

/* Its runtime, which ends, gives a fiber up that began with fn(arg): it never goes on. */
COIR_HIDDEN void coir__host_given_up(void *(*fn)(void *), void *arg);

/* The program has made a mistake, in a debug build: say what, and abort. */
COIR_HIDDEN _Noreturn void coir__host_misuse(const char *what);

/* This thread's state of the C++ unwinder: what __cxa_get_globals() points at, NULL when the
 * process has no C++. */
struct coir__unwinder {
    void *caught;
    unsigned uncaught;
};
COIR_HIDDEN struct coir__unwinder *coir__host_unwinder(void);

#endif
