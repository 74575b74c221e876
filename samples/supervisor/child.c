/* supervisor/child.c - one child, from its first start to its last end, by one fiber.
 * SPDX-License-Identifier: MIT
 *
 * A child leads a process group of its own, which gets the signals: so they reach what a shell
 * script has started, too. A child is reaped only after what is left of its group was killed; until
 * then its number cannot be somebody else's. */
#include "super.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

void child_kill(const struct child *child)
{
    if (child->pid > 0)
        kill(-child->pid, SIGKILL);
}

/* With out as its stdout and stderr, and signals as a shell leaves them. Returns 0 or an errno. */
static int start(struct child *child, int out)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, out, STDERR_FILENO);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                        POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    int err = posix_spawnp(&child->pid, child->words[0], &files, &attr, child->words, environ);
    if (err)
        child->pid = 0;
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    return err;
}

/* Until it has ended, or the caller is cancelled: -1 then. It remains to be reaped. */
static int wait_end(const struct child *child, siginfo_t *info)
{
    while (coir_waitid(P_PID, (id_t)child->pid, info, WEXITED | WNOWAIT) < 0)
        if (coir_sleep(COIR_MS(100)) <
            0) /* unless it is that, a descriptor or memory was missing */
            return -1;
    return 0;
}

/* We are to end: tell the child, and after the grace time insist. */
static void end(const struct child *child, siginfo_t *info)
{
    int ended = -1;
    kill(-child->pid, SIGTERM);
    COIR_SHIELD(super.grace_ns)
        ended = wait_end(child, info);
    if (ended == 0)
        return;
    say("%s: does not end on SIGTERM: killed", child->name);
    child_kill(child);
    COIR_SHIELD(COIR_NEVER)
        wait_end(child, info);
}

/* One life of the child, until it is reaped. Returns 0, or an errno: it did not start. */
static int live(struct child *child, siginfo_t *info)
{
    int pipe[2], drained = -1;
    if (pipe2(pipe, O_CLOEXEC) < 0)
        return errno;
    struct output output = { .name = child->name, .fd = pipe[0] };
    int err = start(child, pipe[1]);
    close(pipe[1]);
    coir_fiber *copier = err ? NULL : coir_spawn(output_copy, &output);
    if (!err)
        say("%s: started as %d", child->name, (int)child->pid);
    if (!err && wait_end(child, info) < 0)
        end(child, info);
    if (!err) {
        pid_t pid = child->pid;
        child_kill(child);
        child->pid = 0;
        waitpid(pid, NULL, 0); /* does not wait: it has ended */
    }
    if (copier) {
        COIR_SHIELD(COIR_MS(500)) /* longer only if somebody outside of the group has the pipe */
            drained = coir_join(copier, NULL);
        if (drained < 0) {
            coir_cancel(copier);
            COIR_SHIELD(COIR_NEVER)
                coir_join(copier, NULL);
        }
    }
    coir_close(pipe[0]);
    return err;
}

/* May it be started again, now? */
static bool may_restart(struct child *child)
{
    int64_t now_ns = coir_now();
    if (super.restarts_max == 0)
        return false;
    int64_t *oldest = &child->restarts[child->count % super.restarts_max];
    if (child->count >= super.restarts_max && now_ns - *oldest < super.window_ns)
        return false;
    *oldest = now_ns;
    child->count++;
    return true;
}

/* "ended with status 1", "was ended by signal 9 (Killed)" */
static const char *fate(const siginfo_t *info, char *text, size_t cap)
{
    if (info->si_code == CLD_EXITED)
        snprintf(text, cap, "ended with status %d", info->si_status);
    else
        snprintf(text, cap, "was ended by signal %d (%s)", info->si_status,
                 strsignal(info->si_status));
    return text;
}

static void give_up(struct child *child, const char *why, const char *verdict)
{
    child->given_up = true;
    say("%s: %s: %s", child->name, why, verdict);
}

int child_keep(void *arg)
{
    struct child *child = arg;
    int64_t pause_ns = super.pause_ns;
    char why[128];
    while (coir_check() == 0) {
        siginfo_t info = { 0 };
        int64_t start_ns = coir_now();
        int err = live(child, &info);
        if (err)
            snprintf(why, sizeof why, "cannot start %.64s: %s", child->words[0], strerror(err));
        else
            fate(&info, why, sizeof why);
        if (coir_check() < 0) { /* this end was ours */
            say("%s: %s", child->name, why);
            return 0;
        }
        if (err && err != EAGAIN && err != ENOMEM && err != EMFILE && err != ENFILE) {
            give_up(child, why, "given up");
            return 0;
        }
        if (!err && super.once && info.si_code == CLD_EXITED && info.si_status == 0) {
            say("%s: %s: done", child->name, why);
            return 0;
        }
        if (!may_restart(child)) {
            give_up(child, why, "too often: given up");
            return 0;
        }
        if (coir_now() - start_ns >= super.window_ns) /* it was well for long */
            pause_ns = super.pause_ns;
        say("%s: %s; again in %.1f s", child->name, why, (double)pause_ns / 1e9);
        coir_sleep(pause_ns);
        pause_ns = 2 * pause_ns < super.pause_max_ns ? 2 * pause_ns : super.pause_max_ns;
    }
    return 0;
}
