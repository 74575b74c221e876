/* api/poke.c - see poke.h.
 * SPDX-License-Identifier: MIT */
#include "ask.h"
#include "edge.h"
#include "poke.h"

#include "sight.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
    bool installed;
    uint32_t sent;
    _Atomic uint32_t arrived;
    struct sigaction before;
} poke;

static void pass_on(int sig, siginfo_t *info, void *context)
{
    if (poke.before.sa_flags & SA_SIGINFO)
        poke.before.sa_sigaction(sig, info, context);
    else if (poke.before.sa_handler != SIG_DFL && poke.before.sa_handler != SIG_IGN)
        poke.before.sa_handler(sig);
}

static void on_poke(int sig, siginfo_t *info, void *context)
{
    int err = coir__errno_get();
    if (info->si_code != SI_TKILL || info->si_pid != getpid()) {
        pass_on(sig, info, context);
    } else {
        struct coir__worker *w = coir__worker_self();
        if (w)
            coir__look_now(w, coir__sights_interrupted, context);
        atomic_fetch_add(&poke.arrived, 1);
    }
    coir__errno_set(err);
}

static bool is_ours(void)
{
    struct sigaction now;
    return sigaction(SIGURG, NULL, &now) == 0 && now.sa_flags & SA_SIGINFO &&
           now.sa_sigaction == on_poke;
}

void coir__poke(struct coir__worker *w)
{
    if (!poke.installed || !is_ours()) {
        struct sigaction ours = { .sa_sigaction = on_poke,
                                  .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART };
        sigemptyset(&ours.sa_mask);
        sigaction(SIGURG, &ours, &poke.before);
        poke.installed = true;
    }
    if (coir__sys(SYS_tgkill, getpid(), w->tid, SIGURG) == 0)
        poke.sent++;
}

/* A worker may have answered by itself before its signal came. */
static bool all_arrived(void)
{
    enum { LOOKS = 100, PAUSE_NS = 100 * 1000 };
    for (int i = 0; i < LOOKS && atomic_load(&poke.arrived) != poke.sent; i++)
        coir__ask_pause(PAUSE_NS);
    return atomic_load(&poke.arrived) == poke.sent;
}

void coir__poke_over(void)
{
    if (!poke.installed || !all_arrived())
        return; /* the program's own handler would get the late ones */
    if (is_ours())
        sigaction(SIGURG, &poke.before, NULL);
    poke.installed = false;
}
