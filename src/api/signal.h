/* api/signal.h - watched signals, for select.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_API_SIGNAL_H
#define COIR_API_SIGNAL_H

#include "sync/select.h"

#include <signal.h>

/* A descriptor that can be read when one of the set has come, until coir__signal_fd_put. -EINVAL:
 * the set is empty, or one of it is not watched; -EMFILE and the like. */
COIR_HIDDEN int coir__signal_fd(const sigset_t *set);
COIR_HIDDEN void coir__signal_fd_put(int fd);

/* sigaction(2); of a signal that a coir_system has ignored, what it comes back to. 0, or -errno. */
COIR_HIDDEN int coir__signal_action(int sig, const struct sigaction *action,
                                    struct sigaction *before);

/* Which signal interrupts the library's threads; 0: none. */
COIR_HIDDEN int coir__signal_of_interrupts(void);

/* Of cases whose fd is such a descriptor. */
COIR_HIDDEN extern const struct coir__select_kind coir__select_signal;

#endif
