/* tests/io/rungs.h - run a group of tests on each rung of the ring's ladder of flags, on one more
 * where the ring answers as it used to (old_kernel.h), and on the epoll engine.
 * SPDX-License-Identifier: MIT
 *
 * A flag that is taken away is what an older kernel does not have: see io/ring.c. */
#ifndef TESTS_IO_RUNGS_H
#define TESTS_IO_RUNGS_H

#include "support/fiber_test.h"

#include "io/io.h"
#include "io/ring.h"

#include <stdlib.h>
#include <unistd.h>

struct rung {
    const char *name;
    unsigned mask;
    int interrupt_every; /* not 0: with old answers, and that many -EINTR */
    bool epoll;
};

static const struct rung rungs[] = {
    { "all flags", ~0u, 0, false },
    { "without DEFER_TASKRUN", ~(IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER), 0,
      false },
    { "with SUBMIT_ALL only", IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE, 0,
      false },
    { "no flags", 0, 0, false },
    { "old answers", ~0u, 5, false },
    { "epoll", ~0u, 0, true },
};

enum { RUNGS = sizeof rungs / sizeof *rungs, WATCHDOG_SECONDS = 300 };

static const struct rung *rung = rungs;

/* A wake that is lost makes a test hang; this makes it fail. */
static inline void watchdog(void)
{
    alarm(WATCHDOG_SECONDS);
}

/* A test of what only a ring has. */
#define NEEDS_A_RING()                                                                             \
    do {                                                                                           \
        if (rung->epoll)                                                                           \
            skip();                                                                                \
    } while (0)

/* RUNG=n in the environment: only that one. Without io_uring, as under qemu-user: epoll's. */
static inline int rung_wanted(int n)
{
    const char *only = getenv("RUNG");
    bool has_rings = coir__engine_choose(COIR__WISH_AUTO) == &coir__uring.sched;
    return (has_rings || rungs[n].epoll) && (!only || atoi(only) == n);
}

/* The first of an engine's: for what is built upon the engines, and takes its time. */
static inline int rung_is_engine(int n)
{
    return n == 0 || rungs[n].epoll;
}

static inline int rung_is_any(int n)
{
    (void)n;
    return 1;
}

/* For main(): all tests on those rungs; the number of failures. */
#define RUN_ON_RUNGS(tests, which)                                                                 \
    ({                                                                                             \
        int failed_ = 0;                                                                           \
        watchdog();                                                                                \
        for (int rung_ = 0; rung_ < RUNGS; rung_++) {                                              \
            if (!rung_wanted(rung_) || !which(rung_))                                              \
                continue;                                                                          \
            rung = &rungs[rung_];                                                                  \
            coir__ring_flags_mask = rung->mask;                                                    \
            setenv("COIR_IO", rung->epoll ? "epoll" : "uring", 1);                                 \
            failed_ += cmocka_run_group_tests_name(rung->name, tests, NULL, NULL);                 \
        }                                                                                          \
        failed_;                                                                                   \
    })

#define RUN_ON_ALL_RUNGS(tests) RUN_ON_RUNGS(tests, rung_is_any)
#define RUN_ON_ENGINES(tests)   RUN_ON_RUNGS(tests, rung_is_engine)

/* The same in a directory of its own, which the tests leave empty. */
#define RUN_AT_HOME_ON(tests, which)                                                               \
    ({                                                                                             \
        static char home_[] = "/tmp/coir-io-XXXXXX";                                               \
        int bad_ = 1;                                                                              \
        if (mkdtemp(home_) && chdir(home_) == 0) {                                                 \
            bad_ = RUN_ON_RUNGS(tests, which);                                                     \
            bad_ += chdir("/") < 0 || rmdir(home_) < 0;                                            \
        }                                                                                          \
        bad_;                                                                                      \
    })

#define RUN_AT_HOME(tests)            RUN_AT_HOME_ON(tests, rung_is_any)
#define RUN_AT_HOME_ON_ENGINES(tests) RUN_AT_HOME_ON(tests, rung_is_engine)

#endif
