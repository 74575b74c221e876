/* api/pselect.c - select(2), said by poll.
 * SPDX-License-Identifier: MIT */
#include "edge.h"

#include "io/io.h"

#include <poll.h>
#include <stdlib.h>
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

static nfds_t make_polls(struct pollfd *fds, const set *sets, int n)
{
    nfds_t made = 0;
    for (int fd = 0; fd < n; fd++) {
        short events = 0;
        bool in_any = false;
        for (int i = 0; i < SETS; i++)
            if (has(&sets[i], fd)) {
                in_any = true;
                events |= sets[i].wanted;
            }
        if (in_any)
            fds[made++] = (struct pollfd){ .fd = fd, .events = events };
    }
    return made;
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
    struct pollfd *fds = malloc(((size_t)n + 1) * sizeof *fds);
    if (!fds)
        return (int)coir__edge(-ENOMEM);
    nfds_t made = make_polls(fds, sets, n);
    long res = coir__poll(fds, made, timeout_ns);
    if (res >= 0)
        res = read_polls(fds, made, sets);
    free(fds);
    return (int)coir__edge(res);
}
