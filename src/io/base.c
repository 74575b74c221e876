/* io/base.c - what all engines have in common: a worker's ops in flight, by descriptor, and no
 * SIGPIPE.
 * SPDX-License-Identifier: MIT */
#include "call.h"
#include "sock_timeout.h"

#include "sched/memory.h"

#include <linux/time_types.h>
#include <signal.h>

enum { PER_BUCKET = 2, GROWTH = 4, BUCKETS_MAX = 1 << 20 };

static const uint64_t SIGPIPE_BIT = (uint64_t)1 << (SIGPIPE - 1);

/* A write that the kernel does while we submit it, or do it, raises SIGPIPE on this thread, and
 * only for send(2) there is a flag against it. True: it was not blocked before. */
static bool block_sigpipe(void)
{
    uint64_t before = 0;
    coir__sys(SYS_rt_sigprocmask, SIG_BLOCK, &SIGPIPE_BIT, &before, sizeof before);
    return !(before & SIGPIPE_BIT);
}

/* Those that were raised meanwhile are forgotten. */
static void unblock_sigpipe(void)
{
    struct __kernel_timespec none = { 0 };
    while (coir__sys(SYS_rt_sigtimedwait, &SIGPIPE_BIT, NULL, &none, sizeof SIGPIPE_BIT) > 0)
        ;
    coir__sys(SYS_rt_sigprocmask, SIG_UNBLOCK, &SIGPIPE_BIT, NULL, sizeof SIGPIPE_BIT);
}

int coir__io_init(struct coir__io *io)
{
    enum { CLOEXEC = 02000000 }; /* EFD_CLOEXEC; a ring waits for a read of it, so it blocks */
    long fd = coir__sys(SYS_eventfd2, 0, CLOEXEC);
    if (fd < 0)
        return (int)fd;
    io->event_fd = (int)fd;
    io->by_fd = io->few;
    io->buckets = COIR__OP_BUCKETS;
    io->sigpipe_blocked = block_sigpipe();
    coir__calls_begin();
    coir__sock_timeouts_init(&io->timeouts);
    return 0;
}

int64_t coir__io_before_wait(struct coir__worker *w, int64_t until_ns)
{
    ((struct coir__io *)w->io)->at_once = 0;
    until_ns = coir__call_stop_again(w, until_ns);
    return coir__sock_timeout_check(w, until_ns);
}

void coir__io_kick(struct coir__worker *w)
{
    uint64_t one = 1;
    coir__sys(SYS_write, ((struct coir__io *)w->io)->event_fd, &one, sizeof one);
}

static void free_table(struct coir__io *io)
{
    if (io->by_fd != io->few)
        coir__unmap(io->by_fd, io->buckets * sizeof *io->by_fd);
}

void coir__io_fini(struct coir__io *io)
{
    coir__calls_end(io);
    coir__sock_timeouts_fini(&io->timeouts);
    if (io->sigpipe_blocked)
        unblock_sigpipe();
    coir__sys(SYS_close, io->event_fd);
    free_table(io);
}

static void push(struct coir__io *io, struct coir__op *op)
{
    struct coir__op **head = coir__io_bucket(io, op->fd), *oldest = *head;
    op->next = NULL;
    op->prev = oldest ? oldest->prev : op;
    if (oldest) {
        oldest->prev->next = op;
        oldest->prev = op;
    } else {
        *head = op;
    }
}

/* Without memory it stays as it is, and gets slower. */
static void grow(struct coir__io *io)
{
    struct coir__io larger = { .buckets = io->buckets * GROWTH };
    larger.by_fd = coir__map(larger.buckets * sizeof *larger.by_fd);
    if (!larger.by_fd)
        return;
    for (uint32_t i = 0; i < io->buckets; i++)
        for (struct coir__op *op = io->by_fd[i], *next; op; op = next) {
            next = op->next;
            push(&larger, op);
        }
    free_table(io);
    io->by_fd = larger.by_fd;
    io->buckets = larger.buckets;
}

void coir__io_add(struct coir__io *io, struct coir__op *op)
{
    if (io->in_flight++ > (uint64_t)PER_BUCKET * io->buckets && io->buckets < BUCKETS_MAX)
        grow(io);
    push(io, op);
}

void coir__io_remove(struct coir__io *io, struct coir__op *op)
{
    struct coir__op **head = coir__io_bucket(io, op->fd);
    io->in_flight--;
    if (op->next)
        op->next->prev = op->prev;
    else
        (*head)->prev = op->prev; /* it is the newest; of nobody else, when it is alone */
    if (op == *head)
        *head = op->next;
    else
        op->prev->next = op->next;
}
