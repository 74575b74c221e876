/* tests/sched/kit.h - what several tests of the scheduler share.
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_SCHED_KIT_H
#define TESTS_SCHED_KIT_H

#include "support/fiber_test.h"

#include "sched/record.h"
#include "sched/runtime.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Longer than anything here takes, on a machine however busy: waits for ever become failures. */
enum { KIT_PATIENCE_S = 60 };

/* Let others go on: the other fibers of this worker, or the other threads. */
static inline void kit_pause(void)
{
    if (coir_self())
        coir_yield();
    sched_yield();
}

/* Wait until cond holds: 1; 0 when patience has run out. For fibers, whatever their cancel or
 * deadline, and for threads. */
#define KIT_UNTIL(cond)                                                                            \
    __extension__({                                                                                \
        int64_t kit_until_ns = coir_now() + COIR_SEC(KIT_PATIENCE_S);                              \
        bool kit_holds;                                                                            \
        while (!(kit_holds = (cond)) && coir_now() < kit_until_ns)                                 \
            kit_pause();                                                                           \
        kit_holds;                                                                                 \
    })

/* A valid handle's record. */
static inline struct coir__fiber *kit_record(coir_fiber *handle)
{
    struct coir__fiber *f = coir__fiber_of(handle);
    if (!f) {
        fputs("a handle is stale\n", stderr);
        abort();
    }
    return f;
}

/* From now on nobody steals in this run: fresh fibers start where they were spawned. For fibers. */
static inline void kit_nobody_steals(void)
{
    _Atomic uint32_t *watching = &coir__worker_self()->rt->watching;
    uint32_t none;
    if (!KIT_UNTIL((none = 0, atomic_compare_exchange_strong(watching, &none, UINT32_MAX)))) {
        fputs("somebody watches for ever\n", stderr);
        abort();
    }
}

/* Is this program built on the fake engine? Known once a runtime has started. */
static inline bool kit_fake(void)
{
    return strcmp(coir_io_engine(), "fake") == 0;
}

/* Are there n threads? The kernel may take a moment to clear one away that has been joined.
 * Sanitizers have threads of their own. */
static inline bool kit_threads_become(int n)
{
    return TEST_SANITIZED || KIT_UNTIL(test_threads() == n);
}

static inline long kit_address_space_kb(void)
{
    long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (!statm || fscanf(statm, "%ld", &pages) != 1)
        pages = -1;
    if (statm)
        fclose(statm);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Limit the address space to so much more than it is; false: the limit does not hold, as in an
 * emulator. */
static inline bool kit_limit_memory(long more_kb)
{
    const size_t too_much = (size_t)(more_kb + 1024) * 1024;
    struct rlimit limit = { .rlim_max = RLIM_INFINITY };
    limit.rlim_cur = (rlim_t)(kit_address_space_kb() + more_kb) * 1024;
    if (setrlimit(RLIMIT_AS, &limit) < 0)
        return false;
    void *at = mmap(NULL, too_much, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at != MAP_FAILED)
        munmap(at, too_much);
    return at == MAP_FAILED;
}

static inline void *kit_nothing(void *arg)
{
    return arg;
}

/* For coir_run: a run without anything. */
static inline void kit_empty(void *arg)
{
    (void)arg;
}

/* What a call returned and, when that was -1, its errno; else 0. */
struct kit_said {
    int result, err;
};

#define KIT_SAID(call)                                                                             \
    __extension__({                                                                                \
        errno = 0;                                                                                 \
        int kit_result = (call);                                                                   \
        (struct kit_said){ kit_result, kit_result < 0 ? errno : 0 };                               \
    })

#define kit_assert_said(said, want_result, want_err)                                               \
    do {                                                                                           \
        assert_int_equal((said).err, want_err);                                                    \
        assert_int_equal((said).result, want_result);                                              \
    } while (0)

#endif
