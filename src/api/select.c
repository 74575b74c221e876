/* api/select.c - coir/select.h.
 * SPDX-License-Identifier: MIT */
#include "edge.h"

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
    [COIR__CASE_SEND] = &coir__select_send,   [COIR__CASE_RECV] = &coir__select_recv,
    [COIR__CASE_FD] = &coir__select_fd,       [COIR__CASE_JOIN] = &coir__select_join,
    [COIR__CASE_AWAIT] = &coir__select_await, [COIR__CASE_TIMER] = &coir__select_timer,
};

/* How many of the cases wait for a descriptor; or -errno. */
static int prepare(coir_case *cases, size_t n)
{
    int fds = 0;
    if (n > INT_MAX)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        coir_case *c = &cases[i];
        if (c->kind == 0 || c->kind >= COIR__CASE_KINDS || c->reserved0)
            return -EINVAL;
        if (!kinds[c->kind])
            return -ENOTSUP;
        c->result = c->error = 0;
        fds += c->kind == COIR__CASE_FD && c->fd >= 0;
    }
    return fds;
}

int coir_select(coir_case *cases, size_t n, int64_t timeout_ns)
{
    struct coir__case *mine = (struct coir__case *)cases;
    int64_t until_ns = timeout_ns < 0 ? COIR_NEVER : timeout_ns == 0 ? 0 : coir_after(timeout_ns);
    long happened = prepare(cases, n);
    if (happened == 0)
        happened = coir__select(mine, (uint32_t)n, until_ns, kinds, NULL);
    else if (happened > 0)
        happened = coir__select_with_fds(mine, (uint32_t)n, (uint32_t)happened, until_ns, kinds);
    return (int)coir__edge(happened);
}
