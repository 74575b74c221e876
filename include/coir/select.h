/* coir/select.h - one wait for the first of several things, of any kinds.
 * SPDX-License-Identifier: MIT
 *
 *     coir_case cases[] = { COIR_CASE_RECV(work, &job), COIR_CASE_RECV(stop, NULL),
 *                           COIR_CASE_TIMER(coir_after(COIR_SEC(1))) };
 *     switch (coir_select(cases, 3, COIR_NEVER)) {
 *     case 0: ...
 *
 * Of the cases that can happen one does, as if its own call had been made: an element is sent, or
 * received, a fiber joined. The others leave nothing behind and consume nothing. When several can
 * happen each of them has the same chance. */
#ifndef COIR_SELECT_H
#define COIR_SELECT_H

#include <coir/chan.h>
#include <coir/fiber.h>
#include <coir/future.h>

COIR_BEGIN_DECLS

/* One thing to wait for, made by one of the functions below. After coir_select has returned its
 * index, result and error are what the call for this case alone would have returned, and its errno
 * (0: none). The other fields are coir's. A case may be used again. */
typedef struct coir_case {
    uint32_t kind;
    int32_t result;
    int32_t error;
    int32_t fd;
    uint32_t events;
    uint32_t reserved0;
    void *on;
    const void *src;
    void *dst;
    int64_t deadline_ns;
    uint64_t opaque[6];
} coir_case;

/* coir_chan_send and coir_chan_recv: result 0, or -1 with error EPIPE (the channel is closed) or
 * EINVAL. elem must stay valid until coir_select returns. One select may use a channel in several
 * cases; it does not receive what it sends. chan NULL: never. */
COIR_API coir_case coir_case_send(coir_chan *chan, const void *elem);
COIR_API coir_case coir_case_recv(coir_chan *chan, void *elem);
/* fd has one of events (coir_poll): result is revents. That is POLLNVAL, with error EBADF, when fd
 * is not open, or coir_close closes it meanwhile. fd -1: never. */
COIR_API coir_case coir_case_fd(int fd, short events);
/* coir_join, which consumes the handle: result 0, or -1 with error the fiber's, or EINVAL, EDEADLK.
 * While the select waits, a coir_join or coir_detach by others fails with EINVAL. fiber NULL:
 * never. */
COIR_API coir_case coir_case_join(coir_fiber *fiber, void **result);
/* coir_await: result 0 and the value, or -1 with the error that the future failed with. future
 * NULL: never. */
COIR_API coir_case coir_case_await(coir_future *future, void **value);
/* deadline_ns has come: result 0. COIR_NEVER: never. */
COIR_API coir_case coir_case_timer(int64_t deadline_ns);
/* One of the signals of set, which are watched (coir_signal_watch), has come, and is in *sig. */
COIR_API coir_case coir_case_signal(const sigset_t *set, int *sig);

/* clang-format off */
#define COIR_CASE_SEND(chan, elem)    coir_case_send(chan, elem)
#define COIR_CASE_RECV(chan, elem)    coir_case_recv(chan, elem)
#define COIR_CASE_FD(fd, events)      coir_case_fd(fd, events)
#define COIR_CASE_JOIN(fiber, result) coir_case_join(fiber, result)
#define COIR_CASE_AWAIT(future, value) coir_case_await(future, value)
#define COIR_CASE_TIMER(deadline_ns)  coir_case_timer(deadline_ns)
#define COIR_CASE_SIGNAL(set, sig)    coir_case_signal(set, sig)
/* clang-format on */

/* Wait until one of n cases has happened. timeout_ns: 0 does not wait; negative or COIR_NEVER: for
 * ever. With no case at all, or none that can ever happen, only the timeout, the deadline and the
 * cancel end it.
 * Returns  the case's index. -1 when none has happened, with ETIMEDOUT: after timeout_ns, or the
 *          caller's deadline has passed; ECANCELED; EINVAL: a case is none, n above INT_MAX, or
 *          a signal is not watched; ENOMEM: for descriptors, as in coir/io.h; EMFILE: a
 *          case of several signals takes a descriptor.
 * Parks    until then. It never allocates, but for more than 2 descriptors.
 * Owns     the cases, until it returns; what they point at must stay valid until then, too. */
COIR_API int coir_select(coir_case *cases, size_t n, int64_t timeout_ns);

COIR_END_DECLS

#endif
