/* api/process.c - children: waiting for them, and coir_system.
 * SPDX-License-Identifier: MIT
 *
 * A child that is known by its number is waited for by a descriptor of it (pidfd), which both
 * engines poll, as long as its end is all that is asked for. Any other wait is a system call on a
 * thread. */
#include "edge.h"

#include "io/io.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NR_PIDFD_OPEN = 434 };

static struct coir__system_call wait4_call(pid_t pid, int *status, int options)
{
    return (struct coir__system_call){ SYS_wait4, { pid, (long)(uintptr_t)status, options } };
}

static struct coir__system_call waitid_call(idtype_t type, id_t id, siginfo_t *info, int options)
{
    return (struct coir__system_call){ SYS_waitid,
                                       { type, (long)id, (long)(uintptr_t)info, options } };
}

/* Right here. */
static long now(const struct coir__system_call *c)
{
    return coir__sys(c->nr, c->args[0], c->args[1], c->args[2], c->args[3]);
}

/* 0; or -errno. */
static long wait_for_end(int pidfd)
{
    struct coir__op op = { .code = COIR__OP_POLL, .fd = pidfd, .flags = POLLIN, .counted = true };
    long res = coir__op_run(&op);
    return res < 0 ? res : 0;
}

static long wait_for_pid(pid_t pid)
{
    long fd = coir__sys(NR_PIDFD_OPEN, pid, 0);
    if (fd < 0)
        return fd;
    long err = wait_for_end((int)fd);
    coir__close((int)fd);
    return err;
}

/* Only the caller's cancel or deadline is a reason not to go on and wait in another way. */
static bool stops(long err)
{
    return err == -ECANCELED || err == -ETIMEDOUT;
}

static long wait4_for(pid_t pid, int *status, int options)
{
    struct coir__system_call at_once = wait4_call(pid, status, options | WNOHANG);
    struct coir__system_call waits = wait4_call(pid, status, options);
    long res = now(&at_once);
    if (res != 0 || options & WNOHANG)
        return res;
    if (pid > 0 && !(options & (WUNTRACED | WCONTINUED))) {
        long err = wait_for_pid(pid);
        if (stops(err))
            return err;
        res = now(&at_once);
        if (res != 0)
            return res;
    }
    return coir__io_call(-1, &waits, COIR__CALL_WAITS);
}

pid_t coir_waitpid(pid_t pid, int *status, int options)
{
    long err = coir__check();
    return (pid_t)coir__edge(err < 0 ? err : wait4_for(pid, status, options));
}

static long waitid_for(idtype_t type, id_t id, siginfo_t *info, int options)
{
    struct coir__system_call at_once = waitid_call(type, id, info, options | WNOHANG);
    struct coir__system_call waits = waitid_call(type, id, info, options);
    siginfo_t mine = { .si_pid = 0 };
    if (!info) /* else nobody knows whether there was one */
        at_once.args[2] = (long)(uintptr_t)&mine;
    siginfo_t *told = info ? info : &mine;
    long res = now(&at_once);
    if (res < 0 || told->si_pid != 0 || options & WNOHANG)
        return res;
    if ((type == P_PID || type == P_PIDFD) && !(options & (WSTOPPED | WCONTINUED))) {
        long err = type == P_PID ? wait_for_pid((pid_t)id) : wait_for_end((int)id);
        if (stops(err))
            return err;
        res = now(&at_once);
        if (res < 0 || told->si_pid != 0)
            return res;
    }
    return coir__io_call(-1, &waits, COIR__CALL_WAITS);
}

int coir_waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    long err = coir__check();
    return (int)coir__edge(err < 0 ? err : waitid_for(type, id, info, options));
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

/* The signals that the program did not ignore by itself have their defaults in the shell. A plain
 * thread's mask is passed on; a worker's is ours. Returns 0, or an errno. */
static int start_shell(pid_t *pid, const char *command)
{
    extern char **environ;
    char *argv[] = { "sh", "-c", (char *)(uintptr_t)command, NULL };
    posix_spawnattr_t attr;
    sigset_t mask, defaults;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    if (coir__fiber_self())
        sigemptyset(&mask);
    sigemptyset(&defaults);
    if (ignoring.on_int.sa_handler != SIG_IGN)
        sigaddset(&defaults, SIGINT);
    if (ignoring.on_quit.sa_handler != SIG_IGN)
        sigaddset(&defaults, SIGQUIT);
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
