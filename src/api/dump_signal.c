/* api/dump_signal.c - COIR_DUMP_SIGNAL: a signal that prints a dump.
 * SPDX-License-Identifier: MIT
 *
 * The handler only wakes a thread, which dumps: so it answers also when every worker computes. The
 * signal is not blocked on that thread: it comes through when the program blocks it on all of its
 * own. */
#include "dump.h"

#include "helper.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct coir__helper helper;
static int sig; /* 0: none */
static struct sigaction before;

static void on_signal(int number)
{
    int err = errno;
    (void)number;
    coir__helper_wake(&helper, 1);
    errno = err;
}

static void dump(void)
{
    int err = coir__dump(STDERR_FILENO);
    if (err < 0)
        fprintf(stderr, "coir: no dump: %s\n", strerror(-err));
}

static void dump_when_woken(void *arg)
{
    struct coir__helper *h = arg;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, sig);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    while (!atomic_load(&h->ends))
        if (atomic_exchange(&h->word, 0) == 1)
            dump();
        else
            coir__helper_sleep(h, 0, COIR__NEVER);
}

void coir__dump_signal_begin(int number)
{
    struct sigaction ours = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_RESTART };
    sigemptyset(&ours.sa_mask);
    sig = number;
    int err = coir__helper_start(&helper, dump_when_woken);
    if (err == 0 && sigaction(sig, &ours, &before) == 0)
        return;
    err = err ? -err : errno;
    fprintf(stderr, "coir: no dump on signal %d: %s\n", number, strerror(err));
    coir__helper_stop(&helper);
    sig = 0;
}

void coir__dump_signal_end(void)
{
    struct sigaction now;
    if (!sig)
        return;
    if (sigaction(sig, NULL, &now) == 0 && now.sa_handler == on_signal)
        sigaction(sig, &before, NULL); /* else the program has its own meanwhile */
    coir__helper_stop(&helper);
    sig = 0;
}
