/* api/dial.c - the first of several addresses to answer (RFC 8305, "Happy Eyeballs").
 * SPDX-License-Identifier: MIT
 *
 * The families take turns, the first address's own first. Each attempt has a quarter of a second to
 * itself; then the next one begins beside it, or at once when none is left that could succeed. The
 * first to be connected wins, and the others are closed. */
#include "dial.h"

#include "edge.h"

#include "io/fdtab.h"
#include "io/io.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

static const int64_t HEAD_START_NS = COIR_MS(250);
enum { ATTEMPTS_MAX = 16 }; /* at once; the oldest is given up for one more */

/* The addresses that are left, of the first one's family and of the others. */
struct turns {
    const struct addrinfo *same, *other;
    int family;
    bool other_next;
};

struct attempts {
    struct pollfd fds[ATTEMPTS_MAX];
    unsigned n;
    int error; /* the most telling so far: -errno */
};

int coir__tcp_socket(const struct addrinfo *a, int flags)
{
    long fd = coir__sys(SYS_socket, a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd >= 0)
        coir__fd_renew((int)fd);
    return (int)fd;
}

static const struct addrinfo *from(const struct addrinfo *a, int family, bool same)
{
    while (a && (a->ai_family == family) != same)
        a = a->ai_next;
    return a;
}

static struct turns turns_of(const struct addrinfo *list)
{
    int family = list->ai_family;
    return (struct turns){ .same = list, .other = from(list, family, false), .family = family };
}

/* NULL: that was all. */
static const struct addrinfo *take(struct turns *t)
{
    bool other = t->other && (t->other_next || !t->same);
    const struct addrinfo *a = other ? t->other : t->same;
    t->other_next = !other;
    if (other)
        t->other = from(a->ai_next, t->family, false);
    else if (a)
        t->same = from(a->ai_next, t->family, true);
    return a;
}

static int no_delay(int fd)
{
    const int on = 1;
    coir__sys(SYS_setsockopt, fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* That this machine has no way to an address says less than what another one answers. */
static void note(struct attempts *at, int err)
{
    bool says_little =
        at->error == -ENETUNREACH || at->error == -EADDRNOTAVAIL || at->error == -EAFNOSUPPORT;
    if (at->error == 0 || says_little)
        at->error = err;
}

static void give_up(struct attempts *at, unsigned i)
{
    int fd = at->fds[i].fd;
    for (at->n--; i < at->n; i++)
        at->fds[i] = at->fds[i + 1];
    coir__close(fd);
}

/* Begin to connect; one that is over at once has failed, or poll says so. */
static void begin(struct attempts *at, const struct addrinfo *a)
{
    int fd = coir__tcp_socket(a, SOCK_NONBLOCK);
    if (fd < 0) {
        note(at, fd);
        return;
    }
    long err = coir__sys(SYS_connect, fd, a->ai_addr, a->ai_addrlen);
    if (err < 0 && err != -EINPROGRESS) {
        note(at, (int)err);
        coir__close(fd);
        return;
    }
    if (at->n == ATTEMPTS_MAX)
        give_up(at, 0);
    at->fds[at->n++] = (struct pollfd){ .fd = fd, .events = POLLOUT };
}

/* The winner, made a blocking socket as any other; -1: nobody yet. Those that have failed go. */
static int look(struct attempts *at)
{
    for (unsigned i = 0; i < at->n;) {
        int fd = at->fds[i].fd, err = 0;
        socklen_t len = sizeof err;
        if (!at->fds[i].revents) {
            i++;
            continue;
        }
        coir__sys(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, &err, &len);
        if (err == 0) {
            coir__sys(SYS_fcntl, fd, F_SETFL, 0);
            at->fds[i] = at->fds[--at->n];
            return fd;
        }
        note(at, -err);
        give_up(at, i);
    }
    return -1;
}

/* Attempts that go on beside each other. */
static int race(const struct addrinfo *list)
{
    struct turns turns = turns_of(list);
    struct attempts at = { .n = 0 };
    int64_t next_ns = 0;
    int fd = -1;
    long err;
    while (fd < 0 && (err = coir__op_check()) == 0) {
        int64_t now_ns = coir__host_now();
        bool left = turns.same || turns.other;
        unsigned before = at.n;
        if (left && (at.n == 0 || now_ns >= next_ns)) {
            begin(&at, take(&turns));
            next_ns = now_ns + HEAD_START_NS;
            continue;
        }
        err = at.n ? coir__poll(at.fds, at.n, left ? next_ns - now_ns : -1) : at.error;
        if (err < 0)
            break;
        fd = look(&at);
        if (at.n < before)
            next_ns = now_ns;
    }
    while (at.n)
        give_up(&at, 0);
    return fd >= 0 ? fd : (int)err;
}

static int connect_to(const struct addrinfo *a)
{
    int fd = coir__tcp_socket(a, 0);
    if (fd < 0)
        return fd;
    struct coir__op op;
    coir__op_rw(&op, COIR__OP_CONNECT, fd, a->ai_addr, a->ai_addrlen, 0);
    long err = coir__op_run(&op);
    if (err == 0)
        return fd;
    coir__close(fd);
    return (int)err;
}

int coir__dial(const struct addrinfo *list)
{
    int fd = list->ai_next ? race(list) : connect_to(list);
    return fd < 0 ? fd : no_delay(fd);
}
