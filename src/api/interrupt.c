/* api/interrupt.c - calls that wait are ended by a signal: on the threads of io/pool.h.
 * SPDX-License-Identifier: MIT
 *
 * It is a real-time signal that the program leaves at its default, the highest one there is when
 * the first such call begins, or the first signal is watched. Its handler, which does nothing,
 * stays: without it a late signal would end the process. */
#include "signal.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Atomic int chosen;

static void on_interrupt(int sig)
{
    (void)sig;
}

/* A signal may have a handler and yet be none: qemu-user has no such signal for the two highest
 * numbers, and says so only to who sends one. It is taken back before a handler sees it. */
static bool arrives(int sig)
{
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, sig);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    bool sent = coir__sys(SYS_tgkill, getpid(), gettid(), sig) == 0;
    if (sent)
        sigtimedwait(&set, NULL, &(struct timespec){ 0, 0 });
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return sent;
}

/* Without SA_RESTART: the call shall end. */
static bool take(int sig)
{
    struct sigaction now, ours = { .sa_handler = on_interrupt };
    sigemptyset(&ours.sa_mask);
    if (sigaction(sig, NULL, &now) < 0 || now.sa_flags & SA_SIGINFO || now.sa_handler != SIG_DFL ||
        sigaction(sig, &ours, NULL) < 0)
        return false;
    if (arrives(sig))
        return true;
    sigaction(sig, &now, NULL);
    return false;
}

static void choose(void)
{
    for (int sig = SIGRTMAX; sig >= SIGRTMIN && !chosen; sig--)
        if (take(sig))
            chosen = sig;
}

int coir__signal_of_interrupts(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
    return chosen;
}

void coir__host_interruptible(bool on)
{
    sigset_t set;
    coir__signal_of_interrupts();
    sigemptyset(&set);
    if (chosen)
        sigaddset(&set, chosen);
    pthread_sigmask(on ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
}

void coir__host_interrupt(uint32_t thread)
{
    if (chosen)
        coir__sys(SYS_tgkill, getpid(), thread, chosen);
}
