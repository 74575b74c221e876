/* api/helper.h - threads of the library that are no workers.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_API_HELPER_H
#define COIR_API_HELPER_H

#include "arch/arch.h"

#include <stdatomic.h>
#include <stdbool.h>

/* One of them. It sleeps on its word, 0 or 1, and ends when it finds `ends`, which is set before
 * the word becomes COIR__HELPER_ENDS. */
enum { COIR__HELPER_ENDS = 2 };
struct coir__helper {
    uintptr_t thread;
    bool runs;
    _Atomic uint32_t ends;
    _Atomic int32_t word;
};

/* How many there are now. */
COIR_HIDDEN extern _Atomic uint32_t coir__helpers;

/* 0, or -errno. */
COIR_HIDDEN int coir__helper_start(struct coir__helper *h, void (*fn)(void *arg));
/* Nothing, if it does not run. */
COIR_HIDDEN void coir__helper_stop(struct coir__helper *h);

/* In the helper: sleep while the word is `value`, at most until until_ns. */
COIR_HIDDEN void coir__helper_sleep(struct coir__helper *h, int32_t value, int64_t until_ns);
/* Set the word, and wake it. Any thread, also in a signal handler. */
COIR_HIDDEN void coir__helper_wake(struct coir__helper *h, int32_t value);

/* What the environment asks for, from before the first runtime's start to the last one's end. */
COIR_HIDDEN void coir__helpers_begin(void);
COIR_HIDDEN void coir__helpers_end(void);

/* Likewise: blocking.c's threads, and lookup.c's. */
COIR_HIDDEN void coir__blocking_begin(void);
COIR_HIDDEN void coir__blocking_end(void);
COIR_HIDDEN void coir__lookups_begin(void);
COIR_HIDDEN void coir__lookups_end(void);

/* For coir__helpers_begin: env.c, dump_signal.c, watchdog.c. 0: not asked for. */
COIR_HIDDEN int coir__dump_signal_from_env(void);
COIR_HIDDEN int64_t coir__watchdog_from_env(void);
COIR_HIDDEN void coir__dump_signal_begin(int sig);
COIR_HIDDEN void coir__dump_signal_end(void);
COIR_HIDDEN void coir__watchdog_begin(int64_t limit_ns);
COIR_HIDDEN bool coir__watchdog_runs(void);
COIR_HIDDEN void coir__watchdog_end(void);

#endif
