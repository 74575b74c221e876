/* tests/io/backlog_test.c - the kernel takes nothing for a while (EAGAIN, EBUSY: it is short of
 * memory): ops and cancels wait, can be stopped while they do, and none is lost.
 * SPDX-License-Identifier: MIT
 *
 * Method: a child whose io_uring_enter is put before a supervisor (seccomp.h), another thread that
 * says whether it happens or fails. While it fails nothing reaches the kernel. */
#include "seccomp.h"
#include "sides.h"

#include "io/op.h"

#include <stdlib.h>
#include <sys/eventfd.h>

enum { FILLERS = 700 }; /* FILLERS: more than the submission queue holds */

static struct supervisor supervisor;

static void stall(int err)
{
    atomic_store(&supervisor.fail_with, err);
}

/* Let ticks go by. */
static void ticks(int n)
{
    for (int i = 0; i < n; i++)
        until_submitted();
}

struct filler {
    int ends[2];
    coir_fiber *fiber[FILLERS];
    _Atomic int got;
};

static void *read_one(void *arg)
{
    struct filler *f = arg;
    char c;
    EXPECT_EQ(coir_read(f->ends[0], &c, 1), 1);
    atomic_fetch_add(&f->got, 1);
    return NULL;
}

/* Fill the queue, and then some. */
static void fill_queue(struct filler *f)
{
    make_ends(PIPE, f->ends);
    atomic_store(&f->got, 0);
    for (int i = 0; i < FILLERS; i++)
        f->fiber[i] = coir_spawn(read_one, f);
    until_parked(f->fiber[FILLERS - 1]);
    ticks(2);
}

static void empty_queue(struct filler *f)
{
    char bytes[FILLERS] = "";
    EXPECT_EQ(write(f->ends[1], bytes, FILLERS), FILLERS);
    for (int i = 0; i < FILLERS; i++)
        join(f->fiber[i]);
    EXPECT_EQ(f->got, FILLERS);
    close_ends(f->ends);
}

/* Nothing is lost: when the kernel takes them again all ops go on. */
static void ops_wait(int err)
{
    struct filler f;
    stall(err);
    fill_queue(&f);
    EXPECT(atomic_load(&supervisor.failed) > 0);
    EXPECT_EQ(f.got, 0);
    EXPECT_EQ(coir__ops_in_flight(coir__worker_self()), FILLERS);
    stall(0);
    empty_queue(&f);
    EXPECT_EQ(coir__ops_in_flight(coir__worker_self()), 0);
}

struct victim {
    int fd, other;
    int way; /* 0 read, 1 poll of one, 2 poll of many */
    int64_t timeout_ns;
    long result;
    _Atomic int ended;
};

static void *be_stopped(void *arg)
{
    struct victim *v = arg;
    struct pollfd fds[40];
    uint64_t value;
    for (int i = 0; i < 40; i++)
        fds[i] = (struct pollfd){ i % 2 ? v->other : v->fd, POLLIN, 0 };
    COIR_TIMEOUT(v->timeout_ns ? v->timeout_ns : LONG)
        v->result = v->way ? minus_errno(coir_poll(fds, v->way == 1 ? 1 : 40, -1))
                           : minus_errno(coir_read(v->fd, &value, sizeof value));
    atomic_store(&v->ended, 1);
    return NULL;
}

enum means { CANCEL, DEADLINE, CLOSE, MEANS };

/* An op that is in the backlog, or whose cancel is. submitted: the kernel had it before. */
static void stopped_meanwhile(int way, enum means means, int submitted)
{
    struct filler f;
    struct victim v = { .way = way,
                        .fd = eventfd(0, EFD_CLOEXEC),
                        .other = eventfd(0, EFD_CLOEXEC),
                        .timeout_ns = means == DEADLINE ? COIR_MS(20) : 0 };
    coir_fiber *fiber = NULL;
    if (submitted) {
        fiber = coir_spawn(be_stopped, &v);
        until_parked(fiber);
        ticks(2);
    }
    stall(EAGAIN);
    fill_queue(&f);
    if (!submitted) {
        fiber = coir_spawn(be_stopped, &v);
        until_parked(fiber);
        ticks(1);
    }
    if (means == CANCEL)
        EXPECT_EQ(coir_cancel(fiber), 0);
    if (!submitted) { /* what the kernel has not seen ends without it */
        if (means == CLOSE)
            EXPECT_EQ(coir_close(v.fd), 0);
        while (!atomic_load(&v.ended))
            coir_yield();
    } else if (means != DEADLINE) { /* which may have come before the queue was full */
        ticks(2);
        EXPECT(!atomic_load(&v.ended));
    }
    stall(0);
    if (means == CLOSE && submitted)
        EXPECT_EQ(coir_close(v.fd), 0);
    join(fiber);
    EXPECT_EQ(v.result, means == CANCEL ? -ECANCELED : means == CLOSE ? -EBADF : -ETIMEDOUT);
    empty_queue(&f);
    EXPECT_EQ(coir__ops_in_flight(coir__worker_self()), 0);
    if (means != CLOSE)
        close(v.fd);
    close(v.other);
}

static void ops_are_stopped(void)
{
    for (int way = 0; way < 3; way++)
        for (int means = 0; means < MEANS; means++)
            for (int submitted = 0; submitted < 2; submitted++)
                stopped_meanwhile(way, (enum means)means, submitted);
}

/* A cancel in the backlog comes too late: the data is there first. */
static void data_overtakes_a_cancel(void)
{
    struct filler f;
    const uint64_t seven = 7;
    struct victim v = { .fd = eventfd(0, EFD_CLOEXEC), .other = -1 };
    coir_fiber *fiber = coir_spawn(be_stopped, &v);
    until_parked(fiber);
    ticks(2);
    stall(EAGAIN);
    fill_queue(&f);
    EXPECT_EQ(coir_cancel(fiber), 0);
    ticks(2);
    EXPECT_EQ(write(v.fd, &seven, sizeof seven), 8);
    stall(0);
    join(fiber);
    /* Whichever the kernel saw first; the data is not lost. */
    uint64_t value = 0;
    if (v.result == 8)
        EXPECT_EQ(poll(&(struct pollfd){ v.fd, POLLIN, 0 }, 1, 0), 0);
    else
        EXPECT(v.result == -ECANCELED && read(v.fd, &value, 8) == 8 && value == 7);
    empty_queue(&f);
    close(v.fd);
}

static void *send_mail(void *arg)
{
    struct filler *f = arg;
    char c = 'x';
    for (int i = 0; i < 20; i++)
        EXPECT_EQ(coir_write(f->ends[1], &c, 1), 1);
    return NULL;
}

/* Kicks come while the queue is full: the read that waits for them cannot be made anew at once. */
static void kicks_are_not_lost(void)
{
    struct filler f, mailbox;
    pthread_t thread;
    char got[20];
    make_ends(PIPE, mailbox.ends);
    EXPECT_EQ(pthread_create(&thread, NULL, send_mail, &mailbox), 0);
    for (int i = 0; i < 3; i++) {
        stall(i % 2 ? EBUSY : EAGAIN);
        fill_queue(&f);
        ticks(10);
        stall(0);
        coir_sleep(COIR_MS(1));
        empty_queue(&f);
    }
    EXPECT_EQ(coir_read_full(mailbox.ends[0], got, sizeof got), sizeof got);
    pthread_join(thread, NULL);
    close_ends(mailbox.ends);
}

static void *wait_for_ever(void *arg)
{
    char c;
    EXPECT_FAILS(coir_read(*(int *)arg, &c, 1), ECANCELED);
    return NULL;
}

/* Detached fibers are left behind with ops in the backlog; coir_run ends them. */
static void leave_some(void *arg)
{
    int *ends = arg;
    coir_attr detached = { .flags = COIR_DETACHED };
    stall(EBUSY);
    for (int i = 0; i < FILLERS; i++)
        EXPECT(coir_spawn_with(&detached, wait_for_ever, &ends[0]) != NULL);
    ticks(60);
    stall(0);
}

static void all_of_it(void *arg)
{
    (void)arg;
    ops_wait(EAGAIN);
    ops_wait(EBUSY);
    ops_wait(EINTR);
    ops_are_stopped();
    data_overtakes_a_cancel();
    kicks_are_not_lost();
}

static int under_supervision(void *arg)
{
    struct body body = { all_of_it, NULL };
    pthread_t thread;
    int ends[2];
    (void)arg;
    alarm(WATCHDOG_SECONDS);
    supervisor.listener = -1;
    if (pthread_create(&thread, NULL, be_supervisor, &supervisor))
        return 1;
    if (supervise(&supervisor, SYS_io_uring_enter) < 0)
        return NO_SECCOMP;
    EXPECT_EQ(fiber_test_run(1, body_on_fiber, &body), 0);
    make_ends(PIPE, ends);
    EXPECT_EQ(fiber_test_run(1, leave_some, ends), 0);
    return no_findings_status();
}

static void a_kernel_short_of_memory_loses_nothing(void **state)
{
    (void)state;
    NEEDS_A_RING();
    run_filtered(under_supervision, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kernel_short_of_memory_loses_nothing),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
