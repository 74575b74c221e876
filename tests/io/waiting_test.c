/* tests/io/waiting_test.c - coir/io.h's calls wait as long as it takes, and no longer: on every
 * kind of descriptor, with O_NONBLOCK and without, as fibers and as plain threads.
 * SPDX-License-Identifier: MIT */
#include "sides.h"

#include <pty.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <termios.h>

enum { STREAM_BYTES = 200 * 1000 };

static void set_nonblock(const int ends[2])
{
    fcntl(ends[0], F_SETFL, fcntl(ends[0], F_GETFL) | O_NONBLOCK);
    fcntl(ends[1], F_SETFL, fcntl(ends[1], F_GETFL) | O_NONBLOCK);
}

/* All kinds of ends, without and with O_NONBLOCK. */
static void on_all_ends(void (*fn)(int ends[2]))
{
    for (int i = 0; i < 2 * KINDS; i++) {
        int ends[2];
        make_ends((enum kind)(i / 2), ends);
        if (i % 2)
            set_nonblock(ends);
        fn(ends);
        close_ends(ends);
    }
}

static void read_one(void *arg)
{
    char c = 0;
    EXPECT_EQ(coir_read(*(int *)arg, &c, 1), 1);
    EXPECT_EQ(c, 'x');
}

static void readv_one(void *arg)
{
    char c = 0, none = 0;
    struct iovec iov[] = { { NULL, 0 }, { &c, 1 }, { &none, 1 } };
    EXPECT_EQ(coir_readv(*(int *)arg, iov, 3), 1);
    EXPECT_EQ(c, 'x');
}

static void reads_wait_on(int ends[2])
{
    void (*readers[])(void *) = { read_one, readv_one };
    for (int i = 0; i < 2; i++) {
        struct side reader;
        side_start(&reader, readers[i], &ends[0]);
        until_waiting(&reader);
        EXPECT_EQ(coir_write(ends[1], "x", 1), 1);
        side_wait(&reader);
    }
}

static void reads_wait(void *arg)
{
    (void)arg;
    on_all_ends(reads_wait_on);
}

struct stream {
    int fd;
    size_t pieces; /* bytes in each call */
};

/* Read the whole pattern, slowly, until the file ends. */
static void read_pattern(void *arg)
{
    struct stream *s = arg;
    unsigned char buf[4096];
    size_t done = 0, wrong = 0;
    ssize_t n;
    while ((n = coir_read(s->fd, buf, s->pieces)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            wrong += buf[i] != pattern(done + (size_t)i);
        done += (size_t)n;
        coir_yield();
    }
    EXPECT_EQ(n, 0);
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(done, STREAM_BYTES);
}

static unsigned char *whole_pattern(void)
{
    unsigned char *bytes = malloc(STREAM_BYTES);
    for (size_t i = 0; i < STREAM_BYTES; i++)
        bytes[i] = pattern(i);
    return bytes;
}

/* The ways to write it all in one call. */
static ssize_t write_whole(int way, int fd, const unsigned char *bytes)
{
    struct iovec iov[] = { { NULL, 0 },
                           { (void *)bytes, 1 },
                           { (void *)(bytes + 1), STREAM_BYTES / 2 },
                           { NULL, 0 },
                           { (void *)(bytes + 1 + STREAM_BYTES / 2), STREAM_BYTES / 2 - 1 } };
    switch (way) {
    case 0:
        return coir_write(fd, bytes, STREAM_BYTES);
    case 1:
        return coir_writev(fd, iov, 5);
    case 2:
        return coir_write_all(fd, bytes, STREAM_BYTES);
    default:
        return coir_send(fd, bytes, STREAM_BYTES, 0);
    }
}

static void whole_writes(void *arg)
{
    (void)arg;
    unsigned char *bytes = whole_pattern();
    for (int i = 0; i < 2 * KINDS; i++)
        for (int way = 0; way < (i / 2 == PIPE ? 3 : 4); way++) {
            int ends[2];
            struct side reader;
            make_ends((enum kind)(i / 2), ends);
            if (i % 2)
                set_nonblock(ends);
            struct stream s = { ends[0], 1000 + (size_t)way * 900 };
            side_start(&reader, read_pattern, &s);
            EXPECT_EQ(write_whole(way, ends[1], bytes), STREAM_BYTES);
            EXPECT_EQ(coir_close(ends[1]), 0);
            side_wait(&reader);
            close(ends[0]);
        }
    free(bytes);
}

enum { TRICKLE = 300 };

static void write_bytewise(void *arg)
{
    for (size_t i = 0; i < TRICKLE; i++) {
        unsigned char c = pattern(i);
        EXPECT_EQ(coir_write(*(int *)arg, &c, 1), 1);
        coir_yield();
    }
}

static void recv_all_of_it(void *arg)
{
    unsigned char got[TRICKLE];
    EXPECT_EQ(coir_recv(*(int *)arg, got, TRICKLE, MSG_WAITALL), TRICKLE);
    for (size_t i = 0; i < TRICKLE; i++)
        EXPECT_EQ(got[i], pattern(i));
}

/* A peer that sends one byte at a time: read_full and MSG_WAITALL wait for the last. */
static void one_byte_peers(void *arg)
{
    (void)arg;
    for (int i = 0; i < 2 * KINDS; i++) {
        int ends[2];
        unsigned char got[TRICKLE + 1];
        struct side writer, receiver;
        make_ends((enum kind)(i / 2), ends);
        if (i % 2)
            set_nonblock(ends);
        side_start(&writer, write_bytewise, &ends[1]);
        EXPECT_EQ(coir_read_full(ends[0], got, TRICKLE), TRICKLE);
        for (size_t k = 0; k < TRICKLE; k++)
            EXPECT_EQ(got[k], pattern(k));
        side_wait(&writer);
        if (i / 2 != PIPE) {
            side_start(&receiver, recv_all_of_it, &ends[0]);
            write_bytewise(&ends[1]);
            side_wait(&receiver);
        }
        EXPECT_EQ(coir_write_all(ends[1], "end", 3), 3);
        close(ends[1]);
        EXPECT_EQ(coir_read_full(ends[0], got, TRICKLE + 1), 3);
        EXPECT_EQ(coir_read_full(ends[0], got, 1), 0);
        close(ends[0]);
        EXPECT_EQ(coir_read_full(-1, got, 0), 0);
        EXPECT_FAILS(coir_read_full(-1, got, 1), EBADF);
        COIR_TIMEOUT(-1) {
            EXPECT_FAILS(coir_read_full(-1, got, 0), ETIMEDOUT);
            EXPECT_FAILS(coir_write_all(-1, got, 0), ETIMEDOUT);
        }
        EXPECT_FAILS(coir_write_all(-1, got, 1), EBADF);
    }
}

/* MSG_DONTWAIT never waits; without it a full or empty socket with O_NONBLOCK does. */
static void dont_wait_fails_on(int ends[2])
{
    char c;
    if (coir_recv(ends[0], &c, 1, MSG_DONTWAIT) < 0 && errno == ENOTSOCK)
        return;
    EXPECT_FAILS(coir_recv(ends[0], &c, 1, MSG_DONTWAIT), EAGAIN);
    EXPECT_FAILS(coir_recv(ends[0], &c, 1, MSG_DONTWAIT | MSG_PEEK), EAGAIN);
    struct sockaddr_storage own;
    socklen_t len = sizeof own;
    if (getsockname(ends[0], (struct sockaddr *)&own, &len) == 0 && own.ss_family == AF_INET)
        EXPECT_FAILS(coir_recv(ends[0], &c, 1, MSG_ERRQUEUE), EAGAIN); /* it never waits */
    fill(ends[1]);
    EXPECT_FAILS(coir_send(ends[1], "x", 1, MSG_DONTWAIT), EAGAIN);
    COIR_TIMEOUT(COIR_MS(3)) {
        EXPECT_FAILS(coir_send(ends[1], "x", 1, 0), ETIMEDOUT);
    }
}

static void dont_wait_fails(void *arg)
{
    (void)arg;
    on_all_ends(dont_wait_fails_on);
}

static void read_eight(void *arg)
{
    uint64_t value = 0;
    EXPECT_EQ(coir_read(*(int *)arg, &value, sizeof value), sizeof value);
    EXPECT_EQ(value, 3);
}

/* An eventfd at its limit has no room; one at 0 has nothing to read. A timer ticks. */
static void counters_wait(void *arg)
{
    (void)arg;
    const uint64_t three = 3, most = UINT64_MAX - 1;
    for (int flags = 0; flags <= EFD_NONBLOCK; flags += EFD_NONBLOCK) {
        int fd = eventfd(0, flags | EFD_CLOEXEC);
        struct side reader;
        side_start(&reader, read_eight, &fd);
        until_waiting(&reader);
        EXPECT_EQ(coir_write(fd, &three, sizeof three), 8);
        side_wait(&reader);
        EXPECT_EQ(coir_write(fd, &most, sizeof most), 8);
        COIR_TIMEOUT(COIR_MS(3)) {
            EXPECT_FAILS(coir_write(fd, &three, sizeof three), ETIMEDOUT);
        }
        close(fd);
        fd = timerfd_create(CLOCK_MONOTONIC, flags ? TFD_NONBLOCK | TFD_CLOEXEC : TFD_CLOEXEC);
        struct itimerspec soon = { .it_value.tv_nsec = 3000000 };
        EXPECT_EQ(timerfd_settime(fd, 0, &soon, NULL), 0);
        uint64_t ticks = 0;
        EXPECT_EQ(coir_read(fd, &ticks, sizeof ticks), 8);
        EXPECT_EQ(ticks, 1);
        close(fd);
    }
}

static void read_line(void *arg)
{
    char line[32] = "";
    EXPECT_EQ(coir_read(*(int *)arg, line, sizeof line), 5);
    EXPECT(memcmp(line, "line\n", 5) == 0);
}

/* A terminal is no file that the ring can wait for by itself: O_NONBLOCK is -EAGAIN there. */
static void terminals_wait(void *arg)
{
    (void)arg;
    for (int nonblock = 0; nonblock < 2; nonblock++) {
        int pty[2];
        struct side reader;
        EXPECT_EQ(openpty(&pty[0], &pty[1], NULL, NULL, NULL), 0);
        struct termios raw;
        tcgetattr(pty[1], &raw);
        raw.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(pty[1], TCSANOW, &raw);
        if (nonblock)
            set_nonblock(pty);
        side_start(&reader, read_line, &pty[1]);
        until_waiting(&reader);
        EXPECT_EQ(coir_write(pty[0], "li", 2), 2);
        coir_sleep(COIR_MS(2));
        EXPECT_EQ(coir_write(pty[0], "ne\n", 3), 3);
        side_wait(&reader);
        COIR_TIMEOUT(COIR_MS(3)) {
            char c;
            EXPECT_FAILS(coir_read(pty[1], &c, 1), ETIMEDOUT);
        }
        close_ends(pty);
    }
}

struct crowd {
    int fd;
    _Atomic int seen[256];
};

static void read_some_of_it(void *arg)
{
    struct crowd *crowd = arg;
    unsigned char c[3];
    ssize_t n;
    while ((n = coir_read(crowd->fd, c, sizeof c)) > 0)
        for (ssize_t i = 0; i < n; i++)
            atomic_fetch_add(&crowd->seen[c[i]], 1);
    EXPECT_EQ(n, 0);
}

/* Many readers of one descriptor: which gets which bytes nobody knows, but each byte is one's. */
static void crowds_share(void *arg)
{
    (void)arg;
    for (int kind = 0; kind < KINDS; kind++) {
        enum { READERS = 12 };
        int ends[2];
        struct side side[READERS];
        struct crowd crowd = { 0 };
        make_ends((enum kind)kind, ends);
        crowd.fd = ends[0];
        for (int i = 0; i < READERS; i++)
            side_start(&side[i], read_some_of_it, &crowd);
        for (int i = 0; i < 256; i++) {
            unsigned char c = (unsigned char)i;
            EXPECT_EQ(coir_write(ends[1], &c, 1), 1);
            if (i % 16 == 0)
                coir_yield();
        }
        EXPECT_EQ(coir_close(ends[1]), 0);
        for (int i = 0; i < READERS; i++)
            side_wait(&side[i]);
        for (int i = 0; i < 256; i++)
            EXPECT_EQ(crowd.seen[i], 1);
        close(ends[0]);
    }
}

struct bomber {
    pid_t target;
    _Atomic int stop;
};

static void on_signal(int number)
{
    (void)number;
}

static void *bomb(void *arg)
{
    struct bomber *b = arg;
    while (!atomic_load(&b->stop)) {
        syscall(SYS_tgkill, getpid(), b->target, SIGUSR1);
        usleep(50);
    }
    return NULL;
}

static void nap_and_write(void *arg)
{
    coir_sleep(COIR_MS(1));
    EXPECT_EQ(coir_write(*(int *)arg, "x", 1), 1);
}

/* Signal handlers interrupt the system calls beneath; nobody sees an EINTR. */
static void signals_do_not_surface(void *arg)
{
    (void)arg;
    struct sigaction handle = { .sa_handler = on_signal }, before;
    struct bomber bomber = { .target = gettid() };
    pthread_t thread;
    enum { ROUNDS = 30 };
    int all[ROUNDS][2], rounds = test_scaled(ROUNDS, 6);
    for (int i = 0; i < rounds; i++)
        make_ends((enum kind)(i % KINDS), all[i]);
    sigaction(SIGUSR1, &handle, &before);
    EXPECT_EQ(pthread_create(&thread, NULL, bomb, &bomber), 0);
    for (int i = 0; i < rounds; i++) {
        int *ends = all[i];
        struct side writer;
        struct pollfd p = { ends[0], POLLIN, 0 };
        for (int k = 0; k < 50; k++)
            EXPECT_EQ(coir_poll(&p, 1, 0), 0);
        side_start(&writer, nap_and_write, &ends[1]);
        if (i / KINDS % 2)
            EXPECT_EQ(coir_poll(&p, 1, -1), 1);
        read_one(&ends[0]);
        side_wait(&writer);
        EXPECT_EQ(coir_close(ends[0]), 0);
        close(ends[1]);
        int fd = coir_open("/dev/null", O_RDWR);
        EXPECT(fd >= 0);
        EXPECT_EQ(coir_write(fd, "x", 1), 1);
        EXPECT_EQ(coir_close(fd), 0);
    }
    atomic_store(&bomber.stop, 1);
    pthread_join(thread, NULL);
    sigaction(SIGUSR1, &before, NULL);
}

BODY_TEST(reads_wait_for_data, reads_wait)
BODY_TEST(writes_wait_for_room_and_write_all, whole_writes)
BODY_TEST(slow_peers_are_waited_for, one_byte_peers)
BODY_TEST(dont_wait_is_honoured, dont_wait_fails)
BODY_TEST(eventfds_and_timers_wait, counters_wait)
BODY_TEST(terminals_wait_for_a_line, terminals_wait)
BODY_TEST(readers_share_a_descriptor, crowds_share)
BODY_TEST(interruptions_do_not_surface, signals_do_not_surface)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_wait_for_data),
        cmocka_unit_test(writes_wait_for_room_and_write_all),
        cmocka_unit_test(slow_peers_are_waited_for),
        cmocka_unit_test(dont_wait_is_honoured),
        cmocka_unit_test(eventfds_and_timers_wait),
        cmocka_unit_test(terminals_wait_for_a_line),
        cmocka_unit_test(readers_share_a_descriptor),
        cmocka_unit_test(interruptions_do_not_surface),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
