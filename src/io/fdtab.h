/* io/fdtab.h - who uses which descriptor: so that close can end them before the number is free for
 * others.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_IO_FDTAB_H
#define COIR_IO_FDTAB_H

#include "sched/worker.h"

/* A file of this kind is known to be readable at an offset, and to be tried with RWF_NOWAIT first.
 * With O_DIRECT it is not: that flag does not keep the call from waiting for the disk. */
enum { COIR__FD_NOWAIT = 1 };

/* An op on fd begins. *generation tells which of the files that have this number it means: 0 the
 * present one, and then it is filled in. 0, or COIR__FD_NOWAIT; -EBADF: it is being closed, or was
 * meanwhile; -ENOMEM. Any thread. */
COIR_HIDDEN int coir__fd_begin(int fd, uint32_t *generation);
/* It has ended. */
COIR_HIDDEN void coir__fd_end(int fd);
/* Can a file of this kind be read, or written, at all? fd is counted. 0, or -errno. A ring waits
 * until it is ready before it finds out: for ever, perhaps (an epoll descriptor, a pidfd).
 * TERMINAL: it is one; ANYHOW: one whose reads do not wait, or not for ever (VMIN is 0). */
enum { COIR__FD_TERMINAL = 1, COIR__FD_TERMINAL_ANYHOW = 2 };
COIR_HIDDEN int coir__fd_can(int fd, bool write);
/* The same at an offset: -errno, such as -ESPIPE; 0, or COIR__FD_NOWAIT. A ring does not ask: it
 * ignores the offset of what has none. */
COIR_HIDDEN int coir__fd_can_at(int fd, bool write);
/* For a read that neither waits nor takes anything away, so that the file need not be counted: what
 * stands for it, as long as it is COIR__FD_NOWAIT and nobody closes it; else 0. When it is the same
 * afterwards, that is what was read. */
COIR_HIDDEN uint64_t coir__fd_peek(int fd);
/* This kind of file does not know RWF_NOWAIT. fd is counted. */
COIR_HIDDEN void coir__fd_not_nowait(int fd);
/* fd has just been made: what was known of its number was about another file, which was not closed
 * here. */
COIR_HIDDEN void coir__fd_renew(int fd);
/* Is somebody closing it? */
COIR_HIDDEN bool coir__fd_closing(int fd);
/* Which of the files that have this number is it now? Never 0. */
COIR_HIDDEN uint32_t coir__fd_generation(int fd);

/* A worker's engine has come up, or goes: close must reach it. */
COIR_HIDDEN void coir__fd_worker_add(struct coir__worker *w);
COIR_HIDDEN void coir__fd_worker_remove(struct coir__worker *w);

#endif
