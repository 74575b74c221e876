/* tests/io/rungs.h - run a group of tests on each rung of the ring's ladder of flags, on one more
 * where the ring answers as it used to (old_kernel.h), on the epoll engine, and on a ring in a
 * process that has nothing of what came after Linux 5.15 (linux_5_15.h).
 * SPDX-License-Identifier: MIT
 *
 * A flag that is taken away is what an older kernel does not have: see io/ring.c. */
#ifndef TESTS_IO_RUNGS_H
#define TESTS_IO_RUNGS_H

#include "linux_5_15.h"
#include "support/fiber_test.h"

#include "io/io.h"
#include "io/ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct rung {
    const char *name;
    unsigned mask;
    int interrupt_every; /* not 0: with old answers, and that many -EINTR */
    bool epoll;
    bool linux_5_15;
};

static const struct rung rungs[] = {
    { "all flags", ~0u, 0, false, false },
    { "without DEFER_TASKRUN", ~(IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER), 0, false,
      false },
    { "with SUBMIT_ALL only", IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE, 0,
      false, false },
    { "no flags", 0, 0, false, false },
    { "old answers", ~0u, 5, false, false },
    { "epoll", ~0u, 0, true, false },
    { "Linux 5.15", 0, 5, false, true },
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

/* RUNG=056 in the environment: only those three. Without io_uring, as under qemu-user: epoll's. */
static inline int rung_wanted(int n)
{
    const char *only = getenv("RUNG");
    bool has_rings = coir__engine_choose(COIR__WISH_AUTO) == &coir__uring.sched;
    return (has_rings || rungs[n].epoll) && (!only || strchr(only, '0' + n));
}

static inline void set_rung(int n)
{
    rung = &rungs[n];
    coir__ring_flags_mask = rung->mask;
    coir__ring_features_mask = rung->linux_5_15 ? FEATURES_OF_5_15 : ~0u;
    setenv("COIR_IO", rung->epoll ? "epoll" : "uring", 1);
}

/* The rung is a child's: true in it, false when it has ended, with *failed. */
static inline bool in_child_of_rung(int *failed)
{
    int status = 1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        watchdog();
        be_linux_5_15();
        return true;
    }
    *failed = pid < 0 || waitpid(pid, &status, 0) != pid || status != 0;
    return false;
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
            int bad_rung_ = 0;                                                                     \
            set_rung(rung_);                                                                       \
            bool child_ = rung->linux_5_15 && in_child_of_rung(&bad_rung_);                        \
            if (child_ || !rung->linux_5_15)                                                       \
                bad_rung_ = cmocka_run_group_tests_name(rung->name, tests, NULL, NULL);            \
            if (child_)                                                                            \
                exit(bad_rung_ != 0);                                                              \
            failed_ += bad_rung_;                                                                  \
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
