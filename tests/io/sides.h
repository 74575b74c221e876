/* tests/io/sides.h - tests whose parties are fibers, or plain threads.
 * SPDX-License-Identifier: MIT
 *
 * The body of such a test starts its other sides with side_start and may itself be a fiber or a
 * plain thread: every call means the same to both. */
#ifndef TESTS_IO_SIDES_H
#define TESTS_IO_SIDES_H

#include "kit.h"

#include <pthread.h>

struct side {
    void (*fn)(void *);
    void *arg;
    coir_fiber *fiber; /* or, on a plain thread: */
    pthread_t thread;
    _Atomic pid_t tid;
};

static inline void *side_as_fiber(void *arg)
{
    struct side *side = arg;
    COIR_TIMEOUT(LONG)
        side->fn(side->arg);
    return NULL;
}

static inline void *side_as_thread(void *arg)
{
    struct side *side = arg;
    atomic_store(&side->tid, gettid());
    return side_as_fiber(arg);
}

static inline void side_start(struct side *side, void (*fn)(void *), void *arg)
{
    *side = (struct side){ .fn = fn, .arg = arg };
    if (coir_self())
        side->fiber = spawn_apart(side_as_fiber, side);
    else
        EXPECT_EQ(pthread_create(&side->thread, NULL, side_as_thread, side), 0);
}

static inline void side_wait(struct side *side)
{
    if (side->fiber)
        join(side->fiber);
    else
        pthread_join(side->thread, NULL);
}

/* Is that thread asleep in the kernel? */
static inline int thread_asleep(pid_t tid)
{
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)tid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = 0;
    const char *name_end = strrchr(text, ')');
    return name_end && name_end[1] == ' ' && name_end[2] == 'S';
}

/* Until the other side waits in a call. */
static inline void until_waiting(struct side *side)
{
    if (side->fiber) {
        until_parked(side->fiber);
        until_submitted();
        return;
    }
    while (!atomic_load(&side->tid) || !thread_asleep(atomic_load(&side->tid)))
        usleep(200);
    usleep(1000); /* a worker has taken its op */
}

struct body {
    void (*fn)(void *);
    void *arg;
};

static inline void body_on_fiber(void *arg)
{
    struct body *body = arg;
    COIR_TIMEOUT(LONG)
        body->fn(body->arg);
}

static inline int body_on_thread(void *arg)
{
    alarm(WATCHDOG_SECONDS);
    if (rung->interrupt_every) {
        void *every = (void *)(intptr_t)rung->interrupt_every;
        join(coir_spawn(play_old_kernel_in_fiber, every));
    }
    body_on_fiber(arg);
    return no_findings_status();
}

/* With fibers on 1, 2 and 4 workers; then with plain threads and the runtime that starts by itself,
 * which is for life, so in a child. */
static inline void run_everywhere(void (*fn)(void *), void *arg)
{
    struct body body = { fn, arg };
    run_on_each(body_on_fiber, &body);
    run_in_child(body_on_thread, &body);
}

/* A test whose body runs everywhere. */
#define BODY_TEST(name, body)                                                                      \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        run_everywhere(body, NULL);                                                                \
    }

#endif
