/* io/sock_timeout.c - see sock_timeout.h.
 * SPDX-License-Identifier: MIT */
#include "sock_timeout.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>

static const int64_t CHECK_NS = 10 * 1000 * 1000, SLOW_NS = 1000 * 1000 * 1000;
static const int64_t STAMP_NS = 1 << 20; /* coir__stamp_of's unit */

/* Of a descriptor. FRESH: somebody began to wait for it since the last look. TIMED: who waits for
 * it has a timeout. SLOW: it is known to have had none. */
struct coir__listed_fd {
    int32_t next; /* in that list; negative: it is the last */
    uint32_t generation;
    enum { UNLISTED, FRESH, TIMED, SLOW } list : 8;
    unsigned none : 8; /* of that generation: the ways that had no timeout, 1 and 2 */
};

void coir__sock_timeouts_init(struct coir__sock_timeouts *t)
{
    t->fresh = t->timed = t->slow = -1;
    t->check_ns = t->slow_ns = COIR__NEVER;
}

void coir__sock_timeouts_fini(struct coir__sock_timeouts *t)
{
    coir__fdmap_free(&t->fds, sizeof(struct coir__listed_fd));
}

/* NULL: there is no memory for it. */
static struct coir__listed_fd *find(struct coir__sock_timeouts *t, int fd)
{
    return coir__fdmap_at(&t->fds, fd, sizeof(struct coir__listed_fd));
}

/* The option that op's wait is subject to; 0: none. */
static int option_of(const struct coir__op *op)
{
    switch ((enum coir__opcode)op->code) {
    case COIR__OP_READ:
    case COIR__OP_READV:
        return op->offset < 0 ? SO_RCVTIMEO : 0;
    case COIR__OP_WRITE:
    case COIR__OP_WRITEV:
        return op->offset < 0 ? SO_SNDTIMEO : 0;
    case COIR__OP_RECV:
    case COIR__OP_RECVMSG:
    case COIR__OP_ACCEPT:
        return SO_RCVTIMEO;
    case COIR__OP_SEND:
    case COIR__OP_SENDMSG:
    case COIR__OP_CONNECT:
        return SO_SNDTIMEO;
    case COIR__OP_POLL:
        return !op->for_another ? 0 : op->flags & POLLIN ? SO_RCVTIMEO : SO_SNDTIMEO;
    default:
        return 0;
    }
}

int64_t coir__sock_timeout_option(int fd, int option)
{
    struct timeval t = { 0, 0 };
    socklen_t len = sizeof t;
    if (coir__sys(SYS_getsockopt, fd, SOL_SOCKET, option, &t, &len) < 0)
        return 0;
    return (int64_t)t.tv_sec * 1000000000 + (int64_t)t.tv_usec * 1000;
}

int64_t coir__sock_timeout(const struct coir__op *op)
{
    int option = option_of(op);
    return option ? coir__sock_timeout_option(op->fd, option) : 0;
}

static unsigned way_of(int option)
{
    return option == SO_RCVTIMEO ? 1 : 2;
}

static void earlier(int64_t *at_ns, int64_t ns)
{
    if (ns < *at_ns)
        *at_ns = ns;
}

static void add(struct coir__listed_fd *l, int32_t *list, int fd, int kind)
{
    l->next = *list;
    l->list = kind;
    *list = fd;
}

/* One that is in another list stays there, and that list is looked at soon. */
static void note_unknown(struct coir__sock_timeouts *t, struct coir__listed_fd *l, int fd)
{
    if (l->list == FRESH)
        return;
    if (l->list == UNLISTED && t->fresh >= 0) {
        add(l, &t->fresh, fd, FRESH);
        return;
    }
    earlier(l->list == SLOW ? &t->slow_ns : &t->check_ns, coir__host_now() + CHECK_NS);
    if (l->list == UNLISTED)
        add(l, &t->fresh, fd, FRESH);
}

void coir__sock_timeout_note(struct coir__io *io, const struct coir__op *op)
{
    struct coir__sock_timeouts *t = &io->timeouts;
    int option = option_of(op);
    struct coir__listed_fd *l = option ? find(t, op->fd) : NULL;
    if (!l)
        return;
    if (l->generation != op->generation || !(l->none & way_of(option))) {
        note_unknown(t, l, op->fd);
    } else if (l->list == UNLISTED) {
        if (t->slow < 0)
            t->slow_ns = coir__host_now() + SLOW_NS;
        add(l, &t->slow, op->fd, SLOW);
    }
}

static void learn(struct coir__listed_fd *l, const struct coir__op *op)
{
    if (l->generation != op->generation)
        l->none = 0;
    l->generation = op->generation;
    l->none = op->timed ? l->none & ~way_of(option_of(op)) : l->none | way_of(option_of(op));
}

/* When op's time is over; COIR__NEVER: it has no timeout. Its time begins with the first look. */
static int64_t end_of(struct coir__listed_fd *l, struct coir__op *op, int64_t now_ns)
{
    uint32_t now = coir__stamp_of(now_ns);
    if (!option_of(op) || (op->looked_at && !op->timed))
        return COIR__NEVER;
    if (!op->looked_at)
        op->waiter.since = now;
    int64_t timeout_ns = coir__sock_timeout(op);
    op->looked_at = true;
    op->timed = timeout_ns != 0;
    learn(l, op);
    int64_t waited_ns = (int64_t)(now - op->waiter.since) * STAMP_NS;
    return op->timed ? now_ns - waited_ns + timeout_ns : COIR__NEVER;
}

/* Those who wait for fd: whose time is over is stopped. When the next one's is. */
static int64_t look(struct coir__worker *w, struct coir__listed_fd *l, int fd, int64_t now_ns)
{
    struct coir__op *const *head = coir__io_bucket(w->io, fd);
    int64_t next_ns = COIR__NEVER;
    for (struct coir__op *op = *head; op;) {
        bool counts = op->fd == fd && op->waiter.fiber && !op->group && !op->stop_error;
        int64_t end_ns = counts ? end_of(l, op, now_ns) : COIR__NEVER;
        if (end_ns <= now_ns && coir__op_stop(op, EAGAIN)) {
            op = *head; /* its neighbours may be gone, too */
            continue;
        }
        if (end_ns > now_ns && end_ns < next_ns)
            next_ns = end_ns;
        op = op->next;
    }
    return next_ns;
}

static void look_at_list(struct coir__worker *w, int32_t *list, int64_t now_ns)
{
    struct coir__sock_timeouts *t = &((struct coir__io *)w->io)->timeouts;
    int fd = *list;
    *list = -1;
    while (fd >= 0) {
        struct coir__listed_fd *l = find(t, fd);
        int next = l->next;
        int64_t next_ns = look(w, l, fd, now_ns);
        l->list = UNLISTED;
        if (next_ns != COIR__NEVER) {
            add(l, &t->timed, fd, TIMED);
            earlier(&t->check_ns, next_ns);
        }
        fd = next;
    }
}

int64_t coir__sock_timeout_check(struct coir__worker *w, int64_t until_ns)
{
    struct coir__sock_timeouts *t = &((struct coir__io *)w->io)->timeouts;
    int64_t next_ns = t->check_ns < t->slow_ns ? t->check_ns : t->slow_ns;
    if (next_ns == COIR__NEVER)
        return until_ns;
    int64_t now_ns = coir__host_now();
    if (now_ns >= t->slow_ns) {
        t->slow_ns = COIR__NEVER;
        look_at_list(w, &t->slow, now_ns);
    }
    if (now_ns >= t->check_ns) {
        int32_t timed = t->timed; /* to which the others add */
        t->check_ns = COIR__NEVER;
        t->timed = -1;
        look_at_list(w, &t->fresh, now_ns);
        look_at_list(w, &timed, now_ns);
    }
    next_ns = t->check_ns < t->slow_ns ? t->check_ns : t->slow_ns;
    return until_ns < next_ns ? until_ns : next_ns;
}
