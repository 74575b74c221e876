/* api/helper.c - see helper.h.
 * SPDX-License-Identifier: MIT */
#include "helper.h"

#include "edge.h"

#include <pthread.h>

_Atomic uint32_t coir__helpers;

static struct {
    pthread_mutex_t lock;
    unsigned runtimes;
} users = { .lock = PTHREAD_MUTEX_INITIALIZER };

int coir__helper_start(struct coir__helper *h, void (*fn)(void *arg))
{
    atomic_store(&h->ends, 0);
    atomic_store(&h->word, 0);
    int err = coir__host_thread_start(&h->thread, fn, h);
    h->runs = err == 0;
    if (h->runs)
        atomic_fetch_add(&coir__helpers, 1);
    return err;
}

void coir__helper_stop(struct coir__helper *h)
{
    if (!h->runs)
        return;
    h->runs = false;
    atomic_store(&h->ends, 1);
    coir__helper_wake(h, COIR__HELPER_ENDS);
    coir__host_thread_join(h->thread);
    atomic_fetch_sub(&coir__helpers, 1);
}

void coir__helper_sleep(struct coir__helper *h, int32_t value, int64_t until_ns)
{
    coir__futex_wait(&h->word, value, until_ns);
}

void coir__helper_wake(struct coir__helper *h, int32_t value)
{
    atomic_store(&h->word, value);
    coir__futex_wake(&h->word, 1);
}

void coir__helpers_begin(void)
{
    coir__blocking_begin();
    coir__lookups_begin();
    pthread_mutex_lock(&users.lock);
    if (users.runtimes++ == 0) {
        int sig = coir__dump_signal_from_env();
        int64_t limit_ns = coir__watchdog_from_env();
        if (sig)
            coir__dump_signal_begin(sig);
        if (limit_ns)
            coir__watchdog_begin(limit_ns);
    }
    pthread_mutex_unlock(&users.lock);
}

void coir__helpers_end(void)
{
    pthread_mutex_lock(&users.lock);
    if (--users.runtimes == 0) {
        coir__watchdog_end();
        coir__dump_signal_end();
    }
    pthread_mutex_unlock(&users.lock);
    coir__lookups_end();
    coir__blocking_end();
}
