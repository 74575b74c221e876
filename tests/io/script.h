/* tests/io/script.h - scripts: the same calls made once with POSIX's names and once with coir's,
 * and their results compared.
 * SPDX-License-Identifier: MIT
 *
 * A script makes its own objects, and never needs to wait: in plain POSIX nobody else runs. */
#ifndef TESTS_IO_SCRIPT_H
#define TESTS_IO_SCRIPT_H

#include "kit.h"

#include <unistd.h>

struct calls {
    ssize_t (*read)(int, void *, size_t);
    ssize_t (*write)(int, const void *, size_t);
    ssize_t (*readv)(int, const struct iovec *, int);
    ssize_t (*writev)(int, const struct iovec *, int);
    ssize_t (*pread)(int, void *, size_t, off_t);
    ssize_t (*pwrite)(int, const void *, size_t, off_t);
    ssize_t (*recv)(int, void *, size_t, int);
    ssize_t (*send)(int, const void *, size_t, int);
    ssize_t (*preadv)(int, const struct iovec *, int, off_t);
    ssize_t (*pwritev)(int, const struct iovec *, int, off_t);
    ssize_t (*recvfrom)(int, void *, size_t, int, struct sockaddr *, socklen_t *);
    ssize_t (*sendto)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    ssize_t (*recvmsg)(int, struct msghdr *, int);
    ssize_t (*sendmsg)(int, const struct msghdr *, int);
    int (*fdatasync)(int);
    int (*accept)(int, struct sockaddr *, socklen_t *);
    int (*accept4)(int, struct sockaddr *, socklen_t *, int);
    int (*connect)(int, const struct sockaddr *, socklen_t);
    int (*open)(const char *, int, ...);
    int (*openat)(int, const char *, int, ...);
    int (*fsync)(int);
    int (*close)(int);
    int (*poll)(struct pollfd *, nfds_t, int);
};

/* glibc's accept and connect take a transparent union, which no pointer to them can. */
static inline int plain_accept(int fd, struct sockaddr *addr, socklen_t *len)
{
    return accept(fd, addr, len);
}

static inline int plain_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    return accept4(fd, addr, len, flags);
}

static inline int plain_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    return connect(fd, addr, len);
}

static inline int plain_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    return poll(fds, n, timeout_ms);
}

static inline ssize_t plain_recvfrom(int fd, void *buf, size_t len, int flags,
                                     struct sockaddr *addr, socklen_t *addr_len)
{
    return recvfrom(fd, buf, len, flags, addr, addr_len);
}

static inline ssize_t plain_sendto(int fd, const void *buf, size_t len, int flags,
                                   const struct sockaddr *addr, socklen_t addr_len)
{
    return sendto(fd, buf, len, flags, addr, addr_len);
}

#define COMMON_CALLS(prefix)                                                                       \
    .read = prefix##read, .write = prefix##write, .readv = prefix##readv,                          \
    .writev = prefix##writev, .pread = prefix##pread, .pwrite = prefix##pwrite,                    \
    .recv = prefix##recv, .send = prefix##send, .preadv = prefix##preadv,                          \
    .pwritev = prefix##pwritev, .recvmsg = prefix##recvmsg, .sendmsg = prefix##sendmsg,            \
    .fdatasync = prefix##fdatasync, .open = prefix##open, .openat = prefix##openat,                \
    .fsync = prefix##fsync, .close = prefix##close
#define OTHER_CALLS(prefix)                                                                        \
    .recvfrom = prefix##recvfrom, .sendto = prefix##sendto, .accept = prefix##accept,              \
    .accept4 = prefix##accept4, .connect = prefix##connect, .poll = prefix##poll

static const struct calls plain_calls = { COMMON_CALLS(), OTHER_CALLS(plain_) };
static const struct calls coir_calls = { COMMON_CALLS(coir_), OTHER_CALLS(coir_) };

enum { STEPS_MAX = 400 };

struct script {
    struct calls io;
    int steps;
    struct step {
        int line;
        const char *what;
        long result;
    } step[STEPS_MAX];
};

static inline long step(struct script *s, int line, const char *what, long result)
{
    if (s->steps < STEPS_MAX)
        s->step[s->steps++] = (struct step){ line, what, result };
    return result;
}

/* One step: a call, and its result. Of a descriptor only whether there is one. */
#define STEP(s, call) step(s, __LINE__, #call, minus_errno((long)(s)->io.call))
#define STEP_FD(s, fd, call)                                                                       \
    do {                                                                                           \
        (fd) = (s)->io.call;                                                                       \
        step(s, __LINE__, #call, (fd) < 0 ? -errno : 0);                                           \
    } while (0)
/* Anything else that has to be the same. */
#define SAME(s, value)   step(s, __LINE__, #value, (long)(value))
#define BYTES(s, buf, n) step(s, __LINE__, #buf, hash_of(buf, n))

static inline long hash_of(const void *buf, size_t n)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const unsigned char *)buf)[i]) * 1099511628211u;
    return (long)(h >> 1);
}

struct script_run {
    void (*fn)(struct script *);
    struct script *script;
};

static inline void run_script(void *arg)
{
    struct script_run *run = arg;
    COIR_TIMEOUT(LONG)
        run->fn(run->script);
}

/* Our steps are as many as the plain ones, and have the same results. */
static inline void compare_steps(const struct script *plain, const struct script *ours)
{
    for (int i = 0; i < plain->steps && i < ours->steps; i++)
        if (plain->step[i].result != ours->step[i].result ||
            plain->step[i].line != ours->step[i].line)
            fail_msg("line %d: %s: POSIX says %ld, coir %ld", plain->step[i].line,
                     plain->step[i].what, plain->step[i].result, ours->step[i].result);
    assert_int_equal(plain->steps, ours->steps);
    assert_true(plain->steps > 0 && plain->steps < STEPS_MAX);
}

/* Run it both ways, and compare. */
static inline void compare(void (*fn)(struct script *))
{
    static struct script plain, ours;
    int fds = test_fds_open();
    plain.steps = 0;
    plain.io = plain_calls;
    ours.io = coir_calls;
    expect_bad_pointers();
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    fn(&plain);
    signal(SIGPIPE, before);
    assert_int_equal(test_fds_open(), fds);
    struct script_run run = { fn, &ours };
    for (const unsigned *w = test_workers; *w; w++) {
        ours.steps = 0;
        run_on(*w, run_script, &run);
        compare_steps(&plain, &ours);
    }
    expect_no_more_bad_pointers();
}

/* For children: compare() would leave by a jump. */
static inline void compare_quietly(void (*fn)(struct script *))
{
    static struct script plain, ours;
    struct script_run run = { fn, &ours };
    plain.io = plain_calls;
    ours.io = coir_calls;
    plain.steps = 0;
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    fn(&plain);
    signal(SIGPIPE, before);
    for (const unsigned *w = test_workers; *w; w++) {
        struct first first = { run_script, &run };
        ours.steps = 0;
        EXPECT_EQ(fiber_test_run(*w, run_first, &first), 0);
        EXPECT_EQ(ours.steps, plain.steps);
        for (int i = 0; i < plain.steps; i++)
            matches("the script", plain.step[i].line, plain.step[i].what, ours.step[i].result,
                    plain.step[i].result);
    }
}

#endif
