/* tests/io/like_posix_streams_test.c - coir/io.h on pipes and sockets that are ready: the results
 * are those of the plain call.
 * SPDX-License-Identifier: MIT
 *
 * Method: scripts (script.h) run both ways. What has to wait is in waiting_test.c. */
#include "script.h"

#include <limits.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static const size_t HUGE_LENGTH = (size_t)3 << 30; /* more than a ring's 32 bits */

/* Address space for a buffer of a huge length; only what is used is touched. */
static char *huge_buffer(void)
{
    char *at = mmap(NULL, HUGE_LENGTH, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void pipe_script(struct script *s)
{
    int p[2];
    char buf[64] = { 0 };
    SAME(s, pipe(p));
    SAME(s, s->io.write(p[1], "hello, world", 12));
    STEP(s, read(p[0], buf, 0));
    STEP(s, read(p[0], buf, 5));
    BYTES(s, buf, sizeof buf);
    STEP(s, read(p[0], buf, sizeof buf));
    BYTES(s, buf, sizeof buf);
    STEP(s, write(p[1], "", 0));
    if (!test_qemu()) { /* which says by itself what the wrong end can do */
        STEP(s, write(p[0], "x", 1));
        STEP(s, read(p[1], buf, 1));
    }
    STEP(s, write(p[1], "abc", 3));
    STEP(s, pread(p[0], buf, 1, 0));
    STEP(s, pwrite(p[1], "x", 1, 0));
    STEP(s, pread(p[0], buf, 1, -1));
    STEP(s, pwrite(p[1], "x", 1, -1));
    STEP(s, recv(p[0], buf, 1, 0));
    STEP(s, send(p[1], "x", 1, 0));
    STEP(s, accept(p[0], NULL, NULL));
    STEP(s, connect(p[0], (struct sockaddr *)buf, 16));
    STEP(s, fsync(p[0]));
    STEP(s, read(p[0], NULL, 1));
    STEP(s, read(p[0], buf, sizeof buf));
    STEP(s, write(p[1], NULL, 1));
    STEP(s, close(p[1]));
    STEP(s, read(p[0], buf, 1));
    STEP(s, close(p[1]));
    STEP(s, close(p[0]));
    SAME(s, pipe(p));
    STEP(s, close(p[0]));
    STEP(s, write(p[1], "x", 1));
    STEP(s, write(p[1], "", 0));
    STEP(s, close(p[1]));
}

static void huge_script(struct script *s)
{
    int p[2], u[2];
    char *huge = huge_buffer();
    SAME(s, huge != NULL);
    SAME(s, pipe(p));
    SAME(s, socketpair(AF_UNIX, SOCK_STREAM, 0, u));
    STEP(s, write(p[1], "abc", 3));
    STEP(s, read(p[0], huge, HUGE_LENGTH));
    BYTES(s, huge, 8);
    STEP(s, write(u[1], "defg", 4));
    STEP(s, recv(u[0], huge, HUGE_LENGTH, 0));
    BYTES(s, huge, 8);
    STEP(s, send(u[1], "hi", 2, 0));
    STEP(s, read(u[0], huge, HUGE_LENGTH));
    BYTES(s, huge, 8);
    struct iovec two[2] = { { huge, HUGE_LENGTH }, { huge, HUGE_LENGTH } };
    STEP(s, write(p[1], "jklm", 4));
    STEP(s, readv(p[0], two, 2));
    BYTES(s, huge, 8);
    munmap(huge, HUGE_LENGTH);
    close_ends(p);
    close_ends(u);
}

static void vector_script(struct script *s)
{
    enum { MANY = IOV_MAX + 1 };
    static struct iovec many[MANY];
    static char bytes[MANY];
    int p[2];
    char a[4] = "", b[8] = "", c[4] = "";
    SAME(s, pipe(p));
    struct iovec out[] = { { "ab", 2 }, { NULL, 0 }, { "cdefg", 5 }, { "", 0 } };
    struct iovec in[] = { { NULL, 0 }, { a, 3 }, { NULL, 0 }, { b, 8 }, { c, 4 } };
    STEP(s, writev(p[1], out, 4));
    STEP(s, readv(p[0], in, 5));
    BYTES(s, a, sizeof a);
    BYTES(s, b, sizeof b);
    BYTES(s, c, sizeof c);
    STEP(s, writev(p[1], out, 0));
    STEP(s, readv(p[0], in, 0));
    STEP(s, writev(p[1], NULL, 0));
    STEP(s, writev(p[1], out, -1));
    STEP(s, readv(p[0], in, -1));
    STEP(s, writev(p[1], out, INT_MIN));
    STEP(s, writev(p[1], NULL, 1));
    STEP(s, readv(p[0], NULL, 1));
    for (int i = 0; i < MANY; i++) {
        bytes[i] = (char)pattern((size_t)i);
        many[i] = (struct iovec){ &bytes[i], 1 };
    }
    STEP(s, writev(p[1], many, MANY));
    STEP(s, writev(p[1], many, IOV_MAX));
    memset(bytes, 0, sizeof bytes);
    STEP(s, readv(p[0], many, MANY));
    STEP(s, readv(p[0], many, IOV_MAX));
    BYTES(s, bytes, sizeof bytes);
    struct iovec zeros[] = { { NULL, 0 }, { NULL, 0 } };
    if (!test_qemu()) /* whose preadv2 is none, so that it would wait */
        STEP(s, readv(p[0], zeros, 2));
    STEP(s, writev(p[1], zeros, 2));
    struct iovec negative[] = { { a, 1 }, { b, (size_t)-1 } };
    STEP(s, writev(p[1], negative, 2));
    struct iovec part_bad[] = { { "xy", 2 }, { NULL, 5 } };
    STEP(s, writev(p[1], part_bad + 1, 1));
    STEP(s, write(p[1], "0123", 4));
    STEP(s, readv(p[0], part_bad + 1, 1));
    STEP(s, read(p[0], b, sizeof b));
    close_ends(p);
}

static void socket_script(struct script *s)
{
    int u[2];
    char buf[64] = { 0 };
    SAME(s, socketpair(AF_UNIX, SOCK_STREAM, 0, u));
    STEP(s, recv(u[0], buf, 1, MSG_DONTWAIT));
    STEP(s, recv(u[0], buf, 1, MSG_ERRQUEUE | MSG_DONTWAIT));
    STEP(s, send(u[1], "hello", 5, 0));
    STEP(s, recv(u[0], buf, 3, MSG_PEEK));
    STEP(s, recv(u[0], buf, 64, MSG_PEEK | MSG_DONTWAIT));
    BYTES(s, buf, sizeof buf);
    STEP(s, recv(u[0], buf, 5, MSG_WAITALL));
    STEP(s, recv(u[0], buf, 5, MSG_WAITALL | MSG_DONTWAIT));
    STEP(s, send(u[1], "abc", 3, MSG_DONTWAIT));
    STEP(s, recv(u[0], buf, 5, MSG_WAITALL | MSG_DONTWAIT));
    STEP(s, send(u[1], "a", 1, 0));
    STEP(s, send(u[1], NULL, 1, 0));
    STEP(s, recv(u[0], NULL, 1, 0));
    STEP(s, recv(u[0], buf, 1, 0));
    STEP(s, accept(u[0], NULL, NULL));
    STEP(s, fsync(u[0]));
    STEP(s, pread(u[0], buf, 1, 0));
    STEP(s, write(u[0], "xyz", 3));
    SAME(s, shutdown(u[0], SHUT_WR));
    STEP(s, write(u[0], "x", 1));
    STEP(s, send(u[0], "x", 1, 0));
    STEP(s, recv(u[1], buf, 2, 0));
    STEP(s, recv(u[1], buf, 2, 0));
    STEP(s, recv(u[1], buf, 2, 0));
    STEP(s, read(u[1], buf, 2));
    STEP(s, recv(u[1], buf, 2, MSG_DONTWAIT));
    STEP(s, recv(u[1], buf, 2, MSG_WAITALL));
    STEP(s, close(u[0]));
    /* What did the fsync, a thread of the kernel's, lets go of the file when the ring is entered
     * next. */
    struct pollfd hung_up = { u[1], 0, 0 };
    STEP(s, poll(&hung_up, 1, 10000));
    SAME(s, hung_up.revents);
    STEP(s, send(u[1], "x", 1, 0));
    STEP(s, send(u[1], "x", 1, 0));
    STEP(s, write(u[1], "x", 1));
    STEP(s, close(u[1]));
}

/* A peer that goes away with our data unread resets the connection. */
static void reset_script(struct script *s)
{
    int t[2];
    char buf[8];
    struct linger now = { 1, 0 };
    tcp_pair(t);
    STEP(s, send(t[1], "late", 4, 0));
    SAME(s, setsockopt(t[1], SOL_SOCKET, SO_LINGER, &now, sizeof now));
    STEP(s, close(t[1]));
    STEP(s, recv(t[0], buf, sizeof buf, 0));
    STEP(s, recv(t[0], buf, sizeof buf, 0));
    STEP(s, send(t[0], "x", 1, 0));
    STEP(s, write(t[0], "x", 1));
    STEP(s, close(t[0]));
    tcp_pair(t);
    STEP(s, recv(t[0], buf, 1, MSG_OOB));
    STEP(s, send(t[1], "!", 1, MSG_OOB));
    struct pollfd urgent = { t[0], POLLPRI, 0 };
    STEP(s, poll(&urgent, 1, 10000));
    SAME(s, urgent.revents);
    STEP(s, recv(t[0], buf, 1, MSG_OOB));
    close_ends(t);
}

static void message_script(struct script *s, int type)
{
    int u[2];
    char buf[16] = { 0 };
    SAME(s, socketpair(AF_UNIX, type, 0, u));
    STEP(s, send(u[1], "first", 5, 0));
    STEP(s, write(u[1], "second", 6));
    STEP(s, send(u[1], "third", 5, 0));
    STEP(s, recv(u[0], buf, sizeof buf, MSG_PEEK));
    STEP(s, recv(u[0], buf, 3, MSG_PEEK | MSG_TRUNC));
    STEP(s, recv(u[0], buf, 3, MSG_TRUNC));
    BYTES(s, buf, sizeof buf);
    STEP(s, recv(u[0], buf, 2, 0));
    BYTES(s, buf, sizeof buf);
    STEP(s, read(u[0], buf, sizeof buf));
    STEP(s, recv(u[0], buf, 1, MSG_DONTWAIT));
    STEP(s, send(u[1], "", 0, 0));
    STEP(s, recv(u[0], buf, 1, MSG_DONTWAIT));
    struct iovec out[] = { { "ab", 2 }, { "cd", 2 } };
    STEP(s, writev(u[1], out, 2));
    STEP(s, recv(u[0], buf, sizeof buf, MSG_WAITALL));
    BYTES(s, buf, sizeof buf);
    STEP(s, send(u[1], buf, 4 << 20, 0));
    close_ends(u);
}

static void datagram_script(struct script *s)
{
    message_script(s, SOCK_DGRAM);
}

static void seqpacket_script(struct script *s)
{
    message_script(s, SOCK_SEQPACKET);
}

static void eventfd_script(struct script *s)
{
    uint64_t value = 7, three = 3, max = UINT64_MAX;
    int fd = eventfd(5, 0);
    SAME(s, fd >= 0);
    STEP(s, read(fd, &value, 4));
    STEP(s, read(fd, &value, sizeof value));
    SAME(s, value);
    STEP(s, write(fd, &three, sizeof three));
    STEP(s, write(fd, &three, sizeof three));
    STEP(s, write(fd, &three, 3));
    STEP(s, write(fd, &max, sizeof max));
    STEP(s, pread(fd, &value, 8, 0));
    STEP(s, recv(fd, &value, 8, 0));
    STEP(s, fsync(fd));
    STEP(s, read(fd, &value, sizeof value));
    SAME(s, value);
    STEP(s, close(fd));
    fd = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    STEP(s, read(fd, &value, sizeof value));
    SAME(s, value);
    STEP(s, close(fd));
}

/* Descriptors that can be polled, but neither read nor written. Numbers that nothing else had: a
 * plain close(2), as tests use it, lets coir think that it knows what they can. */
static void unreadable_script(struct script *s)
{
    enum { FRESH = 300 };
    struct iovec iov = { NULL, 0 };
    char c;
    for (int i = 0; i < 2; i++) {
        int made = i ? (int)syscall(SYS_pidfd_open, getpid(), 0) : epoll_create1(EPOLL_CLOEXEC);
        int fd = fcntl(made, F_DUPFD_CLOEXEC, FRESH);
        SAME(s, made >= 0 && fd >= 0 && close(made) == 0);
        STEP(s, read(fd, &c, 1));
        STEP(s, write(fd, "x", 1));
        STEP(s, readv(fd, &iov, 1));
        STEP(s, writev(fd, &iov, 1));
        STEP(s, recv(fd, &c, 1, 0));
        STEP(s, close(fd));
    }
}

#define SCRIPT_TEST(name, script)                                                                  \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        compare(script);                                                                           \
    }

SCRIPT_TEST(pipes_are_like_posix, pipe_script)

static void huge_lengths_are_like_posix(void **state)
{
    (void)state;
    if (TEST_VALGRIND)
        skip(); /* it keeps two bits for each byte of them */
    compare(huge_script);
}

SCRIPT_TEST(vectors_are_like_posix, vector_script)
SCRIPT_TEST(sockets_are_like_posix, socket_script)
SCRIPT_TEST(resets_and_urgent_data_are_like_posix, reset_script)
SCRIPT_TEST(datagrams_are_like_posix, datagram_script)
SCRIPT_TEST(packets_are_like_posix, seqpacket_script)
SCRIPT_TEST(eventfds_are_like_posix, eventfd_script)
static void what_cannot_be_read_is_like_posix(void **state)
{
    (void)state;
    SKIP_UNDER_QEMU("answers readv and writev of nothing by itself");
    compare(unreadable_script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipes_are_like_posix),
        cmocka_unit_test(huge_lengths_are_like_posix),
        cmocka_unit_test(vectors_are_like_posix),
        cmocka_unit_test(sockets_are_like_posix),
        cmocka_unit_test(resets_and_urgent_data_are_like_posix),
        cmocka_unit_test(datagrams_are_like_posix),
        cmocka_unit_test(packets_are_like_posix),
        cmocka_unit_test(eventfds_are_like_posix),
        cmocka_unit_test(what_cannot_be_read_is_like_posix),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
