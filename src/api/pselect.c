/* api/pselect.c - select(2), said by poll.
 * SPDX-License-Identifier: MIT */
#include "edge.h"

#include "io/io.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/select.h>

/* The bits of a set, of which a program may have more than FD_SETSIZE. */
enum { WORD_BITS = 8 * sizeof(fd_mask) };
typedef struct {
    fd_mask *words; /* NULL: no set */
    short wanted;   /* POLL* that are asked for, */
    short tells;    /* and those that set the bit */
} set;

static bool has(const set *s, int fd)
{
    return s->words && (unsigned long)s->words[fd / WORD_BITS] >> fd % WORD_BITS & 1;
}

static void put(const set *s, int fd, bool in)
{
    fd_mask bit = (fd_mask)(1UL << fd % WORD_BITS);
    if (s->words)
        s->words[fd / WORD_BITS] =
            in ? s->words[fd / WORD_BITS] | bit : s->words[fd / WORD_BITS] & ~bit;
}

enum { SETS = 3 };

/* In any of the sets, of the descriptors from fd on that share its word. */
static unsigned long any_of(const set *sets, int fd)
{
    unsigned long word = 0;
    for (int i = 0; i < SETS; i++)
        if (sets[i].words)
            word |= (unsigned long)sets[i].words[fd / WORD_BITS];
    return word;
}

/* fds NULL: only count them. */
static nfds_t make_polls(struct pollfd *fds, const set *sets, int n)
{
    nfds_t made = 0;
    for (int first = 0; first < n; first += WORD_BITS) {
        unsigned long word = any_of(sets, first);
        for (int fd = first; word && fd < n; fd++, word >>= 1) {
            if (!(word & 1))
                continue;
            short events = 0;
            for (int i = 0; i < SETS; i++)
                events |= has(&sets[i], fd) ? sets[i].wanted : 0;
            if (fds)
                fds[made] = (struct pollfd){ .fd = fd, .events = events };
            made++;
        }
    }
    return made;
}

/* There are no more descriptors than that; and the sets need not be longer. */
static int at_most(int n, const set *sets)
{
    struct rlimit limit;
    if (!sets[0].words && !sets[1].words && !sets[2].words)
        return 0;
    if (n > FD_SETSIZE && getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < (rlim_t)n)
        return (int)limit.rlim_max;
    return n;
}

/* How many bits are set; -EBADF. */
static long read_polls(const struct pollfd *fds, nfds_t n, const set *sets)
{
    long bits = 0;
    for (nfds_t i = 0; i < n; i++)
        if (fds[i].revents & POLLNVAL)
            return -EBADF;
    for (nfds_t i = 0; i < n; i++)
        for (int k = 0; k < SETS; k++) {
            bool was = has(&sets[k], fds[i].fd), is = was && fds[i].revents & sets[k].tells;
            if (was)
                put(&sets[k], fds[i].fd, is);
            bits += is;
        }
    return bits;
}

static int64_t in_ns(const struct timespec *t)
{
    const int64_t second = COIR_SEC(1);
    if (!t)
        return -1;
    if (t->tv_sec < 0 || t->tv_nsec < 0 || t->tv_nsec >= second)
        return -EINVAL;
    return t->tv_sec >= INT64_MAX / second - 1 ? -1 : t->tv_sec * second + t->tv_nsec;
}

int coir_pselect(int n, fd_set *reads, fd_set *writes, fd_set *excepts,
                 const struct timespec *timeout, const sigset_t *mask)
{
    const set sets[SETS] = {
        { reads ? reads->fds_bits : NULL, POLLIN, POLLIN | POLLHUP | POLLERR },
        { writes ? writes->fds_bits : NULL, POLLOUT, POLLOUT | POLLERR },
        { excepts ? excepts->fds_bits : NULL, POLLPRI, POLLPRI },
    };
    int64_t timeout_ns = in_ns(timeout);
    if (n < 0 || timeout_ns == -EINVAL || mask)
        return (int)coir__edge(-EINVAL);
    n = at_most(n, sets);
    struct pollfd *fds = malloc((make_polls(NULL, sets, n) + 1) * sizeof *fds);
    if (!fds)
        return (int)coir__edge(-ENOMEM);
    nfds_t made = make_polls(fds, sets, n);
    long res = coir__poll(fds, made, timeout_ns);
    if (res >= 0)
        res = read_polls(fds, made, sets);
    free(fds);
    return (int)coir__edge(res);
}
