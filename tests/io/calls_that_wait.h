/* tests/io/calls_that_wait.h - every call of coir/io.h that can wait, made to wait, and let go.
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_IO_CALLS_THAT_WAIT_H
#define TESTS_IO_CALLS_THAT_WAIT_H

#include "sides.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>

enum call {
    READ,
    READV,
    RECV,
    RECV_ALL,
    PEEK,
    RECVMSG,
    RECVMSG_ALL,
    RECVFROM,
    READ_FULL,
    WRITE,
    WRITEV,
    SEND,
    SENDMSG,
    WRITE_ALL,
    ACCEPT,
    CONNECT,
    OPEN_READ,
    OPEN_WRITE,
    POLL,
    POLL_MANY,
    CALLS
};

enum { GUARD = 0xa5, DATA = 5, ROOM = 16 };

struct waiting {
    enum call call;
    int ends[2]; /* the call uses [0] */
    size_t full; /* bytes that fill it, for those that write */
    int made;    /* what the call made */
    unsigned char buf[ROOM];
    struct sockaddr_un addr;
    socklen_t addr_len;
};

static inline int writes(enum call call)
{
    return call >= WRITE && call <= WRITE_ALL;
}

static const char fifo[] = "fifo"; /* in the current directory */

static inline void make_unix_queue(struct waiting *v)
{
    v->addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
    int n = sprintf(v->addr.sun_path + 1, "coir-waiting-%d", getpid());
    v->addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    v->ends[1] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    v->ends[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(v->ends[1], (struct sockaddr *)&v->addr, v->addr_len), 0);
    EXPECT_EQ(listen(v->ends[1], 0), 0);
}

static inline void set_up(struct waiting *v)
{
    memset(v->buf, GUARD, sizeof v->buf);
    v->made = -1;
    if (v->call == ACCEPT) {
        make_unix_queue(v);
        int listener = v->ends[1];
        v->ends[1] = v->ends[0];
        v->ends[0] = listener;
    } else if (v->call == CONNECT) {
        make_unix_queue(v);
        int first = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(connect(first, (struct sockaddr *)&v->addr, v->addr_len), 0);
        close(first);
    } else if (v->call == OPEN_READ || v->call == OPEN_WRITE) {
        v->ends[0] = v->ends[1] = -1;
        EXPECT_EQ(mkfifo(fifo, 0600), 0);
    } else {
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, v->ends), 0);
        v->full = writes(v->call) ? fill(v->ends[0]) : 0;
    }
}

static inline void clean_up(struct waiting *v)
{
    close_ends(v->ends);
    if (v->made >= 0)
        close(v->made);
    unlink(fifo);
}

static inline long made(struct waiting *v, int fd)
{
    v->made = fd;
    return fd < 0 ? -errno : 0;
}

static inline long do_call(struct waiting *v)
{
    int fd = v->ends[0];
    struct iovec iov[] = { { v->buf, 2 }, { v->buf + 2, ROOM - 2 } };
    struct iovec five[] = { { v->buf, 2 }, { v->buf + 2, DATA - 2 } };
    struct iovec out[] = { { "01", 2 }, { "234", 3 } };
    struct msghdr in_msg = { .msg_iov = iov, .msg_iovlen = 2 };
    struct msghdr all_msg = { .msg_iov = five, .msg_iovlen = 2 };
    struct msghdr out_msg = { .msg_iov = out, .msg_iovlen = 2 };
    struct sockaddr_un from;
    socklen_t from_len = sizeof from;
    struct pollfd fds[20];
    for (int i = 0; i < 20; i++)
        fds[i] = (struct pollfd){ v->ends[0], POLLIN, 0 };
    switch (v->call) {
    case READ:
        return minus_errno(coir_read(fd, v->buf, ROOM));
    case READV:
        return minus_errno(coir_readv(fd, iov, 2));
    case RECV:
        return minus_errno(coir_recv(fd, v->buf, ROOM, 0));
    case RECV_ALL:
        return minus_errno(coir_recv(fd, v->buf, DATA, MSG_WAITALL));
    case PEEK:
        return minus_errno(coir_recv(fd, v->buf, ROOM, MSG_PEEK));
    case RECVMSG:
        return minus_errno(coir_recvmsg(fd, &in_msg, 0));
    case RECVMSG_ALL:
        return minus_errno(coir_recvmsg(fd, &all_msg, MSG_WAITALL));
    case RECVFROM:
        return minus_errno(
            coir_recvfrom(fd, v->buf, ROOM, 0, (struct sockaddr *)&from, &from_len));
    case READ_FULL:
        return minus_errno(coir_read_full(fd, v->buf, DATA));
    case WRITE:
        return minus_errno(coir_write(fd, "01234", DATA));
    case WRITEV:
        return minus_errno(coir_writev(fd, out, 2));
    case SEND:
        return minus_errno(coir_send(fd, "01234", DATA, 0));
    case SENDMSG:
        return minus_errno(coir_sendmsg(fd, &out_msg, 0));
    case WRITE_ALL:
        return minus_errno(coir_write_all(fd, "01234", DATA));
    case ACCEPT:
        return made(v, coir_accept(fd, NULL, NULL));
    case CONNECT:
        return minus_errno(coir_connect(fd, (struct sockaddr *)&v->addr, v->addr_len));
    case OPEN_READ:
        return made(v, coir_open(fifo, O_RDONLY));
    case OPEN_WRITE:
        return made(v, coir_open(fifo, O_WRONLY));
    case POLL:
        return minus_errno(coir_poll(fds, 1, -1));
    default:
        return minus_errno(coir_poll(fds, 20, -1));
    }
}

static inline long wanted_result(const struct waiting *v)
{
    switch (v->call) {
    case ACCEPT:
    case CONNECT:
    case OPEN_READ:
    case OPEN_WRITE:
        return 0;
    case POLL:
        return 1;
    case POLL_MANY:
        return 20;
    default:
        return DATA;
    }
}

/* poll looks at one descriptor after another. One that was interrupted looks again at any moment,
 * and what comes just then is there for the later ones only: the plain call does the same. */
static inline long all_or_some(enum call call, long result, long all)
{
    bool some = call == POLL_MANY && rung->interrupt_every && result > 0 && result < all;
    return some ? all : result;
}

/* Let come what it waits for. */
static inline void feed(struct waiting *v)
{
    static _Thread_local char sink[4096];
    if (v->call == ACCEPT) {
        EXPECT_EQ(connect(v->ends[1], (struct sockaddr *)&v->addr, v->addr_len), 0);
    } else if (v->call == CONNECT) {
        close(accept(v->ends[1], NULL, NULL));
    } else if (v->call == OPEN_READ || v->call == OPEN_WRITE) {
        v->ends[1] = open(fifo, O_RDWR | O_CLOEXEC);
    } else if (writes(v->call)) {
        /* What filled it, and no more: what the call itself writes is looked at in check_data. */
        for (size_t left = v->full; left;) {
            size_t most = left < sizeof sink ? left : sizeof sink;
            ssize_t n = recv(v->ends[1], sink, most, MSG_DONTWAIT);
            if (!EXPECT(n > 0))
                break;
            left -= (size_t)n;
        }
    } else {
        EXPECT_EQ(write(v->ends[1], "01234", DATA), DATA);
    }
}

static inline void check_data(struct waiting *v, long result)
{
    char got[ROOM] = "";
    EXPECT_EQ(all_or_some(v->call, result, wanted_result(v)), wanted_result(v));
    if (writes(v->call)) {
        EXPECT_EQ(recv(v->ends[1], got, ROOM, MSG_DONTWAIT), DATA);
        EXPECT(memcmp(got, "01234", DATA) == 0);
    } else if (v->call <= READ_FULL) {
        EXPECT(memcmp(v->buf, "01234", DATA) == 0);
        if (v->call == PEEK)
            EXPECT_EQ(recv(v->ends[0], got, ROOM, MSG_DONTWAIT), DATA);
        EXPECT_FAILS(recv(v->ends[0], got, ROOM, MSG_DONTWAIT), EAGAIN);
    }
}

#endif
