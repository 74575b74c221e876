/* tests/io/wrong_kind_test.c - every call on every kind of descriptor: the result is that of the
 * plain call, and what would wait there, waits.
 * SPDX-License-Identifier: MIT
 *
 * Method: each call is made on a fresh object with O_NONBLOCK by its POSIX name, and on another one
 * without it by coir's. EAGAIN there has to be a wait here, which a deadline ends. */
#include "sides.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>

enum object {
    PIPE_IN,
    PIPE_OUT,
    NO_READER,
    UNIX_PAIR,
    TCP_PAIR,
    TCP_FRESH,
    TCP_LISTENER,
    UDP_FRESH,
    UNIX_DATAGRAMS,
    DIRECTORY,
    FILE_TO_READ,
    FILE_TO_WRITE,
    FILE_PATH,
    MEMORY,
    DEV_NULL,
    DEV_ZERO,
    DEV_FULL,
    PROC_FILE,
    COUNTER,
    TIMER,
    SIGNALS,
    CHILD,
    WATCH,
    POLLER,
    OBJECTS
};

struct object_fds {
    int fd, peer;
};

static int tcp_socket(bool listening)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listening) {
        EXPECT_EQ(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
        EXPECT_EQ(listen(fd, 1), 0);
    }
    return fd;
}

static int file(int flags)
{
    char name[] = "XXXXXX";
    int made = mkostemp(name, O_CLOEXEC);
    EXPECT_EQ(write(made, "data", 4), 4);
    int fd = open(name, flags | O_CLOEXEC);
    close(made);
    unlink(name);
    return fd;
}

/* TCP's are reset when they are closed: others would keep their port for a minute, and these are
 * many. */
static struct object_fds ends_of(enum kind kind, int mine)
{
    struct linger reset = { 1, 0 };
    int ends[2];
    make_ends(kind, ends);
    for (int i = 0; kind == TCP_STREAM && i < 2; i++)
        EXPECT_EQ(setsockopt(ends[i], SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    return (struct object_fds){ ends[mine], ends[!mine] };
}

static int unix_datagrams(int *peer)
{
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
    *peer = ends[1];
    return ends[0];
}

static int of_the_system(enum object object)
{
    sigset_t usr2;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    switch (object) {
    case DIRECTORY:
        return open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    case MEMORY:
        return memfd_create("memory", MFD_CLOEXEC);
    case DEV_NULL:
        return open("/dev/null", O_RDWR | O_CLOEXEC);
    case DEV_ZERO:
        return open("/dev/zero", O_RDWR | O_CLOEXEC);
    case DEV_FULL:
        return open("/dev/full", O_RDWR | O_CLOEXEC);
    case PROC_FILE:
        return open("/proc/sys/kernel/ostype", O_RDONLY | O_CLOEXEC);
    case COUNTER:
        return eventfd(0, EFD_CLOEXEC);
    case TIMER:
        return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    case SIGNALS:
        return signalfd(-1, &usr2, SFD_CLOEXEC);
    case CHILD:
        return (int)syscall(SYS_pidfd_open, getpid(), 0);
    case WATCH:
        return inotify_init1(IN_CLOEXEC);
    default:
        return epoll_create1(EPOLL_CLOEXEC);
    }
}

static struct object_fds make_object(enum object object)
{
    struct object_fds o = { -1, -1 };
    switch (object) {
    case PIPE_IN:
    case PIPE_OUT:
        return ends_of(PIPE, object == PIPE_OUT);
    case NO_READER:
        o = ends_of(PIPE, 1);
        close(o.peer);
        o.peer = -1;
        return o;
    case UNIX_PAIR:
        return ends_of(UNIX_STREAM, 0);
    case TCP_PAIR:
        return ends_of(TCP_STREAM, 0);
    case TCP_FRESH:
    case TCP_LISTENER:
        o.fd = tcp_socket(object == TCP_LISTENER);
        return o;
    case UDP_FRESH:
        o.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        return o;
    case UNIX_DATAGRAMS:
        o.fd = unix_datagrams(&o.peer);
        return o;
    case FILE_TO_READ:
        o.fd = file(O_RDONLY);
        return o;
    case FILE_TO_WRITE:
        o.fd = file(O_WRONLY);
        return o;
    case FILE_PATH:
        o.fd = file(O_PATH);
        return o;
    default:
        o.fd = of_the_system(object);
        return o;
    }
}

struct scratch {
    char buf[64];
    struct iovec iov;
    struct msghdr msg;
    struct sockaddr_storage addr;
    socklen_t len;
    struct stat st;
    struct pollfd poll;
};

/* The name, and the arguments of a call on fd; x is a scratch. */
#define ON_FD(X)                                                                                   \
    X(read, (fd, x->buf, 8))                                                                       \
    X(read, (fd, x->buf, 0))                                                                       \
    X(write, (fd, "12345678", 8))                                                                  \
    X(write, (fd, "1", 0))                                                                         \
    X(readv, (fd, &x->iov, 1))                                                                     \
    X(readv, (fd, &x->iov, 0))                                                                     \
    X(writev, (fd, &x->iov, 1))                                                                    \
    X(writev, (fd, &x->iov, 0))                                                                    \
    X(pread, (fd, x->buf, 8, 0))                                                                   \
    X(pread, (fd, x->buf, 8, 4096))                                                                \
    X(pread, (fd, x->buf, 0, 0))                                                                   \
    X(pread, (fd, x->buf, 8, -1))                                                                  \
    X(pwrite, (fd, "12345678", 8, 0))                                                              \
    X(pwrite, (fd, "12345678", 8, -1))                                                             \
    X(preadv, (fd, &x->iov, 1, 0))                                                                 \
    X(pwritev, (fd, &x->iov, 1, 0))                                                                \
    X(recv, (fd, x->buf, 8, 0))                                                                    \
    X(recv, (fd, x->buf, 8, MSG_PEEK))                                                             \
    X(recv, (fd, x->buf, 8, MSG_WAITALL))                                                          \
    X(recv, (fd, x->buf, 8, MSG_DONTWAIT))                                                         \
    X(recv, (fd, x->buf, 8, MSG_OOB))                                                              \
    X(send, (fd, "12345678", 8, MSG_NOSIGNAL))                                                     \
    X(send, (fd, "12345678", 8, MSG_NOSIGNAL | MSG_DONTWAIT))                                      \
    X(recvfrom, (fd, x->buf, 8, 0, (struct sockaddr *)&x->addr, &x->len))                          \
    X(sendto, (fd, "1", 1, MSG_NOSIGNAL, (struct sockaddr *)&x->addr, sizeof(struct sockaddr_in))) \
    X(recvmsg, (fd, &x->msg, 0))                                                                   \
    X(recvmsg, (fd, &x->msg, MSG_WAITALL))                                                         \
    X(sendmsg, (fd, &x->msg, MSG_NOSIGNAL))                                                        \
    X(accept, (fd, NULL, NULL))                                                                    \
    X(accept4, (fd, (struct sockaddr *)&x->addr, &x->len, SOCK_NONBLOCK))                          \
    X(connect, (fd, (struct sockaddr *)&x->addr, sizeof(struct sockaddr_in)))                      \
    X(connect, (fd, (struct sockaddr *)&x->addr, 2))                                               \
    X(openat, (fd, "no-such-file", O_RDONLY))                                                      \
    X(fsync, (fd))                                                                                 \
    X(fdatasync, (fd))                                                                             \
    X(fstat, (fd, &x->st))                                                                         \
    X(ftruncate, (fd, 2))                                                                          \
    X(ftruncate, (fd, -2))                                                                         \
    X(fallocate, (fd, 0, 0, 8))                                                                    \
    X(fallocate, (fd, 0, 0, 0))                                                                    \
    X(poll, (&x->poll, 1, 0))                                                                      \
    X(close, (fd))

#define COUNT(name, args) +1
enum { MADE = 0 ON_FD(COUNT) };
#define NAME(name, args) #name #args,
static const char *const names[] = { ON_FD(NAME) };

/* The n-th call, by either name. */
#define CALL(name, args)                                                                           \
    if (i++ == n)                                                                                  \
        return ours ? minus_errno(coir_##name args) : minus_errno(name args);

static long call(int n, int fd, bool ours, struct scratch *x)
{
    int i = 0;
    ON_FD(CALL)
    return 0;
}

struct outcome {
    long result;
    short revents;
};

/* Would it wait without O_NONBLOCK? */
static bool waits(const struct outcome *plain, int n)
{
    return plain->result == -EAGAIN && !strstr(names[n], "DONTWAIT");
}

/* Some kinds mind that nothing is to be moved; that nothing was moved is as good an answer. */
static bool moves_nothing(int n)
{
    return strstr(names[n], "buf, 0") || strstr(names[n], "\"1\", 0");
}

static struct outcome outcome_of(enum object object, int n, bool ours, int64_t limit_ns)
{
    struct scratch x = { .poll.events = POLLIN | POLLOUT | POLLPRI, .len = sizeof x.addr };
    struct object_fds o = make_object(object);
    struct outcome out = { 0 };
    EXPECT(o.fd >= 0);
    x.iov = (struct iovec){ x.buf, 8 };
    x.msg = (struct msghdr){ .msg_iov = &x.iov, .msg_iovlen = 1 };
    x.poll.fd = o.fd;
    x.addr.ss_family = 1000; /* of no protocol */
    if (!ours)
        fcntl(o.fd, F_SETFL, fcntl(o.fd, F_GETFL) | O_NONBLOCK);
    COIR_TIMEOUT(limit_ns)
        out.result = call(n, o.fd, ours, &x);
    out.revents = x.poll.revents;
    int (*end)(int) = ours ? coir_close : close;
    if (strcmp(names[n], "close(fd)") != 0)
        end(o.fd);
    end(o.peer);
    return out;
}

static struct outcome wanted[OBJECTS][MADE];

static void ask_the_kernel(void)
{
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    for (int object = 0; object < OBJECTS; object++)
        for (int n = 0; n < MADE; n++)
            wanted[object][n] = outcome_of((enum object)object, n, false, LONG);
    signal(SIGPIPE, before);
}

static void same_as_the_kernel(enum object object, int n)
{
    struct outcome want = wanted[object][n];
    int64_t limit_ns = waits(&want, n) ? COIR_MS(1) : LONG;
    struct outcome got = outcome_of(object, n, true, limit_ns);
    long result = waits(&want, n) ? -ETIMEDOUT : want.result;
    static char kept[160]; /* the first finding's name, which is looked at later */
    static _Atomic int taken;
    if (got.result == 0 && moves_nothing(n))
        return;
    if (got.result == result && got.revents == want.revents)
        return;
    if (atomic_fetch_add(&taken, 1) == 0)
        snprintf(kept, sizeof kept, "object %d, revents %#x not %#x: %s", object, got.revents,
                 want.revents, names[n]);
    note(__FILE__, __LINE__, kept, got.result, result);
}

static void everything(void *arg)
{
    (void)arg;
    for (int object = 0; object < OBJECTS; object++)
        for (int n = 0; n < MADE; n++)
            same_as_the_kernel((enum object)object, n);
}

/* A socket of which the engine knows that there is nothing, or no room: for what does not ask for
 * either that is no reason to wait. */
static void known_sockets(void *arg)
{
    (void)arg;
    for (int kind = UNIX_STREAM; kind < KINDS; kind++) {
        char c;
        int ends[2];
        struct iovec none = { &c, 0 };
        make_ends((enum kind)kind, ends);
        fill(ends[0]);
        COIR_TIMEOUT(COIR_MS(1))
            EXPECT_FAILS(coir_read(ends[0], &c, 1), ETIMEDOUT);
        COIR_TIMEOUT(COIR_MS(1))
            EXPECT_FAILS(coir_write(ends[0], "x", 1), ETIMEDOUT);
        EXPECT_EQ(coir_read(ends[0], &c, 0), 0);
        EXPECT_EQ(coir_readv(ends[0], &none, 0), 0);
        EXPECT_EQ(coir_readv(ends[0], &none, 1), 0);
        EXPECT_EQ(coir_write(ends[0], &c, 0), 0);
        EXPECT_EQ(coir_writev(ends[0], &none, 0), 0);
        EXPECT_EQ(coir_writev(ends[0], &none, 1), 0);
        EXPECT_EQ(coir_send(ends[0], &c, 0, 0), 0);
        EXPECT_FAILS(coir_recv(ends[0], &c, 1, MSG_OOB), EINVAL);
        EXPECT_EQ(coir_close(ends[0]) | coir_close(ends[1]), 0);
    }
}

static void what_asks_for_nothing_does_not_wait(void **state)
{
    (void)state;
    SKIP_UNDER_QEMU("knows no preadv2, which tells no bytes from none yet");
    run_everywhere(known_sockets, NULL);
}

static void every_call_on_every_kind_is_like_posix(void **state)
{
    (void)state;
    SKIP_UNDER_QEMU("knows no preadv2, which tells no bytes from none yet");
    ask_the_kernel();
    run_everywhere(everything, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_on_every_kind_is_like_posix),
        cmocka_unit_test(what_asks_for_nothing_does_not_wait),
    };
    return RUN_AT_HOME(tests);
}
