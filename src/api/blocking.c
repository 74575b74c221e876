/* api/blocking.c - coir_blocking: a function that blocks runs on a thread, and its fiber parks.
 * SPDX-License-Identifier: MIT
 *
 * The call is on the fiber's stack, and ends only when the function has returned or will not run.
 * What ends waits early takes it off the pool's queue, or is passed on to the function. */
#include "edge.h"

#include "helper.h"
#include "io/pool.h"

static struct coir__pool pool = { .threads_max = COIR__POOL_THREADS_MAX, .foreign = true };

struct blocking {
    struct coir__waiter waiter; /* first: its stop gets the call by its address */
    struct coir__job job;
    void *(*fn)(void *);
    void *arg, *result;
    int error; /* why fn failed; 0: it did not */
    int64_t deadline_ns;
    _Atomic bool cancelled;
};

void coir__blocking_begin(void)
{
    coir__pool_hold(&pool);
}

void coir__blocking_end(void)
{
    coir__pool_let_go(&pool);
}

bool coir__host_thread_cancelled(void)
{
    const _Atomic bool *cancelled = coir__thread.cancelled;
    return cancelled && atomic_load_explicit(cancelled, memory_order_relaxed);
}

__attribute__((noinline)) bool coir__thread_is_ours(void)
{
    return coir__thread.cancelled != NULL;
}

static struct blocking *blocking_of(struct coir__job *job)
{
    return (struct blocking *)((char *)job - offsetof(struct blocking, job));
}

static void call(struct blocking *b)
{
    b->result = b->fn(b->arg);
    b->error = b->result == COIR_FAILED ? coir__failure() : 0;
}

/* Not inlined: the thread's address is not carried over what the function may park in. */
static __attribute__((noinline)) void tell_thread(const _Atomic bool *cancelled,
                                                  int64_t deadline_ns)
{
    coir__thread.cancelled = cancelled;
    coir__thread.deadline_ns = deadline_ns;
}

static void run(struct coir__job *job)
{
    struct blocking *b = blocking_of(job);
    tell_thread(&b->cancelled, b->deadline_ns);
    call(b);
    tell_thread(NULL, COIR_NEVER);
}

/* Nobody else claims the waiter: who ends it early has taken the job back first. */
static void end(struct blocking *b, int err)
{
    coir__waiter_claim(&b->waiter, err);
    coir__waiter_release(&b->waiter);
}

static void done(struct coir__job *job)
{
    end(blocking_of(job), 0);
}

/* By the fiber's home worker. The function sees its deadline by itself. */
static void stop(struct coir__waiter *waiter, int err)
{
    struct blocking *b = (struct blocking *)waiter;
    if (coir__pool_stop(&pool, &b->job))
        end(b, err);
    else if (err == ECANCELED)
        atomic_store_explicit(&b->cancelled, true, memory_order_relaxed);
}

/* After-hook: from here on the fiber can be woken. */
static void begin(void *arg)
{
    struct blocking *b = arg;
    int err = coir__pool_add(&pool, &b->job);
    if (err < 0)
        end(b, -err);
}

static int wait_for(struct blocking *b)
{
    struct coir__fiber *f = coir__fiber_self();
    if (!f) {
        call(b);
        return 0;
    }
    coir__waiter_init_fiber(&b->waiter, f);
    b->waiter.stop = stop;
    b->deadline_ns = f->deadline_ns;
    return -coir__waiter_wait(&b->waiter, COIR__WHY_BLOCKING, f->deadline_ns, begin, b);
}

int coir_blocking(void *(*fn)(void *), void *arg, void **result)
{
    struct blocking b = { .job = { .run = run, .done = done }, .fn = fn, .arg = arg };
    int err = fn ? coir__check() : -EINVAL;
    if (err == 0)
        err = wait_for(&b);
    if (err == 0 && b.error)
        err = -b.error;
    if (err == 0 && result)
        *result = b.result;
    return (int)coir__edge(err);
}
