/* tests/io/close_test.c - coir_close ends every call on the descriptor, whoever makes it, with
 * EBADF; only then is the number free.
 * SPDX-License-Identifier: MIT
 *
 * Races with reuse of the number are in close_race_test.c. */
#include "calls_that_wait.h"

#include "io/fdtab.h"

#include <sys/eventfd.h>

enum { WAITERS = 4 };

struct party {
    struct waiting wait;
    struct side side;
    long result;
};

static void wait_for_it(void *arg)
{
    struct party *p = arg;
    p->result = do_call(&p->wait);
}

/* Several make the same call on the same descriptor; then it is closed. */
static void everybody_is_woken(void *arg)
{
    (void)arg;
    for (int call = 0; call < CALLS; call++) {
        struct waiting shared = { .call = (enum call)call };
        struct party party[WAITERS];
        if (call == OPEN_READ || call == OPEN_WRITE)
            continue;
        set_up(&shared);
        int fd = shared.ends[0], waiters = call == CONNECT ? 1 : WAITERS;
        for (int i = 0; i < waiters; i++) {
            party[i].wait = shared;
            side_start(&party[i].side, wait_for_it, &party[i]);
        }
        for (int i = 0; i < waiters; i++)
            until_waiting(&party[i].side);
        EXPECT_EQ(coir_close(fd), 0);
        EXPECT_FAILS(fcntl(fd, F_GETFD), EBADF);
        EXPECT_FAILS(coir_close(fd), EBADF);
        for (int i = 0; i < waiters; i++) {
            side_wait(&party[i].side);
            EXPECT_EQ(party[i].result, -EBADF);
            EXPECT_EQ(party[i].wait.buf[0], GUARD);
        }
        shared.ends[0] = -1;
        clean_up(&shared);
    }
}

/* A reader, a writer and a poller at once. The other end sees the end at once. */
static void all_kinds_are_woken(void *arg)
{
    (void)arg;
    static const enum call calls[] = { READ, WRITE, POLL_MANY, PEEK, SEND };
    enum { N = sizeof calls / sizeof *calls };
    struct party party[N];
    struct waiting shared = { .call = WRITE };
    char c;
    set_up(&shared);
    for (int i = 0; i < N; i++) {
        party[i].wait = shared;
        party[i].wait.call = calls[i];
        side_start(&party[i].side, wait_for_it, &party[i]);
        until_waiting(&party[i].side);
    }
    EXPECT_EQ(coir_close(shared.ends[0]), 0);
    for (size_t i = 0; i < shared.full; i++)
        EXPECT_EQ(recv(shared.ends[1], &c, 1, MSG_DONTWAIT), 1);
    EXPECT_EQ(recv(shared.ends[1], &c, 1, MSG_DONTWAIT), 0);
    for (int i = 0; i < N; i++) {
        side_wait(&party[i].side);
        EXPECT_EQ(party[i].result, -EBADF);
    }
    close(shared.ends[1]);
}

struct part_writer {
    int fd;
    long first, second;
};

static void write_much(void *arg)
{
    static char much[1 << 20];
    struct part_writer *w = arg;
    w->first = minus_errno(coir_write(w->fd, much, sizeof much));
    w->second = minus_errno(coir_write(w->fd, much, 1));
}

/* What has gone beats the close; the next call tells of it. */
static void part_of_a_write_counts(void *arg)
{
    (void)arg;
    for (int kind = 0; kind < KINDS; kind++) {
        int ends[2];
        struct side side;
        char buf[4096];
        ssize_t n, bytes = 0;
        make_ends((enum kind)kind, ends);
        struct part_writer w = { .fd = ends[1] };
        int few = 100000;
        setsockopt(ends[0], SOL_SOCKET, SO_RCVBUF, &few, sizeof few);
        setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &few, sizeof few);
        side_start(&side, write_much, &w);
        until_waiting(&side);
        struct pollfd begun = { ends[0], POLLIN, 0 };
        EXPECT_EQ(coir_poll(&begun, 1, -1), 1); /* a thread may have to be started for it */
        coir_sleep(COIR_MS(2));
        EXPECT_EQ(coir_close(ends[1]), 0);
        while ((n = read(ends[0], buf, sizeof buf)) > 0)
            bytes += n;
        side_wait(&side);
        EXPECT(w.first > 0 && w.first < 1 << 20);
        EXPECT_EQ(bytes, w.first);
        EXPECT_EQ(w.second, -EBADF);
        close(ends[0]);
    }
}

static void nonsense_is_ebadf(void *arg)
{
    (void)arg;
    static const int never[] = { -1, INT32_MIN, INT32_MAX, 4 << 20, (4 << 20) - 1, 1000000, 12345 };
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        for (int k = 0; k < 2; k++)
            EXPECT_FAILS(coir_close(never[i]), EBADF);
    int fd = eventfd(0, EFD_CLOEXEC);
    close(fd);
    EXPECT_FAILS(coir_close(fd), EBADF);
    EXPECT_FAILS(coir_close(AT_FDCWD), EBADF);
}

struct closer {
    int fd;
    _Atomic int *closed, *refused;
};

static void close_it(void *arg)
{
    struct closer *c = arg;
    if (coir_close(c->fd) == 0)
        atomic_fetch_add(c->closed, 1);
    else if (errno == EBADF)
        atomic_fetch_add(c->refused, 1);
}

/* Of many who close it, with somebody waiting and without, one does. */
static void one_closes(void *arg)
{
    (void)arg;
    for (int waiting = 0; waiting < 2; waiting++) {
        _Atomic int closed = 0, refused = 0;
        struct side side[WAITERS];
        struct party party = { .wait.call = READ };
        set_up(&party.wait);
        if (waiting) {
            side_start(&party.side, wait_for_it, &party);
            until_waiting(&party.side);
        }
        struct closer c = { party.wait.ends[0], &closed, &refused };
        for (int i = 0; i < WAITERS; i++)
            side_start(&side[i], close_it, &c);
        for (int i = 0; i < WAITERS; i++)
            side_wait(&side[i]);
        EXPECT_EQ(closed, 1);
        EXPECT_EQ(refused, WAITERS - 1);
        if (waiting) {
            side_wait(&party.side);
            EXPECT_EQ(party.result, -EBADF);
        }
        close(party.wait.ends[1]);
    }
}

static void *be_closed(void *arg)
{
    wait_for_it(arg);
    return NULL;
}

/* In the tick in which the call was made: the kernel has not even seen it. */
static void before_submission(void *arg)
{
    (void)arg;
    for (int call = 0; call < CALLS; call++) {
        struct party party = { .wait.call = (enum call)call };
        if (call == OPEN_READ || call == OPEN_WRITE)
            continue;
        set_up(&party.wait);
        coir_fiber *f = coir_spawn(be_closed, &party);
        until_parked(f);
        EXPECT_EQ(coir_close(party.wait.ends[0]), 0);
        join(f);
        EXPECT_EQ(party.result, -EBADF);
        party.wait.ends[0] = -1;
        clean_up(&party.wait);
    }
}

static void closing_in_the_same_tick(void **state)
{
    (void)state;
    run_on(1, before_submission, NULL);
}

struct reuse {
    int ends[2];
    char buf[ROOM];
    long result;
};

static void *read_end(void *arg)
{
    struct reuse *r = arg;
    r->result = minus_errno(coir_read(r->ends[0], r->buf, ROOM));
    return NULL;
}

static void *swap_the_file(void *arg)
{
    struct reuse *r = arg;
    int other[2];
    while (!atomic_load(&old_kernel.eagains))
        coir_yield();
    EXPECT_EQ(pipe2(other, O_CLOEXEC), 0);
    EXPECT_EQ(write(other[1], "other", 5), 5);
    EXPECT_EQ(coir_close(r->ends[0]), 0);
    EXPECT_EQ(dup2(other[0], r->ends[0]), r->ends[0]);
    close_ends(other);
    return NULL;
}

/* A call that has to be tried again after -EAGAIN has nothing in flight in between: if its number
 * is another file's by then, it must not read that. */
static void between_two_tries(void *arg)
{
    (void)arg;
    struct reuse r = { .result = 0 };
    play_old_kernel(0);
    old_kernel.interrupt_every = 0;
    atomic_store(&old_kernel.eagains, 0);
    EXPECT_EQ(pipe2(r.ends, O_CLOEXEC), 0);
    coir_fiber *swapper = coir_spawn(swap_the_file, &r);
    coir_yield();
    coir_fiber *reader = coir_spawn(read_end, &r);
    join(swapper);
    join(reader);
    EXPECT_EQ(r.result, -EBADF);
    close_ends(r.ends);
}

static void a_retry_is_not_misled(void **state)
{
    (void)state;
    SKIP_UNDER_QEMU("knows no preadv2, whose EAGAIN this takes");
    run_on(1, between_two_tries, NULL);
}

struct numbers {
    int fd;
    uint32_t generation;
    _Atomic int stop;
    int taken;
};

/* Takes every free number; the one under test only after it has changed hands. */
static void *take_numbers(void *arg)
{
    struct numbers *n = arg;
    enum { MANY = 64 };
    while (!atomic_load(&n->stop)) {
        int fds[MANY];
        for (int i = 0; i < MANY; i++) {
            fds[i] = fcntl(0, F_DUPFD_CLOEXEC, 0);
            if (fds[i] == n->fd) {
                n->taken++;
                EXPECT(coir__fd_generation(n->fd) != n->generation);
            }
        }
        for (int i = 0; i < MANY; i++)
            close(fds[i]);
        coir_yield();
    }
    return NULL;
}

static void numbers_stay_taken(void *arg)
{
    (void)arg;
    for (int i = 0; i < test_scaled(50, 5); i++) {
        struct party party = { .wait.call = READ };
        set_up(&party.wait);
        struct numbers n = { .fd = party.wait.ends[0] };
        n.generation = coir__fd_generation(n.fd);
        side_start(&party.side, wait_for_it, &party);
        until_waiting(&party.side);
        pthread_t thread;
        EXPECT_EQ(pthread_create(&thread, NULL, take_numbers, &n), 0);
        EXPECT_EQ(coir_close(n.fd), 0);
        side_wait(&party.side);
        EXPECT_EQ(party.result, -EBADF);
        atomic_store(&n.stop, 1);
        pthread_join(thread, NULL);
        close(party.wait.ends[1]);
    }
}

BODY_TEST(close_wakes_everybody, everybody_is_woken)
BODY_TEST(close_wakes_readers_writers_and_pollers, all_kinds_are_woken)
BODY_TEST(bytes_beat_a_close, part_of_a_write_counts)
BODY_TEST(closing_nonsense_is_ebadf, nonsense_is_ebadf)
BODY_TEST(only_one_closes, one_closes)
BODY_TEST(a_number_is_not_free_before, numbers_stay_taken)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(close_wakes_everybody),
        cmocka_unit_test(close_wakes_readers_writers_and_pollers),
        cmocka_unit_test(bytes_beat_a_close),
        cmocka_unit_test(closing_nonsense_is_ebadf),
        cmocka_unit_test(only_one_closes),
        cmocka_unit_test(closing_in_the_same_tick),
        cmocka_unit_test(a_retry_is_not_misled),
        cmocka_unit_test(a_number_is_not_free_before),
    };
    return RUN_AT_HOME(tests);
}
