/* api/edge.h - the public edge: where -errno becomes -1 and errno. Only src/api uses libc.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_API_EDGE_H
#define COIR_API_EDGE_H

#include <coir.h>

#include "sched/runtime.h"
#include "sched/stack.h"
#include "sched/wait.h"

/* coir__edge of -ECANCELED. A fiber that tries again for ever would keep a run from ending: once
 * drain_ns runs, it lets others go first. */
COIR_HIDDEN long coir__edge_cancelled(void);

/* The one place that sets errno. No park lies between it and the return of the public call. The
 * caller has nothing locked. */
static inline long coir__edge(long result)
{
    if (__builtin_expect(result < 0, 0)) {
        if (result == -ECANCELED)
            return coir__edge_cancelled();
        errno = (int)-result;
        return -1;
    }
    return result;
}

/* errno by calls that are not inlined: its address, which compilers take for the same all through a
 * function, is not carried over a park (tests/lto_tls.py). */
COIR_HIDDEN int coir__errno_get(void);
COIR_HIDDEN void coir__errno_set(int err);

/* Void calls preserve errno; whoever parks finds another fiber's. */
#define KEEPING_ERRNO(call)                                                                        \
    do {                                                                                           \
        int before = coir__errno_get();                                                            \
        call;                                                                                      \
        coir__errno_set(before);                                                                   \
    } while (0)

/* What every call that may park begins with. */
static inline int coir__check(void)
{
    struct coir__fiber *f = coir__fiber_self();
    if (__builtin_expect(f && f->deadline_ns == COIR__NEVER && !coir__fiber_cancelled(f), 1))
        return 0;
    return coir__fiber_check(f);
}

/* Why a callback of the program failed: read right after it has returned. */
static inline int coir__failure(void)
{
    return errno > 0 ? errno : EIO;
}

/* What a plain thread has of a fiber's state. */
struct coir__thread {
    int64_t deadline_ns;
    struct coir__values *values;   /* of keys; NULL: none */
    uint32_t id;                   /* 0: not known yet */
    const _Atomic bool *cancelled; /* the fiber's for which it runs coir_blocking; NULL: none */
};
COIR_HIDDEN extern _Thread_local struct coir__thread coir__thread;

/* Does the calling thread run functions for coir_blocking? */
COIR_HIDDEN bool coir__thread_is_ours(void);

/* The caller's deadline, fiber or thread. */
COIR_HIDDEN int64_t *coir__deadline_of(struct coir__fiber *f);

/* fiber.c: what coir_attr asks for, made into how to spawn; attr may be NULL. 0, or -EINVAL. */
COIR_HIDDEN int coir__attr_read(const coir_attr *attr, struct coir__spawn *how);

/* env.c: options and environment made into a configuration. 0, or -errno. */
COIR_HIDDEN int coir__config_make(struct coir__config *config, const coir_options *options);
/* A line on stderr under COIR_VERBOSE. */
COIR_HIDDEN void coir__say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* env.c: is COIR_STATS set? stats.c: what it asks for, of a run that has ended. */
COIR_HIDDEN bool coir__stats_from_env(void);
COIR_HIDDEN void coir__stats_say(const struct coir__runtime *rt, int64_t took_ns);

/* future.c, stream_fiber.c: the runtime gives a fiber up that began with fn(arg). Whoever waits for
 * what it was to bring goes on. False: fn is not theirs. */
COIR_HIDDEN bool coir__async_given_up(void *(*fn)(void *), void *arg);
COIR_HIDDEN bool coir__stream_fiber_given_up(void *(*fn)(void *), void *arg);

/* The I/O engine of this process. */
COIR_HIDDEN extern const struct coir__engine *_Atomic coir__engine_chosen;

#endif
