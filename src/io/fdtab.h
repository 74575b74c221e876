/* io/fdtab.h - who uses which descriptor: so that close can end them before the number is free for
 * others.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_IO_FDTAB_H
#define COIR_IO_FDTAB_H

#include "sched/worker.h"

/* An op on fd begins. 0; -EBADF: it is being closed; -ENOMEM. Any thread. */
COIR_HIDDEN int coir__fd_begin(int fd);
/* It has ended. */
COIR_HIDDEN void coir__fd_end(int fd);
/* Is somebody closing it? */
COIR_HIDDEN bool coir__fd_closing(int fd);

/* A worker's engine has come up, or goes: close must reach it. */
COIR_HIDDEN void coir__fd_worker_add(struct coir__worker *w);
COIR_HIDDEN void coir__fd_worker_remove(struct coir__worker *w);

#endif
