/* io/ready.c - see ready.h.
 * SPDX-License-Identifier: MIT
 *
 * What is known of a descriptor belongs to a generation of its number (fdtab.c). Nobody keeps
 * account of what the kernel has: MOD says whether it is there.
 *
 * That a short read has taken all there was is true of TCP, unless the other end has said more than
 * data: its end, an error, something urgent. After such an event it is not believed any more. */
#include "ready.h"

#include "fdtab.h"
#include "nowait.h"
#include "sched/memory.h"

#include <errno.h>
#include <linux/time_types.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    EVENTS = 128, /* taken from the kernel at once, */
    ROUNDS = 4,   /* and so often in a tick */
    UNASKED_MAX = 4,
    CHECK_NS = 50 * 1000 * 1000 /* from one check to the next */
};

/* flags */
enum {
    IS_SOCKET = 1,
    IS_OTHER = 2, /* neither: not asked yet */
    IS_TCP = 4,
    EDGES = 8,  /* in epoll, with EPOLLET */
    EMPTY = 16, /* EDGES: nothing to read since the last event; */
    FULL = 32,  /* no room to write; */
    ODD = 64,   /* and it is no plain stream of data any more */
    LISTED = 128
};

struct coir__fd_state {
    uint32_t generation;
    uint8_t flags;
    uint8_t unasked; /* EDGES: events since an op was here */
    int32_t next;    /* LISTED: the next descriptor to be checked, or negative */
};

static long control(struct coir__ready *r, int command, int fd, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.u64 = (uint32_t)fd };
    return coir__sys(SYS_epoll_ctl, r->fd, command, fd, &event);
}

int coir__ready_open(struct coir__ready *r)
{
    long fd = coir__sys(SYS_epoll_create1, EPOLL_CLOEXEC);
    if (fd < 0)
        return (int)fd;
    r->fd = (int)fd;
    r->listed = -1;
    r->check_ns = COIR__NEVER;
    return 0;
}

void coir__ready_fini(struct coir__ready *r)
{
    coir__fdmap_free(&r->states, sizeof(struct coir__fd_state));
    coir__sys(SYS_close, r->fd);
}

/* NULL: it has none yet, and there is no memory for it. */
static struct coir__fd_state *state_of(struct coir__ready *r, int fd)
{
    return coir__fdmap_at(&r->states, fd, sizeof(struct coir__fd_state));
}

/* Nothing is known of the file that the number means now. */
static void forget(struct coir__fd_state *s, uint32_t generation)
{
    s->generation = generation;
    s->flags &= LISTED;
    s->unasked = 0;
}

/* The same, of the file that op means, which is the number's present one. */
static struct coir__fd_state *state_for(struct coir__ready *r, const struct coir__op *op)
{
    struct coir__fd_state *s = state_of(r, op->fd);
    if (s && s->generation != op->generation)
        forget(s, op->generation);
    return s;
}

/* The program has closed op's file by itself, and the number is another's: not to be tried. */
static bool is_old(const struct coir__op *op)
{
    return op->generation != coir__fd_generation(op->fd);
}

static void find_kind(struct coir__fd_state *s, int fd)
{
    int protocol = 0;
    socklen_t len = sizeof protocol;
    long err = coir__sys(SYS_getsockopt, fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len);
    s->flags |= err < 0 ? IS_OTHER : IS_SOCKET;
    if (err == 0 && protocol == IPPROTO_TCP)
        s->flags |= IS_TCP;
}

/* Known, or asked for. */
static bool is_socket(struct coir__ready *r, const struct coir__op *op)
{
    struct coir__fd_state *s = state_for(r, op);
    if (s && !(s->flags & (IS_SOCKET | IS_OTHER)))
        find_kind(s, op->fd);
    return s && s->flags & IS_SOCKET;
}

static bool reads(const struct coir__op *op)
{
    return op->code == COIR__OP_READ || op->code == COIR__OP_READV || op->code == COIR__OP_RECV ||
           op->code == COIR__OP_RECVMSG;
}

static bool writes(const struct coir__op *op)
{
    return op->code == COIR__OP_WRITE || op->code == COIR__OP_WRITEV || op->code == COIR__OP_SEND ||
           op->code == COIR__OP_SENDMSG;
}

uint32_t coir__ready_events(const struct coir__op *op)
{
    if (op->code == COIR__OP_POLL)
        return op->flags | EPOLLERR | EPOLLHUP;
    return writes(op) ? EPOLLOUT : EPOLLIN;
}

/* A plain read got less than it asked for. */
static bool is_short(const struct coir__op *op, long res)
{
    return res > 0 && (uint64_t)res < op->len &&
           (op->code == COIR__OP_READ || (op->code == COIR__OP_RECV && op->flags == 0));
}

/* Ops that would find nothing, or no room, when there is none. What else there is may not wait at
 * all: at an offset, with no bytes to move, or for what is told apart from the data. A vector's
 * bytes are the kernel's to count. */
static bool may_be_spared(const struct coir__op *op)
{
    switch ((enum coir__opcode)op->code) {
    case COIR__OP_READ:
    case COIR__OP_WRITE:
        return op->offset < 0 && op->len && !op->dont_wait;
    case COIR__OP_RECV:
    case COIR__OP_SEND:
        return op->len && !(op->flags & MSG_OOB) && !op->dont_wait;
    default:
        return false;
    }
}

/* Does -EAGAIN say that there is no data? */
static bool is_about_data(const struct coir__op *op)
{
    bool receives = op->code == COIR__OP_RECV || op->code == COIR__OP_RECVMSG;
    return !receives || !(op->flags & (MSG_OOB | MSG_ERRQUEUE));
}

/* What connects is a new socket mostly, whose number had another one before. */
static void begin_anew(struct coir__ready *r, const struct coir__op *op)
{
    struct coir__fd_state *s = state_of(r, op->fd);
    if (s)
        forget(s, op->generation);
}

long coir__ready_try(struct coir__ready *r, struct coir__op *op)
{
    if (op->code == COIR__OP_CONNECT)
        begin_anew(r, op);
    struct coir__fd_state *s = reads(op) || writes(op) ? state_for(r, op) : NULL;
    uint8_t blocked = reads(op) ? EMPTY : FULL;
    if (!s || !(s->flags & EDGES))
        return coir__nowait(op);
    s->unasked = 0;
    if (s->flags & blocked && may_be_spared(op))
        return -EAGAIN;
    long res = coir__nowait(op);
    bool all = s->flags & IS_TCP && !(s->flags & ODD) && is_short(op, res);
    if ((res == -EAGAIN && is_about_data(op)) || all)
        s->flags |= blocked;
    return res;
}

/* The events of all that wait for fd on this worker; 0: nobody does. */
static uint32_t wanted(struct coir__io *io, int fd)
{
    uint32_t events = 0;
    for (struct coir__op *op = *coir__io_bucket(io, fd); op; op = op->next)
        if (op->fd == fd && op->phase == COIR__OP_ARMED)
            events |= coir__ready_events(op);
    return events;
}

/* Arm fd for them. 0, or -errno: -EPERM, it has no events. */
static long arm_once(struct coir__ready *r, struct coir__io *io, int fd)
{
    uint32_t events = wanted(io, fd);
    if (!events)
        return 0;
    events |= EPOLLONESHOT;
    long err = control(r, EPOLL_CTL_MOD, fd, events);
    return err == -ENOENT ? control(r, EPOLL_CTL_ADD, fd, events) : err;
}

static const uint32_t EDGE_EVENTS = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLRDNORM |
                                    EPOLLRDBAND | EPOLLWRNORM | EPOLLWRBAND | EPOLLMSG | EPOLLET;

static long arm_edges(struct coir__ready *r, int fd)
{
    long err = control(r, EPOLL_CTL_ADD, fd, EDGE_EVENTS);
    return err == -EEXIST ? control(r, EPOLL_CTL_MOD, fd, EDGE_EVENTS) : err;
}

static void set_phase(struct coir__ready *r, struct coir__op *op, uint8_t phase)
{
    r->armed += (phase == COIR__OP_ARMED) - (op->phase == COIR__OP_ARMED);
    op->trusted = 0;
    op->phase = phase;
}

static void list(struct coir__ready *r, struct coir__fd_state *s, int fd)
{
    if (s->flags & LISTED)
        return;
    s->flags |= LISTED;
    s->next = r->listed;
    r->listed = fd;
    if (r->check_ns == COIR__NEVER)
        r->check_ns = coir__host_now() + CHECK_NS;
}

/* What no memory is left for has a name of its own there, which read(2) does not know. */
static long told(long err)
{
    return err == -ENOSPC ? -ENOMEM : err;
}

static long arm(struct coir__ready *r, struct coir__io *io, struct coir__op *op)
{
    struct coir__fd_state *s = state_for(r, op);
    if (s && s->flags & EDGES) {
        op->trusted = 1;
        list(r, s, op->fd);
        return 0;
    }
    if ((reads(op) || writes(op)) && is_socket(r, op)) {
        long err = arm_edges(r, op->fd);
        if (err == 0)
            s->flags |= EDGES;
        return err;
    }
    return r->arms_later ? 0 : arm_once(r, io, op->fd);
}

long coir__ready_arm(struct coir__ready *r, struct coir__io *io, struct coir__op *op)
{
    set_phase(r, op, COIR__OP_ARMED);
    long err = arm(r, io, op);
    if (err < 0)
        set_phase(r, op, COIR__OP_HELD);
    return told(err);
}

/* Who has waited in vain on what was known of the number leaves nothing of it to the next one: a
 * short deadline would keep it from being checked for ever. */
void coir__ready_stop(struct coir__worker *w, struct coir__ready *r, struct coir__op *op)
{
    struct coir__fd_state *s = op->trusted ? state_of(r, op->fd) : NULL;
    if (s)
        forget(s, s->generation);
    set_phase(r, op, COIR__OP_HELD);
    coir__op_complete(w, op, (int32_t)coir__op_partly(op, -ECANCELED));
}

/* Those that wait for fd and have not been tried yet in this round, oldest first. NULL: no more. */
static struct coir__op *next_waiting(struct coir__ready *r, struct coir__io *io, int fd,
                                     uint32_t events)
{
    for (struct coir__op *op = *coir__io_bucket(io, fd); op; op = op->next)
        if (op->fd == fd && op->phase == COIR__OP_ARMED && op->round != r->round &&
            coir__ready_events(op) & events)
            return op;
    return NULL;
}

/* It cannot be armed any more: all who wait for it are told. */
static void give_up(struct coir__worker *w, struct coir__ready *r, int fd, long err)
{
    struct coir__op *op;
    r->round++;
    while ((op = next_waiting(r, w->io, fd, ~0u))) {
        set_phase(r, op, COIR__OP_HELD);
        coir__op_complete(w, op, (int32_t)told(err));
    }
}

static void try_again(struct coir__worker *w, struct coir__ready *r, struct coir__op *op)
{
    set_phase(r, op, COIR__OP_HELD);
    long res = is_old(op) ? coir__op_partly(op, -EBADF) : coir__ready_try(r, op);
    if (res == COIR__CANNOT) {
        r->cannot(w, op);
        return;
    }
    if (res == -EAGAIN)
        res = coir__ready_arm(r, w->io, op);
    if (op->phase != COIR__OP_ARMED)
        coir__op_complete(w, op, (int32_t)res);
}

/* When one finds nothing left, the next ones of its kind would not either. */
static void try_all(struct coir__worker *w, struct coir__ready *r, int fd, uint32_t events)
{
    struct coir__io *io = w->io;
    struct coir__op *op;
    r->round++;
    r->arms_later = true;
    while ((op = next_waiting(r, io, fd, events))) {
        op->round = r->round;
        uint32_t its = coir__ready_events(op);
        bool polls = op->code == COIR__OP_POLL;
        uint64_t before = io->in_flight;
        try_again(w, r, op);
        if (io->in_flight == before && !polls)
            events &= ~its;
    }
    r->arms_later = false;
}

/* May the fiber that waits for an event of fd try by itself? NULL: there are several, or it is no
 * fiber's, or a group's. */
static struct coir__op *alone(struct coir__io *io, int fd, uint32_t events)
{
    struct coir__op *found = NULL;
    for (struct coir__op *op = *coir__io_bucket(io, fd); op; op = op->next) {
        if (op->fd != fd || op->phase != COIR__OP_ARMED || !(coir__ready_events(op) & events))
            continue;
        if (found || !op->waiter.fiber || op->group || op->code == COIR__OP_POLL || is_old(op))
            return NULL;
        found = op;
    }
    return found;
}

static void note(struct coir__ready *r, struct coir__io *io, struct coir__fd_state *s, int fd,
                 uint32_t events)
{
    if (events & EPOLLIN)
        s->flags &= (uint8_t)~EMPTY;
    if (events & EPOLLOUT)
        s->flags &= (uint8_t)~FULL;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) {
        s->flags |= ODD;
        s->flags &= (uint8_t) ~(EMPTY | FULL);
    }
    if (wanted(io, fd)) {
        s->unasked = 0;
    } else if (++s->unasked > UNASKED_MAX) {
        control(r, EPOLL_CTL_DEL, fd, 0);
        s->flags &= (uint8_t) ~(EDGES | EMPTY | FULL);
    }
}

/* Try those who wait for these events of fd, and arm it for who still waits. */
static void serve(struct coir__worker *w, struct coir__ready *r, int fd, uint32_t events)
{
    try_all(w, r, fd, events);
    const struct coir__fd_state *s = state_of(r, fd);
    long err = s && s->flags & EDGES ? 0 : arm_once(r, w->io, fd);
    if (err < 0)
        give_up(w, r, fd, err);
}

static void handle(struct coir__worker *w, struct coir__ready *r, int fd, uint32_t events)
{
    struct coir__io *io = w->io;
    struct coir__fd_state *s = state_of(r, fd);
    bool edges = s && s->flags & EDGES;
    if (edges)
        note(r, io, s, fd, events);
    if (events & (EPOLLERR | EPOLLHUP | (edges ? EPOLLRDHUP | EPOLLPRI : 0)))
        events = ~0u;
    struct coir__op *op = edges ? alone(io, fd, events) : NULL;
    if (op) {
        set_phase(r, op, COIR__OP_HELD);
        coir__op_complete(w, op, COIR__AGAIN);
        return;
    }
    serve(w, r, fd, events);
}

static long collect(struct coir__ready *r, struct epoll_event *events, int64_t until_ns)
{
    static _Atomic bool no_pwait2;
    int64_t ns = until_ns == 0 ? 0 : until_ns - coir__host_now();
    ns = ns > 0 ? ns : 0;
    if (!atomic_load_explicit(&no_pwait2, memory_order_relaxed)) {
        enum { NR_EPOLL_PWAIT2 = 441 };
        struct __kernel_timespec timeout = { ns / 1000000000, ns % 1000000000 };
        long n = coir__sys(NR_EPOLL_PWAIT2, r->fd, events, EVENTS,
                           until_ns == COIR__NEVER ? NULL : &timeout, NULL, 0);
        if (n != -ENOSYS && n != -EPERM)
            return n;
        atomic_store_explicit(&no_pwait2, true, memory_order_relaxed);
    }
    int64_t ms = until_ns == COIR__NEVER ? -1 : (ns + 999999) / 1000000;
    return coir__sys(SYS_epoll_pwait, r->fd, events, EVENTS, ms < INT32_MAX ? ms : INT32_MAX, NULL,
                     0);
}

bool coir__ready_wait(struct coir__worker *w, struct coir__ready *r, int other, int64_t until_ns)
{
    struct epoll_event events[EVENTS];
    bool others = false;
    for (int i = 0; i < ROUNDS; i++) {
        long n = collect(r, events, until_ns);
        for (long k = 0; k < n; k++) {
            int fd = (int)events[k].data.u64;
            if (fd == other)
                others = true;
            else
                handle(w, r, fd, events[k].events);
        }
        if (n < EVENTS)
            break;
        until_ns = 0;
    }
    return others;
}

/* What is due are those who were here at the last check. Modified, a descriptor tells of its events
 * anew; one that is not there is another file's by now, and all is tried again. */
static void check(struct coir__worker *w, struct coir__ready *r, struct coir__fd_state *s, int fd)
{
    bool due = false, gone = false;
    for (struct coir__op *op = *coir__io_bucket(w->io, fd); op; op = op->next) {
        if (op->fd != fd || op->phase != COIR__OP_ARMED || !op->trusted)
            continue;
        gone |= is_old(op);
        if (op->trusted++ == 1) {
            list(r, s, fd);
        } else {
            op->trusted = 0;
            due = true;
        }
    }
    if (due && !gone)
        gone = control(r, EPOLL_CTL_MOD, fd, EDGE_EVENTS) < 0;
    if (gone) {
        forget(s, coir__fd_generation(fd));
        serve(w, r, fd, ~0u);
    }
}

int64_t coir__ready_check(struct coir__worker *w, struct coir__ready *r, int64_t until_ns)
{
    if (r->check_ns == COIR__NEVER)
        return until_ns;
    if (coir__host_now() >= r->check_ns) {
        int fd = r->listed;
        r->listed = -1;
        r->check_ns = COIR__NEVER;
        while (fd >= 0) {
            struct coir__fd_state *s = state_of(r, fd);
            int next = s->next;
            s->flags &= (uint8_t)~LISTED;
            check(w, r, s, fd);
            fd = next;
        }
    }
    return until_ns < r->check_ns ? until_ns : r->check_ns;
}
