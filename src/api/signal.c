/* api/signal.c - signals as something to wait for: coir_signal_watch, coir_sigwait, and select's
 * case.
 * SPDX-License-Identifier: MIT
 *
 * Each watched signal has an eventfd that counts: its handler writes to it, whichever thread the
 * kernel has chosen, and who waits polls it, and reads one from it without waiting. So the kernel
 * keeps what has come and nobody has taken, and no thread is needed. A set of several is polled by
 * an epoll of theirs. Those that were watched together have one for good, so that who waits to be
 * told to end needs no descriptor when none is left; others, for the length of the wait. */
#include "signal.h"

#include "edge.h"

#include "io/fdtab.h"
#include "io/io.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { SIGNALS = 65, SETS_MAX = 16 };

static struct {
    pthread_mutex_t lock;
    _Atomic int slot[SIGNALS]; /* a signal's descriptor, plus 1; 0: it is not watched */
    _Atomic pid_t pid;         /* of the process that watches */
    struct {
        sigset_t set;
        int epoll;
    } sets[SETS_MAX];     /* that were watched together, */
    _Atomic int sets_len; /* which grows when the new one is complete */
} watched = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Negative: it is not watched. */
static int fd_of(int sig)
{
    return atomic_load_explicit(&watched.slot[sig], memory_order_acquire) - 1;
}

static void set_fd(int sig, int fd)
{
    atomic_store_explicit(&watched.slot[sig], fd + 1, memory_order_release);
}

/* A child that was forked and has not called exec shares the eventfds, and is not meant. */
static void on_signal(int sig)
{
    int fd = fd_of(sig);
    uint64_t one = 1;
    if (fd >= 0 && getpid() == atomic_load_explicit(&watched.pid, memory_order_relaxed))
        coir__sys(SYS_write, fd, &one, sizeof one); /* which leaves errno alone */
}

static bool may_be_watched(int sig)
{
    return sig != SIGKILL && sig != SIGSTOP && sig != SIGSEGV && sig != SIGBUS && sig != SIGFPE &&
           sig != SIGILL && sig != coir__signal_of_interrupts();
}

/* Of those in the set: how many, and the last; -EINVAL: none, or one that is not watched. */
static int count(const sigset_t *set, int *last)
{
    int n = 0;
    for (int sig = 1; sig < SIGNALS; sig++) {
        if (sigismember(set, sig) != 1)
            continue;
        if (fd_of(sig) < 0)
            return -EINVAL;
        *last = sig;
        n++;
    }
    return n ? n : -EINVAL;
}

/* An epoll of all of them; or -errno. */
static int make_epoll(const sigset_t *set)
{
    struct epoll_event event = { .events = EPOLLIN };
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        return -errno;
    coir__fd_renew(epoll);
    for (int sig = 1; sig < SIGNALS; sig++)
        if (sigismember(set, sig) == 1 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd_of(sig), &event) < 0) {
            int err = errno;
            close(epoll);
            return -err;
        }
    return epoll;
}

static bool same_sets(const sigset_t *a, const sigset_t *b)
{
    for (int sig = 1; sig < SIGNALS; sig++)
        if (sigismember(a, sig) != sigismember(b, sig))
            return false;
    return true;
}

/* The epoll of those that were watched together; -1: these were not. */
static int find_epoll(const sigset_t *set)
{
    int n = atomic_load_explicit(&watched.sets_len, memory_order_acquire);
    for (int i = 0; i < n; i++)
        if (same_sets(&watched.sets[i].set, set))
            return watched.sets[i].epoll;
    return -1;
}

/* Several that are watched. 0, or -errno. */
static int keep_epoll(const sigset_t *set)
{
    int n = atomic_load_explicit(&watched.sets_len, memory_order_relaxed);
    if (n == SETS_MAX || find_epoll(set) >= 0)
        return 0;
    int epoll = make_epoll(set);
    if (epoll < 0)
        return epoll;
    watched.sets[n].set = *set;
    watched.sets[n].epoll = epoll;
    atomic_store_explicit(&watched.sets_len, n + 1, memory_order_release);
    return 0;
}

/* The handler, also where it is lost. 0, or -errno; *before: what there was. */
static int install(int sig, struct sigaction *before)
{
    struct sigaction ours = { .sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK };
    sigemptyset(&ours.sa_mask);
    return coir__signal_action(sig, &ours, before);
}

/* The descriptors that are needed to watch the set. *made: whose are new. 0, or -errno. */
static int make_descriptors(const sigset_t *set, sigset_t *made)
{
    int err = 0, last = 0;
    for (int sig = 1; err == 0 && sig < SIGNALS; sig++) {
        if (sigismember(set, sig) != 1 || fd_of(sig) >= 0)
            continue;
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
        err = fd < 0 ? -errno : 0;
        if (err == 0) {
            coir__fd_renew(fd);
            set_fd(sig, fd);
            sigaddset(made, sig);
        }
    }
    return err == 0 && count(set, &last) > 1 ? keep_epoll(set) : err;
}

static void close_descriptors(const sigset_t *made, int sets_before)
{
    for (int sig = 1; sig < SIGNALS; sig++)
        if (sigismember(made, sig) == 1) {
            close(fd_of(sig));
            set_fd(sig, -1);
        }
    if (atomic_load_explicit(&watched.sets_len, memory_order_relaxed) > sets_before) {
        close(watched.sets[sets_before].epoll);
        atomic_store_explicit(&watched.sets_len, sets_before, memory_order_relaxed);
    }
}

/* All of the set, or none. First what may fail for want of something. 0, or -errno. */
static int watch_all(const sigset_t *set)
{
    struct sigaction before[SIGNALS], ours;
    sigset_t made;
    int sets_before = atomic_load_explicit(&watched.sets_len, memory_order_relaxed), last = 0;
    sigemptyset(&made);
    int err = make_descriptors(set, &made);
    for (int sig = 1; err == 0 && sig < SIGNALS; sig++)
        if (sigismember(set, sig) == 1 && (err = install(sig, &before[sig])) == 0)
            last = sig;
    if (err == 0)
        return 0;
    for (int sig = 1; sig <= last; sig++)
        if (sigismember(set, sig) == 1)
            coir__signal_action(sig, &before[sig], &ours);
    close_descriptors(&made, sets_before);
    return err;
}

/* A child that was forked begins anew. The descriptors are left alone: their numbers may be those
 * of its own files by now. */
static void begin(void)
{
    pid_t pid = getpid();
    if (atomic_load_explicit(&watched.pid, memory_order_relaxed) == pid)
        return;
    for (int sig = 1; sig < SIGNALS; sig++)
        set_fd(sig, -1);
    atomic_store_explicit(&watched.sets_len, 0, memory_order_relaxed);
    atomic_store_explicit(&watched.pid, pid, memory_order_relaxed);
}

int coir_signal_watch(const sigset_t *set)
{
    int err = set ? 0 : -EINVAL;
    for (int sig = 1; err == 0 && sig < SIGNALS; sig++)
        if (sigismember(set, sig) == 1 && !may_be_watched(sig))
            err = -EINVAL;
    if (err < 0)
        return (int)coir__edge(err);
    pthread_mutex_lock(&watched.lock);
    begin();
    err = watch_all(set);
    pthread_mutex_unlock(&watched.lock);
    if (err == 0)
        pthread_sigmask(SIG_UNBLOCK, set, NULL); /* so that one thread takes them */
    return (int)coir__edge(err);
}

/* One of the set that has come, and is taken with that; 0: none. */
static int take(const sigset_t *set)
{
    uint64_t one;
    for (int sig = 1; sig < SIGNALS; sig++)
        if (sigismember(set, sig) == 1 && fd_of(sig) >= 0 &&
            coir__sys(SYS_read, fd_of(sig), &one, sizeof one) == sizeof one)
            return sig;
    return 0;
}

int coir__signal_fd(const sigset_t *set)
{
    int last = 0, n = set ? count(set, &last) : -EINVAL;
    if (n <= 1)
        return n < 0 ? n : fd_of(last);
    int kept = find_epoll(set);
    return kept >= 0 ? kept : make_epoll(set);
}

void coir__signal_fd_put(int fd)
{
    for (int sig = 1; sig < SIGNALS; sig++)
        if (fd_of(sig) == fd)
            return;
    for (int i = 0; i < atomic_load_explicit(&watched.sets_len, memory_order_acquire); i++)
        if (watched.sets[i].epoll == fd)
            return;
    coir__close(fd);
}

static int signal_look(struct coir__case *c)
{
    int sig = take(c->src);
    if (!sig)
        return 0;
    *(int *)c->dst = sig;
    c->result = c->error = 0;
    return 1;
}

const struct coir__select_kind coir__select_signal = { signal_look, NULL, NULL };

/* The signal, or -errno. */
static long wait_for(const sigset_t *set)
{
    int fd = coir__signal_fd(set), sig;
    long res = fd < 0 ? fd : 0;
    while (res >= 0 && !(sig = take(set))) {
        struct coir__op op = { .code = COIR__OP_POLL, .fd = fd, .flags = POLLIN, .counted = true };
        res = coir__op_run(&op);
    }
    if (fd >= 0)
        coir__signal_fd_put(fd);
    return res < 0 ? res : sig;
}

int coir_sigwait(const sigset_t *set, int *sig)
{
    int before = coir__errno_get();
    long res = sig ? coir__check() : -EINVAL;
    if (res == 0)
        res = coir__edge(wait_for(set));
    else
        res = coir__edge(res);
    int err = res < 0 ? coir__errno_get() : 0;
    coir__errno_set(before);
    if (err == 0)
        *sig = (int)res;
    return err;
}
