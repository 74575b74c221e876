/* tests/sync/crowd.h - fibers of all workers and plain threads, at once.
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_SYNC_CROWD_H
#define TESTS_SYNC_CROWD_H

#include "../sched/kit.h"

enum { CROWD_FIBERS = 12, CROWD_THREADS = 3, CROWD = CROWD_FIBERS + CROWD_THREADS };

/* A fiber somewhere. */
static inline coir_fiber *crowd_spawn(void *(*fn)(void *), void *arg)
{
    coir_attr attr = { .flags = COIR_SPREAD };
    return coir_spawn_with(&attr, fn, arg);
}

/* CROWD of them run fn(arg); returns when all have ended. By a fiber. */
static inline void crowd_run(void *(*fn)(void *), void *arg)
{
    coir_fiber *fibers[CROWD_FIBERS];
    pthread_t threads[CROWD_THREADS];
    for (int i = 0; i < CROWD_THREADS; i++)
        pthread_create(&threads[i], NULL, fn, arg);
    for (int i = 0; i < CROWD_FIBERS; i++)
        fibers[i] = crowd_spawn(fn, arg);
    for (int i = 0; i < CROWD_FIBERS; i++)
        coir_join(fibers[i], NULL);
    for (int i = 0; i < CROWD_THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* Wait until it is parked. */
static inline bool crowd_is_parked(coir_fiber *fiber)
{
    return KIT_UNTIL(coir__fiber_state(kit_record(fiber)) == COIR__PARKED);
}

/* Whether it failed does not matter. */
static inline void crowd_ignore(int result)
{
    (void)result;
}

/* A number that differs from call to call, below n; the same in every run. */
static inline unsigned crowd_pick(unsigned *seed, unsigned n)
{
    *seed = *seed * 1103515245 + 12345;
    return (*seed >> 16) % n;
}

#endif
