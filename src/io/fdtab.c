/* io/fdtab.c - one atomic word per descriptor, and close.
 * SPDX-License-Identifier: MIT
 *
 * Word      ops in flight in the low half; CLOSING: coir_close waits for them; SHUT: it is inside
 *           close(2).
 * Close     sets CLOSING (a second closer gets EBADF, new ops too), has every worker end its ops on
 *           the number, waits for the count to reach 0, sets SHUT, calls close(2), clears the word.
 *           An op that begins while SHUT is set may already mean the number's next owner, so it
 *           waits until the word is clear.
 * Order     the count is raised before the SQE is made, and CLOSING is read by the same
 *           instruction: no op can meet a reused number.
 * READS, WRITES  the file is known to have such a call: coir__fd_can; TERMINAL: it is one;
 *           READS_AT: at an offset; NOWAIT: with RWF_NOWAIT first. It is forgotten with the file.
 * Generation  grows with each close, and when the number is known to be given anew after a close
 *           that was not ours. An op that has to be tried again after its count has gone back to 0
 *           finds out by it that its number means another file by now.
 * The table has two levels; a leaf, once mapped, stays. */
#include "fdtab.h"

#include "io.h"
#include "sched/memory.h"

#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>

enum { LEAF_WORDS = 512, LEAVES = 1 << 13, FDS_MAX = LEAF_WORDS * LEAVES };

static const uint64_t CLOSING = (uint64_t)1 << 32;
static const uint64_t SHUT = (uint64_t)1 << 33;
static const uint64_t COUNT = ((uint64_t)1 << 32) - 1;
static const uint64_t READS = (uint64_t)1 << 34;
static const uint64_t WRITES = (uint64_t)1 << 35;
static const uint64_t TERMINAL = (uint64_t)1 << 36;
static const uint64_t READS_AT = (uint64_t)1 << 37;
static const uint64_t NOWAIT = (uint64_t)1 << 38;
static const uint64_t KIND = (uint64_t)31 << 34; /* the above, from READS on */
static const uint64_t ONE_GENERATION = (uint64_t)1 << 39;

typedef _Atomic uint64_t word;

static _Atomic(word *) leaves[LEAVES];

/* Who waits in coir__close; each on his own stack. */
struct closer {
    struct closer *next;
    int fd;
    struct coir__waiter waiter;
};

static struct {
    _Atomic uint8_t lock;
    struct closer *closers;
} waiting;

/* All workers with an engine. */
static struct {
    _Atomic int32_t lock; /* kicking them takes system calls, so it is one that sleeps */
    struct coir__worker *list;
} workers;

/* fd's word; NULL when it has none yet. */
static word *find(int fd)
{
    unsigned n = (unsigned)fd;
    if (n >= FDS_MAX)
        return NULL;
    word *leaf = atomic_load_explicit(&leaves[n / LEAF_WORDS], memory_order_acquire);
    return leaf ? &leaf[n % LEAF_WORDS] : NULL;
}

static __attribute__((noinline)) int make(int fd, word **slot)
{
    if (fd < 0 || fd >= FDS_MAX)
        return -EBADF;
    word *none = NULL, *leaf = coir__map(LEAF_WORDS * sizeof(word));
    if (!leaf)
        return -ENOMEM;
    if (!atomic_compare_exchange_strong(&leaves[fd / LEAF_WORDS], &none, leaf)) {
        coir__unmap(leaf, LEAF_WORDS * sizeof(word));
        leaf = none;
    }
    *slot = &leaf[fd % LEAF_WORDS];
    return 0;
}

static inline int find_or_make(int fd, word **slot)
{
    *slot = find(fd);
    return __builtin_expect(*slot != NULL, 1) ? 0 : make(fd, slot);
}

/* Somebody may wait for the count of fd. */
static __attribute__((noinline)) void wake_closer(int fd)
{
    coir__spin_lock(&waiting.lock);
    struct closer *c = waiting.closers;
    while (c && !(c->fd == fd && coir__waiter_claim(&c->waiter, 0)))
        c = c->next;
    coir__spin_unlock(&waiting.lock);
    if (c)
        coir__waiter_release(&c->waiter);
}

/* The generation in a word, never 0. */
static uint32_t generation_in(uint64_t word)
{
    return (uint32_t)(word / ONE_GENERATION) | (uint32_t)1 << 31;
}

/* The number's previous owner is still inside close(2): for a few instructions, unless the kernel
 * has taken the CPU away, or has to wait itself (SO_LINGER). */
static void await_shut(word *w)
{
    enum { SPINS = 300, PAUSE_NS = 50 * 1000 };
    for (int i = 0; atomic_load_explicit(w, memory_order_acquire) & SHUT; i++)
        if (i < SPINS)
            coir__arch_pause();
        else
            coir__op_pause(coir__host_now() + PAUSE_NS);
}

/* Not the way of every op: the number is new, or is being closed, or was. counted: undo that
 * first. */
static __attribute__((noinline)) int begin_slowly(int fd, uint32_t *generation, bool counted)
{
    word *w = NULL;
    if (counted)
        coir__fd_end(fd);
    int err = find_or_make(fd, &w);
    if (err < 0)
        return err;
    for (;;) {
        uint64_t before = atomic_fetch_add_explicit(w, 1, memory_order_acq_rel);
        if (!(before & (CLOSING | SHUT))) {
            if (!*generation)
                *generation = generation_in(before);
            if (*generation == generation_in(before))
                return 0;
        }
        coir__fd_end(fd);
        if (before & CLOSING || !(before & SHUT)) /* being closed; another file by now */
            return -EBADF;
        await_shut(w);
    }
}

int coir__fd_begin(int fd, uint32_t *generation)
{
    word *w = find(fd);
    if (__builtin_expect(!w, 0))
        return begin_slowly(fd, generation, false);
    uint64_t before = atomic_fetch_add_explicit(w, 1, memory_order_acq_rel);
    uint32_t present = generation_in(before);
    if (__builtin_expect(before & (CLOSING | SHUT) || (*generation && *generation != present), 0))
        return begin_slowly(fd, generation, true);
    *generation = present;
    return before & NOWAIT ? COIR__FD_NOWAIT : 0;
}

uint64_t coir__fd_peek(int fd)
{
    word *w = find(fd);
    uint64_t now = w ? atomic_load_explicit(w, memory_order_acquire) : 0;
    return now & NOWAIT && !(now & (CLOSING | SHUT)) ? now & ~COUNT : 0;
}

void coir__fd_end(int fd)
{
    uint64_t before = atomic_fetch_sub_explicit(find(fd), 1, memory_order_acq_rel);
    if (__builtin_expect(before & CLOSING, 0) && (before & COUNT) == 1)
        wake_closer(fd);
}

/* 0: it is none. */
static int terminal(int fd, bool write)
{
    struct termios t; /* the kernel's */
    if (coir__sys(SYS_ioctl, fd, TCGETS, &t) < 0)
        return 0;
    return !write && !(t.c_lflag & ICANON) && t.c_cc[VMIN] == 0 ? COIR__FD_TERMINAL_ANYHOW
                                                                : COIR__FD_TERMINAL;
}

/* With no buffers at all the call does nothing, but says whether it could. The answer is kept until
 * the close; after a close that is not ours it may be about the number's previous owner. */
int coir__fd_can(int fd, bool write)
{
    word *w = find(fd);
    uint64_t bit = write ? WRITES : READS, known = atomic_load_explicit(w, memory_order_relaxed);
    if (__builtin_expect(known & bit, 1))
        return known & TERMINAL ? terminal(fd, write) : 0;
    long res = coir__sys(write ? SYS_writev : SYS_readv, fd, NULL, 0);
    if (res < 0)
        return (int)res;
    bool other =
        known & (READS | WRITES) && !(known & TERMINAL); /* it is known to be no terminal */
    int kind = other ? 0 : terminal(fd, write);
    atomic_fetch_or_explicit(w, bit | (kind ? TERMINAL : 0), memory_order_relaxed);
    return kind;
}

static __attribute__((noinline)) int find_out_at(int fd, word *w)
{
    long res = coir__sys(SYS_preadv, fd, NULL, 0, 0, 0);
    long flags = res < 0 ? res : coir__sys(SYS_fcntl, fd, F_GETFL);
    if (flags < 0)
        return (int)flags;
    uint64_t found = READS_AT | (flags & O_DIRECT ? 0 : NOWAIT);
    atomic_fetch_or_explicit(w, found, memory_order_relaxed);
    return found & NOWAIT ? COIR__FD_NOWAIT : 0;
}

/* A write is asked about each time: it is not to go into a pipe that has got the number of a file
 * behind our back. */
int coir__fd_can_at(int fd, bool write)
{
    word *w = find(fd);
    uint64_t known = atomic_load_explicit(w, memory_order_relaxed);
    if (write)
        return (int)coir__sys(SYS_pwritev, fd, NULL, 0, 0, 0);
    if (__builtin_expect(!(known & READS_AT), 0))
        return find_out_at(fd, w);
    return known & NOWAIT ? COIR__FD_NOWAIT : 0;
}

void coir__fd_not_nowait(int fd)
{
    atomic_fetch_and_explicit(find(fd), ~NOWAIT, memory_order_relaxed);
}

void coir__fd_renew(int fd)
{
    word *w = find(fd);
    if (!w)
        return;
    atomic_fetch_and_explicit(w, ~KIND, memory_order_relaxed);
    atomic_fetch_add_explicit(w, ONE_GENERATION, memory_order_acq_rel);
}

bool coir__fd_closing(int fd)
{
    word *w = find(fd);
    return w && atomic_load_explicit(w, memory_order_acquire) & CLOSING;
}

uint32_t coir__fd_generation(int fd)
{
    word *w = find(fd);
    return generation_in(w ? atomic_load_explicit(w, memory_order_acquire) : 0);
}

void coir__fd_worker_add(struct coir__worker *w)
{
    struct coir__io *io = w->io;
    coir__sleep_lock(&workers.lock);
    io->next = workers.list;
    workers.list = w;
    coir__sleep_unlock(&workers.lock);
}

void coir__fd_worker_remove(struct coir__worker *w)
{
    struct coir__io *io = w->io;
    coir__sleep_lock(&workers.lock);
    struct coir__worker **at = &workers.list;
    while (*at != w)
        at = &((struct coir__io *)(*at)->io)->next;
    *at = io->next;
    coir__sleep_unlock(&workers.lock);
}

/* Have every worker but me end its ops on closing descriptors. */
static void tell_workers(struct coir__worker *me)
{
    coir__sleep_lock(&workers.lock);
    for (struct coir__worker *w = workers.list; w; w = ((struct coir__io *)w->io)->next)
        if (w != me) {
            /* Pairs with the acquire in take_stock(): who sees this sees CLOSING, too. */
            atomic_store_explicit(&w->closing_seen, 1, memory_order_release);
            coir__worker_kick(w);
        }
    coir__sleep_unlock(&workers.lock);
}

static void unlock(void *arg)
{
    (void)arg;
    coir__spin_unlock(&waiting.lock);
}

/* End the ops on fd and wait until they are over. CLOSING is set. */
static void drain(int fd, word *w)
{
    struct coir__worker *me = coir__worker_self();
    if (me)
        coir__ops_stop_fd(me, fd);
    tell_workers(me);
    struct closer closer = { .fd = fd };
    coir__waiter_init(&closer.waiter);
    coir__spin_lock(&waiting.lock);
    if (atomic_load_explicit(w, memory_order_acquire) & COUNT) {
        closer.next = waiting.closers;
        waiting.closers = &closer;
        /* Not to be stopped: a close always closes. */
        struct coir__fiber *f = closer.waiter.fiber;
        if (f) {
            coir__count(&me->counters.parks, 1);
            coir__park(COIR__WHY_CLOSE, unlock, NULL);
        } else {
            unlock(NULL);
            coir__waiter_wait_as_thread(&closer.waiter, COIR__NEVER);
        }
        coir__spin_lock(&waiting.lock);
        struct closer **at = &waiting.closers;
        while (*at != &closer)
            at = &(*at)->next;
        *at = closer.next;
    }
    coir__spin_unlock(&waiting.lock);
}

/* An interrupted close(2) has freed the number all the same. */
static long close_now(int fd)
{
    long res = coir__sys(SYS_close, fd);
    return res == -EINTR ? 0 : res;
}

long coir__close(int fd)
{
    word *w = NULL;
    /* Also when there is no word yet: somebody's first op may be about to begin. */
    if (find_or_make(fd, &w) < 0)
        return close_now(fd);
    if (atomic_fetch_or_explicit(w, CLOSING, memory_order_acq_rel) & CLOSING)
        return -EBADF;
    await_shut(w);
    while (atomic_load_explicit(w, memory_order_acquire) & COUNT)
        drain(fd, w);
    atomic_fetch_and_explicit(w, ~KIND, memory_order_relaxed);
    atomic_fetch_add_explicit(w, ONE_GENERATION + SHUT - CLOSING, memory_order_acq_rel);
    long res = close_now(fd);
    atomic_fetch_and_explicit(w, ~SHUT, memory_order_acq_rel);
    return res;
}
