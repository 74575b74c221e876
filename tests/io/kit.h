/* tests/io/kit.h - what the tests of I/O have in common: findings, descriptors, and looks inside.
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_IO_KIT_H
#define TESTS_IO_KIT_H

#include "old_kernel.h"
#include "rungs.h"
#include "support/expect.h"

#include "sched/worker.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>

/* Longer than anything here takes, also on a loaded machine: a call that a lost wake would let wait
 * for ever fails after this time instead. */
#define LONG COIR_SEC(20)

struct first {
    void (*fn)(void *);
    void *arg;
};

static inline void run_first(void *arg)
{
    struct first *first = arg;
    if (rung->interrupt_every)
        play_old_kernel(rung->interrupt_every);
    first->fn(first->arg);
}

/* fn(arg) as the first fiber of a runtime with so many workers; it must leave no findings and no
 * descriptors. */
static inline void run_on(unsigned workers, void (*fn)(void *), void *arg)
{
    struct first first = { fn, arg };
    int fds = test_fds_open();
    assert_int_equal(fiber_test_run(workers, run_first, &first), 0);
    assert_no_findings();
    assert_int_equal(test_fds_open(), fds);
}

/* The same with 1, 2 and 4 workers. */
static inline void run_on_each(void (*fn)(void *), void *arg)
{
    for (const unsigned *w = test_workers; *w; w++)
        run_on(*w, fn, arg);
}

/* A child process that runs fn(arg), finds nothing and writes nothing to stderr. */
static inline void run_in_child(int (*fn)(void *), void *arg)
{
    char text[1024];
    int status = test_child(fn, arg, text, sizeof text);
    if (status != 0)
        fail_msg("the child's status is %#x; it wrote: %s", status, text);
    assert_string_equal(text, "");
}

/* How many threads there are, once those of the kernel that served a ring are gone. */
static inline int threads_left(int wanted)
{
    int n = TEST_SANITIZED ? wanted : test_threads();
    for (int i = 0; i < 5000 && n > wanted; i++) {
        usleep(1000);
        n = test_threads();
    }
    return n;
}

/* Two ends: data written to [1] can be read from [0]. */
enum kind { PIPE, UNIX_STREAM, TCP_STREAM, KINDS };

static inline void tcp_pair(int ends[2])
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof addr;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(listener, (struct sockaddr *)&addr, len), 0);
    EXPECT_EQ(listen(listener, 1), 0);
    EXPECT_EQ(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    ends[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(ends[1], (struct sockaddr *)&addr, len), 0);
    ends[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    EXPECT(ends[0] >= 0);
    close(listener);
}

static inline void make_ends(enum kind kind, int ends[2])
{
    if (kind == TCP_STREAM)
        tcp_pair(ends);
    else if (kind == UNIX_STREAM)
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    else
        EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
}

static inline void close_ends(const int ends[2])
{
    close(ends[0]);
    close(ends[1]);
}

/* The n-th byte of a stream that checks can be made against. */
static inline unsigned char pattern(size_t n)
{
    return (unsigned char)(n * 131 + n / 251);
}

static inline size_t fill_once(int fd)
{
    static const char zeros[4096];
    size_t bytes = 0;
    ssize_t n;
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    while ((n = write(fd, zeros, sizeof zeros)) > 0 || (n = write(fd, zeros, 1)) > 0)
        bytes += (size_t)n;
    fcntl(fd, F_SETFL, flags);
    return bytes;
}

static inline unsigned segments_under_way(int fd)
{
    struct tcp_info info = { 0 };
    socklen_t len = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ? 0 : info.tcpi_unacked;
}

/* Write to fd until it takes no more; how many bytes it took. TCP makes room again as long as the
 * other end's kernel has not taken in all that was sent, however long that takes. */
static inline size_t fill(int fd)
{
    size_t bytes = 0, more;
    unsigned under_way;
    do {
        under_way = segments_under_way(fd);
        if (under_way)
            usleep(200);
        more = fill_once(fd);
        bytes += more;
    } while (more || under_way);
    return bytes;
}

/* Looks inside. */

static inline unsigned worker_index(void)
{
    return coir__worker_self()->index;
}

static inline int has_state(coir_fiber *fiber, enum coir__state state)
{
    struct coir__fiber *f = coir__fiber_of(fiber);
    return f && coir__fiber_state(f) == state;
}

/* Let others run until that fiber, on whichever worker, is parked in the call under test, or has
 * ended. */
static inline void until_parked(coir_fiber *fiber)
{
    struct coir__fiber *f;
    while ((f = coir__fiber_of(fiber)) && coir__fiber_state(f) != COIR__PARKED &&
           coir__fiber_state(f) != COIR__ENDED)
        coir_yield();
}

/* A moment's rest in a loop that waits for something; also after a cancel. */
static inline void nap(void)
{
    COIR_SHIELD(LONG)
        coir_sleep(COIR_US(20));
}

/* Until the kernel has what this worker's fibers have started: a tick has passed. */
static inline void until_submitted(void)
{
    uint32_t tick = coir__worker_self()->tick;
    while (coir__worker_self()->tick < tick + 2)
        coir_yield();
}

/* A fiber on the next worker, or, with 1 worker, on this one. */
static inline coir_fiber *spawn_apart(void *(*fn)(void *), void *arg)
{
    coir_attr attr = { .flags = COIR_SPREAD };
    coir_fiber *f = coir_spawn_with(&attr, fn, arg);
    EXPECT(f != NULL);
    return f;
}

static inline void join(coir_fiber *fiber)
{
    EXPECT_EQ(coir_join(fiber, NULL), 0);
}

struct work_done {
    uint64_t sleeps, parks, enters, ops;
};

static inline struct work_done work_done(void)
{
    struct coir__runtime *rt = coir__worker_self()->rt;
    struct work_done sum = { 0 };
    for (unsigned i = 0; i < rt->config.workers; i++) {
        struct coir__counters *c = &rt->workers[i].counters;
        sum.sleeps += atomic_load(&c->sleeps);
        sum.parks += atomic_load(&c->parks);
        sum.enters += atomic_load(&c->enters);
        sum.ops += atomic_load(&c->ops);
    }
    return sum;
}

/* Is there a while in which nothing happens but that it ends? What earlier work has left to do may
 * take some first. */
static inline bool comes_to_rest(void)
{
    enum { WINDOWS = 200, A_FEW = 4 };
    for (int i = 0; i < WINDOWS; i++) {
        struct work_done before = work_done();
        EXPECT_EQ(coir_sleep(COIR_MS(100)), 0);
        struct work_done after = work_done();
        if (after.sleeps - before.sleeps <= A_FEW && after.parks - before.parks <= A_FEW &&
            after.enters - before.enters <= A_FEW && after.ops == before.ops)
            return true;
    }
    return false;
}

static inline double cpu_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

#endif
