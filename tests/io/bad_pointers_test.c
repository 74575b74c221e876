/* tests/io/bad_pointers_test.c - every pointer of every call, when there is no memory behind it:
 * EFAULT where the plain call says so, and whatever else the plain call says and leaves behind.
 * SPDX-License-Identifier: MIT
 *
 * Goal: nobody looks at the program's memory before the kernel has. Method: every call on every
 * object with every bad pointer, first by the system call and then by coir; results, and what is
 * left in the object, are compared. What has to wait first is tried by hand. */
#include "calls_that_wait.h"

#include <linux/stat.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum object { STREAM, DATAGRAMS, PIPE_OUT, PIPE_IN, A_FILE, LISTENER, OBJECTS };
enum bad { BAD_NULL, BAD_PAGE, BAD_TOP, BAD_HIGH, BAD_HALF, BADS };
enum message { IN_MSG, IN_IOV, IN_BASE, IN_NAME, IN_CONTROL, MESSAGES };

struct scene {
    int fd, peer;
    char *bad;
    struct iovec iov[2];          /* the second is bad */
    struct msghdr msg[MESSAGES];  /* one thing in each is bad; msg[IN_MSG] is not used */
    struct iovec good, only;      /* only: bad */
    struct sockaddr_storage from; /* good */
    socklen_t from_len;
    struct stat st;
    struct statx stx;
    char buf[8], control[64];
};

static char *pages; /* one that may be used, and one that may not */

/* Call by call: what the kernel is asked, and what coir is asked. */
#define POINTERS(X)                                                                                \
    X(sys(SYS_read, s->fd, p, 4), coir_read(s->fd, p, 4))                                          \
    X(sys(SYS_write, s->fd, p, 4), coir_write(s->fd, p, 4))                                        \
    X(sys(SYS_readv, s->fd, p, 2), coir_readv(s->fd, (struct iovec *)p, 2))                        \
    X(sys(SYS_writev, s->fd, p, 2), coir_writev(s->fd, (struct iovec *)p, 2))                      \
    X(sys(SYS_readv, s->fd, s->iov, 2), coir_readv(s->fd, s->iov, 2))                              \
    X(sys(SYS_writev, s->fd, s->iov, 2), coir_writev(s->fd, s->iov, 2))                            \
    X(sys(SYS_pread64, s->fd, p, 4, 0), coir_pread(s->fd, p, 4, 0))                                \
    X(sys(SYS_pwrite64, s->fd, p, 4, 0), coir_pwrite(s->fd, p, 4, 0))                              \
    X(sys(SYS_preadv, s->fd, p, 2, 0, 0), coir_preadv(s->fd, (struct iovec *)p, 2, 0))             \
    X(sys(SYS_pwritev, s->fd, p, 2, 0, 0), coir_pwritev(s->fd, (struct iovec *)p, 2, 0))           \
    X(sys(SYS_preadv, s->fd, s->iov, 2, 0, 0), coir_preadv(s->fd, s->iov, 2, 0))                   \
    X(sys(SYS_pwritev, s->fd, s->iov, 2, 0, 0), coir_pwritev(s->fd, s->iov, 2, 0))                 \
    X(sys(SYS_recvfrom, s->fd, p, 4, 0, NULL, NULL), coir_recv(s->fd, p, 4, 0))                    \
    X(sys(SYS_recvfrom, s->fd, p, 4, MSG_WAITALL, NULL, NULL),                                     \
      coir_recv(s->fd, p, 4, MSG_WAITALL))                                                         \
    X(sys(SYS_recvfrom, s->fd, p, 4, MSG_PEEK, NULL, NULL), coir_recv(s->fd, p, 4, MSG_PEEK))      \
    X(sys(SYS_sendto, s->fd, p, 4, QUIET, NULL, 0), coir_send(s->fd, p, 4, 0))                     \
    X(sys(SYS_recvfrom, s->fd, p, 4, 0, &s->from, &s->from_len),                                   \
      coir_recvfrom(s->fd, p, 4, 0, (struct sockaddr *)&s->from, &s->from_len))                    \
    X(sys(SYS_recvfrom, s->fd, s->buf, 4, 0, p, &s->from_len),                                     \
      coir_recvfrom(s->fd, s->buf, 4, 0, (struct sockaddr *)p, &s->from_len))                      \
    X(sys(SYS_sendto, s->fd, s->buf, 4, QUIET, p, 16),                                             \
      coir_sendto(s->fd, s->buf, 4, 0, (struct sockaddr *)p, 16))                                  \
    X(sys(SYS_recvmsg, s->fd, p, 0), coir_recvmsg(s->fd, (struct msghdr *)p, 0))                   \
    X(sys(SYS_recvmsg, s->fd, &s->msg[IN_IOV], 0), coir_recvmsg(s->fd, &s->msg[IN_IOV], 0))        \
    X(sys(SYS_recvmsg, s->fd, &s->msg[IN_BASE], 0), coir_recvmsg(s->fd, &s->msg[IN_BASE], 0))      \
    X(sys(SYS_recvmsg, s->fd, &s->msg[IN_NAME], 0), coir_recvmsg(s->fd, &s->msg[IN_NAME], 0))      \
    X(sys(SYS_recvmsg, s->fd, &s->msg[IN_CONTROL], 0),                                             \
      coir_recvmsg(s->fd, &s->msg[IN_CONTROL], 0))                                                 \
    X(sys(SYS_sendmsg, s->fd, p, QUIET), coir_sendmsg(s->fd, (struct msghdr *)p, 0))               \
    X(sys(SYS_sendmsg, s->fd, &s->msg[IN_IOV], QUIET), coir_sendmsg(s->fd, &s->msg[IN_IOV], 0))    \
    X(sys(SYS_sendmsg, s->fd, &s->msg[IN_BASE], QUIET), coir_sendmsg(s->fd, &s->msg[IN_BASE], 0))  \
    X(sys(SYS_sendmsg, s->fd, &s->msg[IN_NAME], QUIET), coir_sendmsg(s->fd, &s->msg[IN_NAME], 0))  \
    X(sys(SYS_sendmsg, s->fd, &s->msg[IN_CONTROL], QUIET),                                         \
      coir_sendmsg(s->fd, &s->msg[IN_CONTROL], 0))                                                 \
    X(closed(sys(SYS_accept4, s->fd, p, &s->from_len, 0)),                                         \
      closed(coir_accept(s->fd, (struct sockaddr *)p, &s->from_len)))                              \
    X(closed(sys(SYS_accept4, s->fd, &s->from, NULL, 0)),                                          \
      closed(coir_accept(s->fd, (struct sockaddr *)&s->from, NULL)))                               \
    X(sys(SYS_connect, s->fd, p, 16), coir_connect(s->fd, (struct sockaddr *)p, 16))               \
    X(closed(sys(SYS_openat, AT_FDCWD, p, O_RDONLY)), closed(coir_open(p, O_RDONLY)))              \
    X(closed(sys(SYS_openat, s->fd, p, O_RDONLY)), closed(coir_openat(s->fd, p, O_RDONLY)))        \
    X(sys(SYS_ppoll, p, 1, &at_once, NULL, 8), coir_poll((struct pollfd *)p, 1, 0))                \
    X(sys(SYS_ppoll, p, 100, NULL, NULL, 8), coir_poll((struct pollfd *)p, 100, -1))               \
    X(sys(SYS_newfstatat, AT_FDCWD, p, &s->st, 0), coir_stat(p, &s->st))                           \
    X(sys(SYS_newfstatat, AT_FDCWD, ".", p, 0), coir_stat(".", (struct stat *)p))                  \
    X(sys(SYS_fstat, s->fd, p), coir_fstat(s->fd, (struct stat *)p))                               \
    X(sys(SYS_statx, AT_FDCWD, p, 0, STATX_SIZE, &s->stx),                                         \
      coir_statx(AT_FDCWD, p, 0, STATX_SIZE, &s->stx))                                             \
    X(sys(SYS_statx, AT_FDCWD, ".", 0, STATX_SIZE, p),                                             \
      coir_statx(AT_FDCWD, ".", 0, STATX_SIZE, (struct statx *)p))                                 \
    X(sys(SYS_renameat2, AT_FDCWD, p, AT_FDCWD, "x", 0), coir_rename(p, "x"))                      \
    X(sys(SYS_renameat2, AT_FDCWD, ".", AT_FDCWD, p, 0), coir_rename(".", p))                      \
    X(sys(SYS_unlinkat, AT_FDCWD, p, 0), coir_unlink(p))                                           \
    X(sys(SYS_mkdirat, AT_FDCWD, p, 0700), coir_mkdir(p, 0700))

#define QUIET MSG_NOSIGNAL
/* Not by libc, where sanitizers look at the memory first. */
#define sys(...) syscall(__VA_ARGS__)

static long closed(long fd)
{
    if (fd >= 0)
        close((int)fd);
    return fd < 0 ? fd : 1;
}

#define COUNT_ONE(plain, ours) +1
enum { TRIES = 0 POINTERS(COUNT_ONE) };

static const struct timespec at_once;

static long by_kernel(struct scene *s, int n)
{
    char *p = s->bad;
    int i = 0;
#define ONE(plain, ours)                                                                           \
    if (i++ == n)                                                                                  \
        return minus_errno(plain);
    POINTERS(ONE)
#undef ONE
    return 0;
}

static long by_coir(struct scene *s, int n)
{
    char *p = s->bad;
    int i = 0;
#define ONE(plain, ours)                                                                           \
    if (i++ == n)                                                                                  \
        return minus_errno(ours);
    POINTERS(ONE)
#undef ONE
    return 0;
}

#define NAME(plain, ours) #ours,
static const char *const names[] = { POINTERS(NAME) };

static char *bad_pointer(enum bad bad)
{
    char *const all[BADS] = { NULL, pages + 4096, (char *)-1, (char *)((uintptr_t)1 << 60),
                              pages + 4094 };
    return all[bad];
}

static void datagram_pair(int ends[2])
{
    for (int i = 0; i < 2; i++) {
        struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
        ends[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(bind(ends[i], (struct sockaddr *)&any, sizeof any), 0);
    }
    for (int i = 0; i < 2; i++) {
        struct sockaddr_in addr;
        socklen_t len = sizeof addr;
        EXPECT_EQ(getsockname(ends[1 - i], (struct sockaddr *)&addr, &len), 0);
        EXPECT_EQ(connect(ends[i], (struct sockaddr *)&addr, len), 0);
    }
}

/* A Unix one: what has connected to it is there at once. */
static void make_listener(int ends[2])
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX }; /* the kernel chooses a name */
    socklen_t len = sizeof addr;
    ends[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ends[1] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(ends[0], (struct sockaddr *)&addr, sizeof addr.sun_family), 0);
    EXPECT_EQ(listen(ends[0], 4), 0);
    EXPECT_EQ(getsockname(ends[0], (struct sockaddr *)&addr, &len), 0);
    EXPECT_EQ(connect(ends[1], (struct sockaddr *)&addr, len), 0);
}

/* Whatever there is to read, or to accept, is there. */
static void make_object(enum object object, int ends[2])
{
    char name[] = "XXXXXX";
    switch (object) {
    case STREAM:
        make_ends(UNIX_STREAM, ends);
        break;
    case DATAGRAMS:
        datagram_pair(ends);
        break;
    case A_FILE:
        ends[0] = mkostemp(name, O_CLOEXEC);
        ends[1] = fcntl(ends[0], F_DUPFD_CLOEXEC, 0);
        unlink(name);
        break;
    case LISTENER:
        make_listener(ends);
        return;
    default:
        make_ends(PIPE, ends);
    }
    EXPECT_EQ(write(ends[1], "data", 4), 4);
    if (object == A_FILE)
        lseek(ends[0], 0, SEEK_SET);
    if (object == PIPE_OUT) {
        int in = ends[0];
        ends[0] = ends[1];
        ends[1] = in;
    }
}

static void set_scene(struct scene *s, enum object object, enum bad bad)
{
    int ends[2];
    memset(s, 0, sizeof *s);
    make_object(object, ends);
    s->fd = ends[0];
    s->peer = ends[1];
    s->bad = bad_pointer(bad);
    s->from_len = sizeof s->from;
    s->good = (struct iovec){ s->buf, 4 };
    s->only = (struct iovec){ s->bad, 4 };
    s->iov[0] = (struct iovec){ s->buf, 2 };
    s->iov[1] = s->only;
    for (int i = 0; i < MESSAGES; i++)
        s->msg[i] = (struct msghdr){ .msg_iov = &s->good, .msg_iovlen = 1 };
    s->msg[IN_IOV].msg_iov = (struct iovec *)s->bad;
    s->msg[IN_BASE].msg_iov = &s->only;
    s->msg[IN_NAME].msg_name = s->bad;
    s->msg[IN_NAME].msg_namelen = 16;
    s->msg[IN_CONTROL].msg_control = s->bad;
    s->msg[IN_CONTROL].msg_controllen = sizeof s->control;
    memset(pages, 0, 4096);
    pages[4094] = pages[4095] = 'h'; /* a path that does not end */
}

/* What can still be read from either end, or accepted, and where the file stands. */
static long left_in(const struct scene *s)
{
    char buf[64] = "";
    struct pollfd p[2] = { { s->fd, POLLIN, 0 }, { s->peer, POLLIN, 0 } };
    unsigned long hash = (unsigned long)poll(p, 2, 0) * 31 + p[0].revents * 7u + p[1].revents;
    off_t at = lseek(s->fd, 0, SEEK_CUR);
    if (at >= 0)
        hash = hash * 31 + (unsigned long)(at * 7 + pread(s->fd, buf, sizeof buf, 0));
    else
        for (int i = 0; i < 2; i++)
            if (p[i].revents & POLLIN)
                hash = hash * 31 + (unsigned long)read(p[i].fd, buf, sizeof buf);
    for (size_t i = 0; i < sizeof buf; i++)
        hash = hash * 31 + (unsigned char)buf[i];
    return (long)(hash & 0xffffffff);
}

struct outcome {
    long result, left;
    int fds; /* more than before */
};

static struct outcome wanted[OBJECTS][BADS][TRIES];

static struct outcome outcome_of(long (*by)(struct scene *, int), int object, int bad, int n)
{
    struct scene s;
    struct outcome out;
    int fds = test_fds_open();
    set_scene(&s, (enum object)object, (enum bad)bad);
    out.result = by(&s, n);
    out.left = left_in(&s);
    coir_close(s.fd); /* by which it is known that the number will be another kind's */
    close(s.peer);
    out.fds = test_fds_open() - fds;
    return out;
}

static void ask_the_kernel(void)
{
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    for (int object = 0; object < OBJECTS; object++)
        for (int bad = 0; bad < BADS; bad++)
            for (int n = 0; n < TRIES; n++)
                wanted[object][bad][n] = outcome_of(by_kernel, object, bad, n);
    signal(SIGPIPE, before);
}

/* Of two mistakes at once either may be told. */
static bool same_result(long got, long want)
{
    bool wrong_kind = want == -ENOTSOCK || want == -EBADF || got == -ENOTSOCK || got == -EBADF;
    return got == want || (wrong_kind && (got == -EFAULT || want == -EFAULT));
}

static void same_as_the_kernel(int object, int bad, int n)
{
    char what[160];
    if (0)
        fprintf(stderr, "%d %d %s\n", object, bad, names[n]);
    struct outcome got = outcome_of(by_coir, object, bad, n), *want = &wanted[object][bad][n];
    if (same_result(got.result, want->result) && got.left == want->left && got.fds == want->fds)
        return;
    static char kept[160]; /* the first finding's name is looked at later */
    snprintf(what, sizeof what, "object %d, pointer %d, left %d, fds %d: %s", object, bad,
             got.left == want->left, got.fds - want->fds, names[n]);
    if (!kept[0])
        memcpy(kept, what, sizeof kept);
    note(__FILE__, __LINE__, kept, got.result, want->result);
}

static void *nothing(void *arg)
{
    return arg;
}

static void all_pointers(void *arg)
{
    (void)arg;
    join(coir_spawn(nothing, NULL)); /* a plain thread's runtime has its descriptors now */
    for (int object = 0; object < OBJECTS; object++)
        for (int bad = 0; bad < BADS; bad++)
            for (int n = 0; n < TRIES; n++)
                same_as_the_kernel(object, bad, n);
}

static void every_bad_pointer_is_like_posix(void **state)
{
    (void)state;
    SKIP_UNDER_QEMU("looks at pointers before the kernel does");
    if (TEST_VALGRIND)
        skip(); /* it tells of each */
    ask_the_kernel();
    run_everywhere(all_pointers, NULL);
}

struct late {
    int call;
    int ends[2];
    long result;
};

static struct iovec bad_iov[2];

/* Those that find out only when there is something to put there. */
static void wait_with_bad_pointer(void *arg)
{
    struct late *l = arg;
    char good[8], *bad = pages + 4096;
    struct iovec one = { bad, 4 };
    struct sockaddr_un from;
    socklen_t len = sizeof from;
    struct msghdr msg = { .msg_iov = &one, .msg_iovlen = 1 };
    bad_iov[0] = (struct iovec){ NULL, 0 };
    bad_iov[1] = one;
    switch (l->call) {
    case 0:
        l->result = minus_errno(coir_read(l->ends[0], bad, 4));
        break;
    case 1:
        l->result = minus_errno(coir_readv(l->ends[0], bad_iov, 2));
        break;
    case 2:
        l->result = minus_errno(coir_recv(l->ends[0], bad, 4, MSG_WAITALL));
        break;
    case 3:
        l->result =
            minus_errno(coir_recvfrom(l->ends[0], bad, 4, 0, (struct sockaddr *)&from, &len));
        break;
    case 4:
        l->result = minus_errno(coir_recvmsg(l->ends[0], &msg, 0));
        break;
    case 5:
        l->result = minus_errno(coir_recv(l->ends[0], bad, 4, MSG_PEEK));
        break;
    case 6:
        l->result = minus_errno(coir_read_full(l->ends[0], bad, 4));
        break;
    default:
        l->result = minus_errno(coir_recv(l->ends[0], good, 4, 0));
    }
}

/* And the bytes are there for who asks properly. */
static void late_pointers(void *arg)
{
    enum { LATE_CALLS = 7 };
    (void)arg;
    for (int call = 0; call < LATE_CALLS; call++)
        for (int kind = UNIX_STREAM; kind < KINDS; kind++) {
            struct side side;
            struct late l = { .call = call };
            char buf[8] = "";
            make_ends((enum kind)kind, l.ends);
            side_start(&side, wait_with_bad_pointer, &l);
            until_waiting(&side);
            EXPECT_EQ(write(l.ends[1], "data", 4), 4);
            side_wait(&side);
            EXPECT_EQ(l.result, -EFAULT);
            EXPECT_EQ(coir_read(l.ends[0], buf, sizeof buf), 4);
            EXPECT(memcmp(buf, "data", 4) == 0);
            EXPECT_EQ(coir_close(l.ends[0]) | coir_close(l.ends[1]), 0);
        }
}

static void a_bad_pointer_that_waited_costs_no_data(void **state)
{
    (void)state;
    SKIP_UNDER_QEMU("looks at pointers before the kernel does");
    if (TEST_VALGRIND)
        skip();
    run_everywhere(late_pointers, NULL);
}

/* What comes before the bad part has gone. */
static void half_bad(void *arg)
{
    enum { GOOD = 1 << 16 };
    (void)arg;
    char *at = mmap(NULL, 2 * GOOD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(at + GOOD, GOOD, PROT_NONE);
    for (int kind = 0; kind < KINDS; kind++) {
        int plain[2], ours[2];
        make_ends((enum kind)kind, plain);
        make_ends((enum kind)kind, ours);
        fcntl(plain[1], F_SETFL, O_NONBLOCK);
        long want = minus_errno(syscall(SYS_write, plain[1], at + GOOD - 5000, 10000));
        long got = minus_errno(coir_write(ours[1], at + GOOD - 5000, 10000));
        EXPECT_EQ(got, want);
        EXPECT_FAILS(coir_write_all(ours[1], at + GOOD - 50, 100), EFAULT);
        close_ends(plain);
        close_ends(ours);
    }
    munmap(at, 2 * GOOD);
}

static void what_comes_before_the_bad_part_counts(void **state)
{
    (void)state;
    if (TEST_VALGRIND)
        skip();
    run_everywhere(half_bad, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bad_pointer_is_like_posix),
        cmocka_unit_test(a_bad_pointer_that_waited_costs_no_data),
        cmocka_unit_test(what_comes_before_the_bad_part_counts),
    };
    pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + 4096, 4096, PROT_NONE) < 0)
        return 1;
    return RUN_AT_HOME(tests);
}
