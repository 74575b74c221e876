/* tests/io/close_race_test.c - descriptors that are closed, and their numbers reused, while others
 * are in the middle of calls on them: nobody gets another file's data, nobody is forgotten.
 * SPDX-License-Identifier: MIT
 *
 * Method: every file carries its own mark in each of its bytes. A user asks for the file's number
 * and mark, and makes a call. What it gets has to carry that mark, or the call fails with EBADF. */
#include "sides.h"

#include "io/fdtab.h"
#include "sched/sanitize.h"

#include <sched.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

enum { SLOTS = 3, USERS = 8, FILES_MAX = 800 };

/* The n-th file that was opened. Its mark is n. */
struct file {
    int fd;
    int other_end;
    uint32_t generation;
};

struct arena {
    struct file file[FILES_MAX];
    _Atomic int current[SLOTS]; /* which file is in it */
    int files;
    enum kind kind;
    _Atomic int stop, reads, refused, foreign;
};

static unsigned char mark_of(int file)
{
    return (unsigned char)(file % 251);
}

/* A new file for the slot, with some data in it. */
static void open_slot(struct arena *a, int slot)
{
    int ends[2], n = a->files++;
    unsigned char bytes[4];
    make_ends(a->kind, ends);
    memset(bytes, mark_of(n), sizeof bytes);
    EXPECT_EQ(write(ends[1], bytes, sizeof bytes), sizeof bytes);
    a->file[n] = (struct file){ ends[0], ends[1], coir__fd_generation(ends[0]) };
    atomic_store(&a->current[slot], n);
}

static void close_slot(struct arena *a, int slot)
{
    struct file *f = &a->file[atomic_load(&a->current[slot])];
    EXPECT_EQ(coir_close(f->fd), 0);
    close(f->other_end);
}

static long use(int fd, uint32_t way, unsigned char buf[8])
{
    struct iovec iov[] = { { buf, 1 }, { buf + 1, 7 } };
    struct pollfd p[] = { { fd, POLLIN, 0 }, { fd, POLLIN, 0 } };
    switch (way % 4) {
    case 0:
        return minus_errno(coir_readv(fd, iov, 2));
    case 1:
        /* A number that is no file's, or that becomes another's: POLLNVAL, its data, or EBADF. */
        coir_poll(p, 2, 5);
        return -EBADF;
    default:
        return minus_errno(coir_read(fd, buf, 8));
    }
}

/* The others of this worker, and those of other workers: there may be more of them than CPUs. */
static void let_all_run(void)
{
    coir_yield();
    sched_yield();
}

/* Between looking the number up and the call it may change hands; nobody can help that. So the
 * marks are only checked where the op knows from the beginning which file of that number it means,
 * as it does for all of a call's steps but the first. */
static void use_slots(void *arg)
{
    struct arena *a = arg;
    uint32_t way = 1;
    while (!atomic_load(&a->stop)) {
        int n = atomic_load(&a->current[way++ % SLOTS]);
        struct file *f = &a->file[n];
        unsigned char buf[8];
        long got;
        if (way % 3 == 0) {
            struct coir__op op = { .code = COIR__OP_READ,
                                   .fd = f->fd,
                                   .addr = buf,
                                   .len = sizeof buf,
                                   .offset = -1,
                                   .counted = true,
                                   .generation = f->generation };
            got = coir__op_run(&op);
            coir__san_written(buf, got > 0 ? (size_t)got : 0);
            for (long i = 0; i < got; i++)
                if (buf[i] != mark_of(n))
                    atomic_fetch_add(&a->foreign, 1);
        } else {
            got = use(f->fd, way, buf);
        }
        if (got > 0) {
            atomic_fetch_add(&a->reads, 1);
        } else {
            atomic_fetch_add(&a->refused, 1);
            nap();
        }
    }
}

static void close_and_reopen(struct arena *a)
{
    struct side user[USERS];
    for (int i = 0; i < SLOTS; i++)
        open_slot(a, i);
    for (int i = 0; i < USERS; i++)
        side_start(&user[i], use_slots, a);
    /* On a busy machine the users may not have had their turn by then. */
    int rounds = test_scaled(FILES_MAX / 4, 30);
    for (int i = 0; i < rounds || ((!a->reads || !a->refused) && i < FILES_MAX - SLOTS); i++) {
        if (i % 4 == 0 || i >= rounds)
            coir_sleep(i < rounds ? COIR_US(50) : COIR_MS(5));
        else if (i % 4 == 1)
            coir_yield();
        close_slot(a, i % SLOTS);
        open_slot(a, i % SLOTS);
    }
    atomic_store(&a->stop, 1);
    for (int i = 0; i < SLOTS; i++)
        close_slot(a, i);
    for (int i = 0; i < USERS; i++)
        side_wait(&user[i]);
    EXPECT_EQ(a->foreign, 0);
    EXPECT(a->reads > 0);
    EXPECT(a->refused > 0);
}

static void reuse(void *arg)
{
    (void)arg;
    for (int kind = 0; kind < KINDS; kind++) {
        static struct arena a;
        a = (struct arena){ .kind = (enum kind)kind };
        close_and_reopen(&a);
    }
}

struct meeting {
    int fd;
    _Atomic int go;
    long result;
};

static void read_at_once(void *arg)
{
    struct meeting *m = arg;
    uint64_t value;
    while (!atomic_load(&m->go))
        ;
    m->result = minus_errno(coir_read(m->fd, &value, sizeof value));
}

static void *read_in_fiber(void *arg)
{
    COIR_TIMEOUT(LONG)
        read_at_once(arg);
    return NULL;
}

/* A read and a close that meet: whoever comes first, the read ends, and with EBADF. Also when it is
 * the first ever among the numbers of its neighbourhood, of which the table knows nothing yet. */
static void meet(struct meeting *m, int spin)
{
    pthread_t thread;
    EXPECT_EQ(pthread_create(&thread, NULL, read_in_fiber, m), 0);
    usleep(20);
    atomic_store(&m->go, 1);
    for (volatile int i = 0; i < spin; i++)
        ;
    EXPECT_EQ(coir_close(m->fd), 0);
    pthread_join(thread, NULL);
    EXPECT_EQ(m->result, -EBADF);
}

static void first_meetings(void *arg)
{
    (void)arg;
    enum { NEIGHBOURS = 512 };
    struct rlimit limit;
    int event = eventfd(0, EFD_CLOEXEC);
    getrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; i < test_scaled(100, 20); i++) {
        int fd = (i + 2) * NEIGHBOURS;
        if ((rlim_t)fd >= limit.rlim_cur)
            fd = 100; /* a new neighbourhood only as long as there are some */
        struct meeting m = { .fd = dup3(event, fd, O_CLOEXEC) };
        EXPECT_EQ(m.fd, fd);
        meet(&m, i * 7 % 400);
    }
    close(event);
}

static _Atomic int rendezvous;

static void *meet_on_workers(void *arg)
{
    struct meeting *m = arg;
    atomic_fetch_add(&rendezvous, 1);
    while (atomic_load(&rendezvous) < 2)
        let_all_run();
    COIR_TIMEOUT(LONG) {
        uint64_t value;
        m->result = minus_errno(coir_read(m->fd, &value, sizeof value));
    }
    return NULL;
}

/* The same between two workers. */
static void workers_meet(void *arg)
{
    (void)arg;
    int event = eventfd(0, EFD_CLOEXEC);
    for (int i = 0; i < test_scaled(200, 50); i++) {
        struct meeting m = { .fd = fcntl(event, F_DUPFD_CLOEXEC, 0) };
        atomic_store(&rendezvous, 0);
        coir_fiber *f = spawn_apart(meet_on_workers, &m);
        atomic_fetch_add(&rendezvous, 1);
        while (atomic_load(&rendezvous) < 2)
            let_all_run();
        for (volatile int k = 0; k < i * 13 % 3000; k++)
            ;
        EXPECT_EQ(coir_close(m.fd), 0);
        join(f);
        EXPECT_EQ(m.result, -EBADF);
    }
    close(event);
}

struct shared {
    int fd;
    _Atomic int closed;
};

static void *close_once(void *arg)
{
    struct shared *s = arg;
    if (coir_close(s->fd) == 0)
        atomic_fetch_add(&s->closed, 1);
    else
        EXPECT_EQ(errno, EBADF);
    return NULL;
}

static void *read_ended(void *arg)
{
    struct shared *s = arg;
    uint64_t value;
    EXPECT_FAILS(coir_read(s->fd, &value, sizeof value), EBADF);
    return NULL;
}

/* Many readers and many closers of one descriptor, from all workers. */
static void crowds_meet(void *arg)
{
    (void)arg;
    enum { MANY = 10 };
    for (int i = 0; i < test_scaled(100, 5); i++) {
        struct shared s = { .fd = eventfd(0, EFD_CLOEXEC) };
        coir_fiber *f[2 * MANY];
        for (int k = 0; k < MANY; k++) {
            f[2 * k] = spawn_apart(read_ended, &s);
            f[2 * k + 1] = k < MANY / 2 ? spawn_apart(read_ended, &s) : spawn_apart(close_once, &s);
        }
        for (int k = 0; k < 2 * MANY; k++)
            join(f[k]);
        EXPECT_EQ(s.closed, 1);
    }
}

static void numbers_are_reused_safely(void **state)
{
    (void)state;
    run_everywhere(reuse, NULL);
}

static int first_meetings_in_child(void *arg)
{
    alarm(WATCHDOG_SECONDS);
    first_meetings(arg);
    return no_findings_status();
}

static void a_first_read_meets_a_close(void **state)
{
    (void)state;
    run_in_child(first_meetings_in_child, NULL);
}

static void a_read_meets_a_close(void **state)
{
    (void)state;
    run_on_each(workers_meet, NULL);
}

static void many_reads_meet_many_closes(void **state)
{
    (void)state;
    run_on_each(crowds_meet, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_reused_safely),
        cmocka_unit_test(a_first_read_meets_a_close),
        cmocka_unit_test(a_read_meets_a_close),
        cmocka_unit_test(many_reads_meet_many_closes),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
