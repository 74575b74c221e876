/* coir/process.h - waiting for children, and for signals.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_PROCESS_H
#define COIR_PROCESS_H

#include <coir/base.h>

#include <sys/wait.h>

COIR_BEGIN_DECLS

/* waitpid(2) and waitid(2); both park, unless options have WNOHANG. A wait for the end of one child
 * (its number, or P_PIDFD) takes a descriptor; any other a thread, of at most 64. The stops of a
 * child that is traced (ptrace(2)) are told only with WUNTRACED. The program's own handler of
 * SIGCHLD is not touched.
 * Returns  as those; -1 with their errno, ECANCELED or ETIMEDOUT (the child goes on, and can be
 *          waited for again), EMFILE, ENOMEM. Never EINTR. */
COIR_API pid_t coir_waitpid(pid_t pid, int *status, int options);
COIR_API int coir_waitid(idtype_t type, id_t id, siginfo_t *info, int options);

/* system(3): have /bin/sh run command, and wait until it has ended. Meanwhile the program ignores
 * SIGINT and SIGQUIT; SIGCHLD is not blocked, and a fiber's shell has no signal blocked.
 * Cancelled, or at its deadline, the shell is killed (what it has started is not).
 * Returns  its status, as waitpid tells it; with NULL, whether there is a shell. -1 with an errno
 *          when it could not be started or waited for, ECANCELED, ETIMEDOUT. Parks. */
COIR_API int coir_system(const char *command);

/* From now on the signals of set go to who waits for them, and not to the handlers that there
 * were: the program need not block them, and they are unblocked on the calling thread. What comes
 * while nobody waits is kept, and each is told once. SIGKILL, SIGSTOP and those of a program's
 * own faults (SIGSEGV, SIGBUS, SIGFPE, SIGILL) cannot be watched. Each takes a descriptor, for
 * good, and several that are watched together one more. A child that is forked does not tell this
 * process of its own signals.
 * Returns  0; -1 with EINVAL (also for the real-time signal by which the library interrupts its
 *          threads: SIGRTMAX mostly), EMFILE; then nothing has changed. Any thread; never parks. */
COIR_API int coir_signal_watch(const sigset_t *set);

/* sigwait(3), of signals that are watched: wait until one has come, take it, and store it in *sig.
 * Returns  0; or an error: EINVAL (set is empty, or one of it is not watched), ECANCELED,
 *          ETIMEDOUT, EMFILE (several that were not watched together take a descriptor), ENOMEM.
 *          errno stays. Parks. */
COIR_API int coir_sigwait(const sigset_t *set, int *sig);

COIR_END_DECLS

#endif
