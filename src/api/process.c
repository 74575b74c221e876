/* api/process.c - children: waiting for them, and coir_system.
 * SPDX-License-Identifier: MIT
 *
 * A child that is known by its number is waited for by a descriptor of it (pidfd), which both
 * engines poll, as long as its end is all that is asked for. Any other wait is a system call on a
 * thread. */
#include "edge.h"

#include "io/fdtab.h"
#include "io/io.h"
#include "signal.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NR_PIDFD_OPEN = 434 };

/* 0; or -errno. *generation tells which of the files with that number it was (fdtab.h). */
static long wait_for_end(int pidfd, uint32_t *generation)
{
    struct coir__op op = { .code = COIR__OP_POLL, .fd = pidfd, .flags = POLLIN, .counted = true };
    long res = coir__op_run(&op);
    *generation = op.generation;
    return res < 0 ? res : 0;
}

static long wait_for_pid(pid_t pid)
{
    long fd = coir__sys(NR_PIDFD_OPEN, pid, 0);
    uint32_t generation;
    if (fd < 0)
        return fd;
    coir__fd_renew((int)fd);
    long err = wait_for_end((int)fd, &generation);
    coir__close((int)fd);
    return err;
}

/* One wait, as its system call has it. */
struct wait {
    struct coir__system_call call;
    int options_at;    /* the argument that has the options */
    const pid_t *told; /* which child the call has told of, 0: none; NULL: its result says so */
    pid_t pid;         /* whose end is waited for, and nothing else: by its number, */
    int pidfd;         /* or by its descriptor; 0 and -1: not so */
};

/* Right here. True: that is all there is to do. */
static bool look(const struct wait *w, long *res)
{
    const long *a = w->call.args;
    long args[] = { a[0], a[1], a[2], a[3] };
    args[w->options_at] |= WNOHANG;
    *res = coir__sys(w->call.nr, args[0], args[1], args[2], args[3], NULL);
    return *res < 0 || (w->told ? *w->told : *res) || a[w->options_at] & WNOHANG;
}

/* The same, if the descriptor that stands for the child is still that one. */
static bool look_again(const struct wait *w, uint32_t generation, long *res)
{
    if (w->pidfd < 0)
        return look(w, res);
    *res = coir__fd_begin(w->pidfd, &generation);
    if (*res < 0)
        return true;
    bool over = look(w, res);
    coir__fd_end(w->pidfd);
    return over;
}

/* Only the caller's cancel or deadline is a reason not to go on and wait in another way. */
static bool stops(long err)
{
    return err == -ECANCELED || err == -ETIMEDOUT;
}

static long run(const struct wait *w)
{
    long res = coir__check();
    if (res < 0 || look(w, &res))
        return res;
    if (w->pid > 0 || w->pidfd >= 0) {
        uint32_t generation = 0;
        long err = w->pid > 0 ? wait_for_pid(w->pid) : wait_for_end(w->pidfd, &generation);
        if (stops(err) || (w->pidfd >= 0 && err == -EBADF))
            return err;
        if (look_again(w, generation, &res))
            return res;
    }
    return coir__io_call(w->pidfd, &w->call, COIR__CALL_WAITS);
}

static long wait4_for(pid_t pid, int *status, int options)
{
    const struct wait w = {
        .call = { SYS_wait4, { pid, (long)(uintptr_t)status, options } },
        .options_at = 2,
        .pid = options & (WUNTRACED | WCONTINUED) ? 0 : pid,
        .pidfd = -1,
    };
    return run(&w);
}

pid_t coir_waitpid(pid_t pid, int *status, int options)
{
    return (pid_t)coir__edge(wait4_for(pid, status, options));
}

int coir_waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    siginfo_t mine = { .si_pid = 0 }; /* else nobody knows whether there was one */
    siginfo_t *told = info ? info : &mine;
    bool ends = !(options & (WSTOPPED | WCONTINUED));
    const struct wait w = {
        .call = { SYS_waitid, { type, (long)id, (long)(uintptr_t)told, options } },
        .options_at = 3,
        .told = &told->si_pid,
        .pid = type == P_PID && ends ? (pid_t)id : 0,
        .pidfd = type == P_PIDFD && ends ? (int)id : -1,
    };
    return (int)coir__edge(run(&w));
}

/* While some coir_system is under way the program ignores SIGINT and SIGQUIT, as POSIX has it. */
static struct {
    pthread_mutex_t lock;
    unsigned users;
    struct sigaction on_int, on_quit; /* before the first */
} ignoring = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void begin_ignoring(void)
{
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    pthread_mutex_lock(&ignoring.lock);
    if (ignoring.users++ == 0) {
        sigaction(SIGINT, &ignore, &ignoring.on_int);
        sigaction(SIGQUIT, &ignore, &ignoring.on_quit);
    }
    pthread_mutex_unlock(&ignoring.lock);
}

static void end_ignoring(void)
{
    pthread_mutex_lock(&ignoring.lock);
    if (--ignoring.users == 0) {
        sigaction(SIGINT, &ignoring.on_int, NULL);
        sigaction(SIGQUIT, &ignoring.on_quit, NULL);
    }
    pthread_mutex_unlock(&ignoring.lock);
}

int coir__signal_action(int sig, const struct sigaction *action, struct sigaction *before)
{
    int err = 0;
    pthread_mutex_lock(&ignoring.lock);
    if (ignoring.users && (sig == SIGINT || sig == SIGQUIT)) {
        struct sigaction *later = sig == SIGINT ? &ignoring.on_int : &ignoring.on_quit;
        *before = *later;
        *later = *action;
    } else if (sigaction(sig, action, before) < 0) {
        err = -errno;
    }
    pthread_mutex_unlock(&ignoring.lock);
    return err;
}

/* Those of SIGINT and SIGQUIT that the program did not ignore by itself. */
static void find_defaults(sigset_t *set)
{
    sigemptyset(set);
    pthread_mutex_lock(&ignoring.lock);
    if (ignoring.on_int.sa_handler != SIG_IGN)
        sigaddset(set, SIGINT);
    if (ignoring.on_quit.sa_handler != SIG_IGN)
        sigaddset(set, SIGQUIT);
    pthread_mutex_unlock(&ignoring.lock);
}

/* A plain thread's mask is passed on; that of a worker, or of coir_blocking's threads, is ours.
 * Returns 0, or an errno. */
static int start_shell(pid_t *pid, const char *command)
{
    extern char **environ;
    char *argv[] = { "sh", "-c", (char *)(uintptr_t)command, NULL };
    posix_spawnattr_t attr;
    sigset_t mask, defaults;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    if (coir__fiber_self() || coir__thread_is_ours())
        sigemptyset(&mask);
    find_defaults(&defaults);
    int err = posix_spawnattr_init(&attr);
    if (err)
        return err;
    posix_spawnattr_setsigmask(&attr, &mask);
    posix_spawnattr_setsigdefault(&attr, &defaults);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    err = posix_spawn(pid, "/bin/sh", NULL, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    return err;
}

/* Its status, or -errno; then it is gone, too. */
static long await_shell(pid_t pid)
{
    int status = 0;
    long res = wait4_for(pid, &status, 0);
    if (stops(res)) {
        kill(pid, SIGKILL);
        while (coir__sys(SYS_wait4, pid, NULL, 0, NULL) == -EINTR)
            ;
    }
    return res < 0 ? res : status;
}

static long run_shell(const char *command)
{
    pid_t pid = 0;
    begin_ignoring();
    int err = start_shell(&pid, command);
    long res = err ? -err : await_shell(pid);
    end_ignoring();
    return res;
}

int coir_system(const char *command)
{
    if (!command)
        return access("/bin/sh", X_OK) == 0;
    long err = coir__check();
    return (int)coir__edge(err < 0 ? err : run_shell(command));
}
