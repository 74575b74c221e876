/* tests/io/like_posix_sockets_test.c - accept, connect and poll, on TCP, UDP and Unix sockets: the
 * results are those of the plain call.
 * SPDX-License-Identifier: MIT
 *
 * Method: scripts (script.h) run both ways. */
#include "script.h"

#include <sys/un.h>

static int bound(int type, struct sockaddr_in *addr)
{
    socklen_t len = sizeof *addr;
    *addr = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, type, 0);
    if (bind(fd, (struct sockaddr *)addr, len) < 0 ||
        getsockname(fd, (struct sockaddr *)addr, &len) < 0)
        return -1;
    return fd;
}

static void wait_readable(int fd)
{
    struct pollfd p = { fd, POLLIN, 0 };
    poll(&p, 1, 10000);
}

static void accept_script(struct script *s)
{
    struct sockaddr_in addr, from;
    int listener = bound(SOCK_STREAM, &addr), client[4], fd;
    SAME(s, listen(listener, 8));
    for (int i = 0; i < 4; i++) {
        client[i] = socket(AF_INET, SOCK_STREAM, 0);
        STEP(s, connect(client[i], (struct sockaddr *)&addr, sizeof addr));
    }
    wait_readable(listener);
    socklen_t len = sizeof from;
    STEP_FD(s, fd, accept(listener, (struct sockaddr *)&from, &len));
    SAME(s, len);
    SAME(s, from.sin_family);
    SAME(s, from.sin_addr.s_addr);
    struct sockaddr_in mine;
    len = sizeof mine;
    getsockname(client[0], (struct sockaddr *)&mine, &len);
    SAME(s, mine.sin_port == from.sin_port);
    SAME(s, fcntl(fd, F_GETFL));
    STEP(s, close(fd));
    memset(&from, 'x', sizeof from);
    len = 4; /* room for a part of it; the length it would have comes back */
    STEP_FD(s, fd, accept4(listener, (struct sockaddr *)&from, &len, SOCK_NONBLOCK));
    SAME(s, len);
    BYTES(s, (char *)&from + 4, sizeof from - 4);
    SAME(s, fcntl(fd, F_GETFL));
    STEP(s, close(fd));
    STEP_FD(s, fd, accept(listener, NULL, NULL));
    STEP(s, close(fd));
    if (!test_qemu() && TEST_GLIBC) { /* the others take what is no flag, or no length */
        STEP_FD(s, fd, accept4(listener, NULL, NULL, 0x40000000));
        len = (socklen_t)-1;
        STEP_FD(s, fd, accept(listener, (struct sockaddr *)&from, &len));
        if (fd >= 0)
            s->io.close(fd);
    }
    for (int i = 0; i < 4; i++)
        STEP(s, close(client[i]));
    STEP(s, close(listener));
    STEP_FD(s, fd, accept(listener, NULL, NULL));
}

static void connect_script(struct script *s)
{
    struct sockaddr_in addr, nobody;
    int listener = bound(SOCK_STREAM, &addr), other = bound(SOCK_STREAM, &nobody);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    SAME(s, listen(listener, 8));
    STEP(s, connect(fd, (struct sockaddr *)&nobody, sizeof nobody));
    STEP(s, connect(fd, (struct sockaddr *)&addr, 4));
    STEP(s, connect(fd, NULL, sizeof addr));
    if (!test_qemu()) /* which looks at all the 4096 bytes */
        STEP(s, connect(fd, (struct sockaddr *)&addr, 4096));
    STEP(s, connect(fd, (struct sockaddr *)&addr, sizeof addr));
    STEP(s, connect(fd, (struct sockaddr *)&addr, sizeof addr));
    STEP(s, connect(listener, (struct sockaddr *)&addr, sizeof addr));
    STEP(s, close(fd));
    fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in six = addr;
    six.sin_family = AF_INET6;
    STEP(s, connect(fd, (struct sockaddr *)&six, sizeof six));
    STEP(s, accept(fd, NULL, NULL));
    STEP(s, close(fd));
    STEP(s, close(other));
    STEP(s, close(listener));
    STEP(s, connect(fd, (struct sockaddr *)&addr, sizeof addr));
}

/* Datagrams with the address of the other side. */
static void address_script(struct script *s)
{
    struct sockaddr_in a_addr, b_addr, from;
    socklen_t len = sizeof from;
    int a = bound(SOCK_DGRAM, &a_addr), b = bound(SOCK_DGRAM, &b_addr);
    char buf[16] = { 0 };
    const struct sockaddr *to = (struct sockaddr *)&b_addr;
    STEP(s, sendto(a, "hello", 5, 0, to, sizeof b_addr));
    wait_readable(b);
    STEP(s, recvfrom(b, buf, sizeof buf, 0, (struct sockaddr *)&from, &len));
    SAME(s, len);
    SAME(s, from.sin_port == a_addr.sin_port);
    BYTES(s, buf, sizeof buf);
    len = 4; /* cut short */
    STEP(s, sendto(a, "again", 5, 0, to, sizeof b_addr));
    wait_readable(b);
    STEP(s, recvfrom(b, buf, 2, MSG_TRUNC, (struct sockaddr *)&from, &len));
    SAME(s, len);
    STEP(s, recvfrom(b, buf, sizeof buf, MSG_DONTWAIT, (struct sockaddr *)&from, &len));
    STEP(s, recvfrom(b, buf, sizeof buf, MSG_DONTWAIT, NULL, NULL));
    STEP(s, sendto(a, "x", 1, 0, to, 3));
    STEP(s, sendto(a, "x", 1, 0, NULL, 0));
    STEP(s, sendto(a, (char *)8, 4, 0, to, sizeof b_addr));
    struct iovec iov[] = { { "one", 3 }, { NULL, 0 }, { " two", 4 } };
    struct msghdr msg = {
        .msg_name = &b_addr, .msg_namelen = sizeof b_addr, .msg_iov = iov, .msg_iovlen = 3
    };
    STEP(s, sendmsg(a, &msg, 0));
    wait_readable(b);
    struct iovec in[] = { { buf, 2 }, { buf + 8, 2 } };
    struct msghdr got = {
        .msg_name = &from, .msg_namelen = sizeof from, .msg_iov = in, .msg_iovlen = 2
    };
    STEP(s, recvmsg(b, &got, 0));
    SAME(s, got.msg_flags);
    SAME(s, got.msg_namelen);
    BYTES(s, buf, sizeof buf);
    STEP(s, recvmsg(b, &got, MSG_DONTWAIT));
    if (TEST_GLIBC) { /* musl looks at it */
        STEP(s, recvmsg(b, NULL, 0));
        STEP(s, sendmsg(b, NULL, 0));
    }
    msg.msg_iovlen = 1 << 20;
    STEP(s, sendmsg(a, &msg, 0));
    msg.msg_iovlen = 3;
    STEP(s, close(a));
    STEP(s, close(b));
    STEP(s, sendmsg(a, &msg, 0));
    STEP(s, recvmsg(b, &got, 0));
    STEP(s, recvfrom(0x7fffff, buf, 1, 0, NULL, NULL));
}

/* A descriptor and bytes, sent with each other. */
static void rights_script(struct script *s)
{
    int u[2], p[2], got_fd = -1;
    char buf[8] = { 0 };
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = { .room = { 0 } }, answer = control;
    SAME(s, socketpair(AF_UNIX, SOCK_STREAM, 0, u));
    SAME(s, pipe(p));
    struct iovec iov = { "abc", 3 };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.room,
                          .msg_controllen = sizeof control.room };
    control.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
                                     .cmsg_level = SOL_SOCKET,
                                     .cmsg_type = SCM_RIGHTS };
    memcpy(CMSG_DATA(&control.head), &p[0], sizeof p[0]);
    STEP(s, sendmsg(u[1], &msg, 0));
    STEP(s, send(u[1], "defgh", 5, 0));
    struct iovec in = { buf, sizeof buf };
    struct msghdr got = { .msg_iov = &in,
                          .msg_iovlen = 1,
                          .msg_control = answer.room,
                          .msg_controllen = sizeof answer.room };
    STEP(s, recvmsg(u[0], &got, MSG_CMSG_CLOEXEC));
    SAME(s, got.msg_controllen);
    SAME(s, got.msg_flags & ~MSG_CMSG_CLOEXEC);
    memcpy(&got_fd, CMSG_DATA(&answer.head), sizeof got_fd);
    SAME(s, write(p[1], "x", 1));
    STEP(s, read(got_fd, buf, 1));
    BYTES(s, buf, sizeof buf);
    got.msg_controllen = 0;
    in = (struct iovec){ buf, 5 };
    STEP(s, recvmsg(u[0], &got, MSG_WAITALL));
    BYTES(s, buf, sizeof buf);
    STEP(s, close(got_fd));
    close_ends(p);
    STEP(s, close(u[0]));
    iov = (struct iovec){ "late", 4 };
    msg.msg_control = NULL;
    msg.msg_controllen = 0;
    STEP(s, sendmsg(u[1], &msg, 0));
    STEP(s, close(u[1]));
}

static void udp_script(struct script *s)
{
    struct sockaddr_in a_addr, b_addr;
    int a = bound(SOCK_DGRAM, &a_addr), b = bound(SOCK_DGRAM, &b_addr), fd;
    char buf[16] = { 0 };
    STEP(s, send(a, "x", 1, 0));
    STEP(s, write(a, "x", 1));
    STEP(s, connect(a, (struct sockaddr *)&b_addr, sizeof b_addr));
    STEP(s, send(a, "hello", 5, 0));
    STEP(s, write(a, "again", 5));
    STEP(s, send(a, "", 0, 0));
    wait_readable(b);
    STEP(s, recv(b, buf, sizeof buf, 0));
    STEP(s, recv(b, buf, 2, MSG_TRUNC));
    STEP(s, recv(b, buf, 2, 0));
    STEP(s, recv(b, buf, 2, MSG_DONTWAIT));
    static char big[70000];
    STEP(s, send(a, big, sizeof big, 0));
    STEP_FD(s, fd, accept(a, NULL, NULL));
    struct sockaddr none = { .sa_family = AF_UNSPEC };
    STEP(s, connect(a, &none, sizeof none));
    STEP(s, send(a, "x", 1, 0));
    STEP(s, close(b));
    STEP(s, connect(a, (struct sockaddr *)&b_addr, sizeof b_addr));
    STEP(s, send(a, "x", 1, 0));
    wait_readable(a);
    STEP(s, recv(a, buf, 1, 0));
    STEP(s, close(a));
}

static void unix_script(struct script *s)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "\0coir-sockets-test" }, from;
    socklen_t bytes = offsetof(struct sockaddr_un, sun_path) + sizeof "\0coir-sockets-test" - 1;
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0), fd;
    STEP(s, connect(client, (struct sockaddr *)&addr, bytes));
    SAME(s, bind(listener, (struct sockaddr *)&addr, bytes));
    STEP(s, connect(client, (struct sockaddr *)&addr, bytes));
    STEP_FD(s, fd, accept(listener, NULL, NULL));
    SAME(s, listen(listener, 4));
    STEP(s, connect(client, (struct sockaddr *)&addr, bytes));
    memset(&from, 'x', sizeof from);
    socklen_t len = sizeof from;
    STEP_FD(s, fd, accept(listener, (struct sockaddr *)&from, &len));
    SAME(s, len);
    BYTES(s, &from, sizeof from);
    STEP(s, write(client, "abc", 3));
    char buf[4];
    STEP(s, read(fd, buf, 4));
    STEP(s, close(fd));
    STEP(s, close(client));
    client = socket(AF_UNIX, SOCK_DGRAM, 0);
    STEP(s, connect(client, (struct sockaddr *)&addr, bytes));
    STEP(s, close(client));
    STEP(s, close(listener));
}

static void poll_script(struct script *s)
{
    int p[2], u[2], file;
    SAME(s, pipe(p));
    SAME(s, socketpair(AF_UNIX, SOCK_STREAM, 0, u));
    STEP_FD(s, file, open("/dev/null", O_RDWR));
    struct pollfd fds[6] = {
        { p[0], POLLIN, 7 },
        { p[1], POLLOUT, 7 },
        { u[0], POLLIN | POLLOUT, 7 },
        { file, POLLIN | POLLOUT | POLLPRI, 7 },
        { -1, POLLIN, 7 },
        { 12345, POLLIN, 7 },
    };
    STEP(s, poll(fds, 6, -1));
    for (int i = 0; i < 6; i++)
        SAME(s, fds[i].revents);
    STEP(s, poll(fds, 1, 0));
    SAME(s, fds[0].revents);
    STEP(s, poll(fds + 4, 1, 1));
    STEP(s, poll(fds, 0, 0));
    STEP(s, poll(NULL, 0, 1));
    STEP(s, poll(NULL, 1, 0));
    if (!TEST_SANITIZED && !TEST_VALGRIND) { /* which look at all of them themselves */
        STEP(s, poll(fds, 1000000, 0));
        STEP(s, poll(fds, (nfds_t)-1, 0));
    }
    SAME(s, close(p[1]) | close(u[1]));
    STEP(s, poll(fds, 6, -1));
    for (int i = 0; i < 6; i++)
        SAME(s, fds[i].revents);
    fds[0].events = fds[2].events = 0;
    STEP(s, poll(fds, 3, 0));
    for (int i = 0; i < 3; i++)
        SAME(s, fds[i].revents);
    SAME(s, close(p[0]) | close(u[0]) | close(file));
}

#define SCRIPT_TEST(name, script)                                                                  \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        compare(script);                                                                           \
    }

SCRIPT_TEST(accept_is_like_posix, accept_script)
SCRIPT_TEST(connect_is_like_posix, connect_script)
SCRIPT_TEST(udp_is_like_posix, udp_script)
SCRIPT_TEST(addresses_are_like_posix, address_script)
SCRIPT_TEST(passed_descriptors_are_like_posix, rights_script)
SCRIPT_TEST(unix_sockets_are_like_posix, unix_script)
SCRIPT_TEST(poll_is_like_posix, poll_script)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_is_like_posix),
        cmocka_unit_test(connect_is_like_posix),
        cmocka_unit_test(udp_is_like_posix),
        cmocka_unit_test(addresses_are_like_posix),
        cmocka_unit_test(passed_descriptors_are_like_posix),
        cmocka_unit_test(unix_sockets_are_like_posix),
        cmocka_unit_test(poll_is_like_posix),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
