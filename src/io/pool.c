/* io/pool.c - see pool.h.
 * SPDX-License-Identifier: MIT */
#include "pool.h"

#include "sched/wait.h"

#include <errno.h>

static const int64_t IDLE_NS = (int64_t)5 * 1000 * 1000 * 1000;

_Atomic uint32_t coir__pool_threads;

static void count(const struct coir__pool *pool, int n)
{
    if (!pool->foreign)
        atomic_fetch_add(&coir__pool_threads, (uint32_t)n);
}

static struct coir__job *take(struct coir__pool *pool)
{
    struct coir__job *job = pool->first;
    if (job) {
        pool->first = job->next;
        pool->jobs--;
        job->queued = false;
        job->thread = coir__host_thread_id();
    }
    return job;
}

/* The lock is held, before and after. */
static void do_job(struct coir__pool *pool, struct coir__job *job)
{
    bool interruptible = job->interruptible;
    coir__sleep_unlock(&pool->lock);
    if (interruptible)
        coir__host_interruptible(true);
    job->run(job);
    if (interruptible)
        coir__host_interruptible(false);
    coir__sleep_lock(&pool->lock);
    job->thread = 0;
    coir__sleep_unlock(&pool->lock);
    job->done(job);
    coir__sleep_lock(&pool->lock);
}

/* Likewise. False: it has waited long enough, or the pool ends. */
static bool await_job(struct coir__pool *pool)
{
    int64_t until_ns = coir__host_now() + IDLE_NS;
    int err = 0;
    pool->idle++;
    while (!pool->first && !pool->ends && err != -ETIMEDOUT) {
        int32_t word = atomic_load_explicit(&pool->word, memory_order_relaxed);
        coir__sleep_unlock(&pool->lock);
        err = coir__futex_wait(&pool->word, word, until_ns);
        coir__sleep_lock(&pool->lock);
    }
    pool->idle--;
    return pool->first;
}

static void thread_main(void *arg)
{
    struct coir__pool_thread *me = arg;
    struct coir__pool *pool = me->pool;
    coir__sleep_lock(&pool->lock);
    do {
        struct coir__job *job;
        while ((job = take(pool))) {
            me->busy = true;
            do_job(pool, job);
            me->busy = false;
        }
    } while (await_job(pool));
    me->state = me->detached ? COIR__POOL_FREE : COIR__POOL_GONE;
    count(pool, -1);
    coir__sleep_unlock(&pool->lock);
}

/* A place for one more thread; NULL: there are enough. */
static struct coir__pool_thread *free_place(struct coir__pool *pool)
{
    for (uint32_t i = 0; i < pool->threads_max; i++) {
        struct coir__pool_thread *t = &pool->threads[i];
        if (t->state == COIR__POOL_GONE) {
            coir__host_thread_join(t->thread);
            t->state = COIR__POOL_FREE;
        }
        if (t->state == COIR__POOL_FREE)
            return t;
    }
    return NULL;
}

static bool has_threads(const struct coir__pool *pool)
{
    for (uint32_t i = 0; i < pool->threads_max; i++)
        if (pool->threads[i].state == COIR__POOL_RUNS)
            return true;
    return false;
}

/* For one job more: an idle thread, or a new one. */
static int find_thread(struct coir__pool *pool)
{
    struct coir__pool_thread *t = pool->jobs < pool->idle ? NULL : free_place(pool);
    atomic_fetch_add_explicit(&pool->word, 1, memory_order_relaxed);
    if (pool->idle)
        coir__futex_wake(&pool->word, 1);
    if (!t)
        return 0;
    t->pool = pool;
    t->state = COIR__POOL_RUNS;
    t->detached = false;
    count(pool, 1);
    int err = coir__host_thread_start(&t->thread, thread_main, t);
    if (err == 0)
        return 0;
    t->state = COIR__POOL_FREE;
    count(pool, -1);
    return has_threads(pool) ? 0 : err;
}

int coir__pool_add(struct coir__pool *pool, struct coir__job *job)
{
    job->thread = 0;
    job->next = NULL;
    coir__sleep_lock(&pool->lock);
    int err = find_thread(pool);
    if (err == 0) {
        job->queued = true;
        if (pool->first)
            pool->last->next = job;
        else
            pool->first = job;
        pool->last = job;
        pool->jobs++;
    }
    coir__sleep_unlock(&pool->lock);
    return err;
}

static void take_back(struct coir__pool *pool, struct coir__job *job)
{
    struct coir__job **at = &pool->first, *before = NULL;
    while (*at != job) {
        before = *at;
        at = &before->next;
    }
    *at = job->next;
    if (pool->last == job)
        pool->last = before;
    pool->jobs--;
    job->queued = false;
}

bool coir__pool_stop(struct coir__pool *pool, struct coir__job *job)
{
    coir__sleep_lock(&pool->lock);
    bool queued = job->queued;
    if (queued)
        take_back(pool, job);
    else if (job->thread && job->interruptible)
        coir__host_interrupt(job->thread);
    coir__sleep_unlock(&pool->lock);
    return queued;
}

void coir__pool_hold(struct coir__pool *pool)
{
    coir__sleep_lock(&pool->begin_or_end);
    coir__sleep_lock(&pool->lock);
    pool->users++;
    pool->ends = false;
    coir__sleep_unlock(&pool->lock);
    coir__sleep_unlock(&pool->begin_or_end);
}

/* Its job will outlast the users. Others may come before it ends: then it goes on for them. */
static void let_thread_go(struct coir__pool_thread *t)
{
    if (!t->detached)
        coir__host_thread_detach(t->thread);
    t->detached = true;
}

/* Without users no jobs are queued, so nobody takes a place while its thread is joined. */
void coir__pool_let_go(struct coir__pool *pool)
{
    coir__sleep_lock(&pool->begin_or_end);
    coir__sleep_lock(&pool->lock);
    bool last = --pool->users == 0;
    pool->ends = last;
    if (last) {
        atomic_fetch_add_explicit(&pool->word, 1, memory_order_relaxed);
        coir__futex_wake(&pool->word, COIR__POOL_THREADS_MAX);
    }
    for (uint32_t i = 0; i < pool->threads_max && last; i++) {
        struct coir__pool_thread *t = &pool->threads[i];
        if (t->state == COIR__POOL_FREE)
            continue;
        if (t->detached || (pool->abandons && t->busy)) {
            let_thread_go(t);
            continue;
        }
        coir__sleep_unlock(&pool->lock); /* which the thread needs to end */
        coir__host_thread_join(t->thread);
        coir__sleep_lock(&pool->lock);
        t->state = COIR__POOL_FREE;
    }
    coir__sleep_unlock(&pool->lock);
    coir__sleep_unlock(&pool->begin_or_end);
}
