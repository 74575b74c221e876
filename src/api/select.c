/* api/select.c - coir/select.h.
 * SPDX-License-Identifier: MIT */
#include "edge.h"

#include "signal.h"

#include "io/io.h"
#include "sync/select.h"

#include <limits.h>

#define SAME(field) (offsetof(coir_case, field) == offsetof(struct coir__case, field))
_Static_assert(sizeof(coir_case) == sizeof(struct coir__case) && SAME(kind) && SAME(result) &&
                   SAME(error) && SAME(fd) && SAME(events) && SAME(reserved0) && SAME(on) &&
                   SAME(src) && SAME(dst) && SAME(deadline_ns) &&
                   offsetof(coir_case, opaque) == offsetof(struct coir__case, entry),
               "one structure");

coir_case coir_case_send(coir_chan *chan, const void *elem)
{
    return (coir_case){ .kind = COIR__CASE_SEND, .on = chan, .src = elem };
}

coir_case coir_case_recv(coir_chan *chan, void *elem)
{
    return (coir_case){ .kind = COIR__CASE_RECV, .on = chan, .dst = elem };
}

coir_case coir_case_fd(int fd, short events)
{
    return (coir_case){ .kind = COIR__CASE_FD, .fd = fd, .events = (unsigned short)events };
}

coir_case coir_case_join(coir_fiber *fiber, void **result)
{
    return (coir_case){ .kind = COIR__CASE_JOIN, .on = fiber, .dst = result };
}

coir_case coir_case_await(coir_future *future, void **value)
{
    return (coir_case){ .kind = COIR__CASE_AWAIT, .on = future, .dst = value };
}

coir_case coir_case_timer(int64_t deadline_ns)
{
    return (coir_case){ .kind = COIR__CASE_TIMER, .deadline_ns = deadline_ns };
}

coir_case coir_case_signal(const sigset_t *set, int *sig)
{
    return (coir_case){ .kind = COIR__CASE_SIGNAL, .src = set, .dst = sig };
}

static const struct coir__select_kind *const kinds[COIR__CASE_KINDS] = {
    [COIR__CASE_SEND] = &coir__select_send,     [COIR__CASE_RECV] = &coir__select_recv,
    [COIR__CASE_FD] = &coir__select_fd,         [COIR__CASE_JOIN] = &coir__select_join,
    [COIR__CASE_AWAIT] = &coir__select_await,   [COIR__CASE_TIMER] = &coir__select_timer,
    [COIR__CASE_SIGNAL] = &coir__select_signal,
};

/* How many of the cases wait for a descriptor; or -errno. *signals: how many of those for one of a
 * signal. */
static int check(coir_case *cases, size_t n, int *signals)
{
    int fds = 0;
    *signals = 0;
    if (n > INT_MAX)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        coir_case *c = &cases[i];
        if (c->kind == 0 || c->kind >= COIR__CASE_KINDS || c->reserved0)
            return -EINVAL;
        c->result = c->error = 0;
        *signals += c->kind == COIR__CASE_SIGNAL;
        fds += c->kind == COIR__CASE_SIGNAL || (c->kind == COIR__CASE_FD && c->fd >= 0);
    }
    return fds;
}

static void put_signals(coir_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (cases[i].kind == COIR__CASE_SIGNAL)
            coir__signal_fd_put(cases[i].fd);
}

/* 0; or -errno. */
static int get_signals(coir_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        coir_case *c = &cases[i];
        if (c->kind != COIR__CASE_SIGNAL)
            continue;
        c->fd = c->dst ? coir__signal_fd(c->src) : -EINVAL;
        c->events = POLLIN;
        if (c->fd < 0) {
            put_signals(cases, i);
            return c->fd;
        }
    }
    return 0;
}

static __attribute__((noinline)) long select_with_signals(coir_case *cases, size_t n, uint32_t fds,
                                                          int64_t until_ns)
{
    long happened = get_signals(cases, n);
    if (happened < 0)
        return happened;
    happened = coir__select_with_fds((struct coir__case *)cases, (uint32_t)n, fds, until_ns, kinds);
    put_signals(cases, n);
    return happened;
}

int coir_select(coir_case *cases, size_t n, int64_t timeout_ns)
{
    struct coir__case *mine = (struct coir__case *)cases;
    int64_t until_ns = timeout_ns < 0 ? COIR_NEVER : timeout_ns == 0 ? 0 : coir_after(timeout_ns);
    int signals;
    long happened = check(cases, n, &signals);
    if (happened == 0)
        happened = coir__select(mine, (uint32_t)n, until_ns, kinds, NULL);
    else if (happened > 0 && signals)
        happened = select_with_signals(cases, n, (uint32_t)happened, until_ns);
    else if (happened > 0)
        happened = coir__select_with_fds(mine, (uint32_t)n, (uint32_t)happened, until_ns, kinds);
    return (int)coir__edge(happened);
}
