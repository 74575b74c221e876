/* tests/io/raw_terminal_test.c - terminals in raw mode, and such as are hung up.
 * SPDX-License-Identifier: MIT
 *
 * Goal: bytes come as they are typed; VMIN means what it means to read(2); a terminal
 * whose other side has gone fails with EIO, or has ended, as for the plain call, and wakes who
 * waits. Lines are in waiting_test.c. */
#include "script.h"
#include "sides.h"

#include <pty.h>
#include <termios.h>

static void open_raw(int *master, int *slave, int min, int tenths)
{
    struct termios raw;
    EXPECT_EQ(openpty(master, slave, NULL, NULL, NULL), 0);
    fcntl(*master, F_SETFD, FD_CLOEXEC);
    fcntl(*slave, F_SETFD, FD_CLOEXEC);
    EXPECT_EQ(tcgetattr(*slave, &raw), 0);
    cfmakeraw(&raw);
    raw.c_cc[VMIN] = (cc_t)min;
    raw.c_cc[VTIME] = (cc_t)tenths;
    EXPECT_EQ(tcsetattr(*slave, TCSANOW, &raw), 0);
}

/* What is typed is there: the kernel carries it over on a thread of its own. */
static void until_typed(int fd)
{
    struct pollfd p = { fd, POLLIN, 0 };
    EXPECT_EQ(poll(&p, 1, 10000), 1);
}

static void raw_script(struct script *s)
{
    int master, slave;
    char buf[32] = "";
    struct iovec iov[] = { { buf, 1 }, { buf + 1, 8 } };
    open_raw(&master, &slave, 1, 0);
    STEP(s, write(master, "a\004\003\n\000b", 6)); /* none of them means anything */
    until_typed(slave);
    usleep(1000);
    STEP(s, read(slave, buf, 2));
    STEP(s, readv(slave, iov, 2));
    BYTES(s, buf, sizeof buf);
    STEP(s, write(slave, "x\ny", 3)); /* no carriage return is added */
    until_typed(master);
    STEP(s, read(master, buf, sizeof buf));
    BYTES(s, buf, sizeof buf);
    STEP(s, close(master));
    STEP(s, close(slave));
}

/* Reads that do not wait for what is typed, or not for ever. */
static void anyhow_script(struct script *s)
{
    char buf[32] = "";
    struct iovec iov = { buf, 8 };
    for (int tenths = 0; tenths < 2; tenths++) {
        int master, slave;
        open_raw(&master, &slave, 0, tenths);
        STEP(s, read(slave, buf, 8));
        STEP(s, readv(slave, &iov, 1));
        SAME(s, write(master, "abc", 3));
        until_typed(slave);
        STEP(s, read(slave, buf, 8));
        BYTES(s, buf, sizeof buf);
        STEP(s, read(slave, buf, 8));
        STEP(s, close(master));
        STEP(s, close(slave));
    }
}

/* The side that goes first. */
static void hung_up_script(struct script *s)
{
    int master, slave;
    char buf[32] = "";
    struct pollfd p = { -1, POLLIN | POLLOUT, 0 };
    open_raw(&master, &slave, 1, 0);
    SAME(s, close(master));
    p.fd = slave;
    STEP(s, poll(&p, 1, 0));
    SAME(s, p.revents);
    STEP(s, read(slave, buf, sizeof buf)); /* the end */
    STEP(s, read(slave, buf, sizeof buf));
    STEP(s, write(slave, "x", 1)); /* EIO */
    STEP(s, writev(slave, &(struct iovec){ buf, 4 }, 1));
    STEP(s, fsync(slave));
    STEP(s, close(slave));
    open_raw(&master, &slave, 1, 0);
    SAME(s, write(slave, "last", 4));
    SAME(s, close(slave));
    p.fd = master;
    until_typed(master);
    STEP(s, poll(&p, 1, 0));
    SAME(s, p.revents);
    STEP(s, read(master, buf, sizeof buf)); /* what was written before comes first */
    STEP(s, read(master, buf, sizeof buf));
    STEP(s, read(master, buf, sizeof buf));
    STEP(s, write(master, "x", 1));
    STEP(s, close(master));
}

static void raw_mode_is_like_posix(void **state)
{
    (void)state;
    compare(raw_script);
}

static void reads_that_do_not_wait_are_like_posix(void **state)
{
    (void)state;
    compare(anyhow_script);
}

static void a_hung_up_terminal_is_like_posix(void **state)
{
    (void)state;
    compare(hung_up_script);
}

struct typist {
    int fd, room;
    char buf[16];
    long result, again;
    _Atomic int turns, over;
};

static void read_typed(void *arg)
{
    struct typist *t = arg;
    t->result = minus_errno(coir_read(t->fd, t->buf, (size_t)t->room));
}

static void each_byte_comes(void *arg)
{
    (void)arg;
    for (int ours = 0; ours < 2; ours++) { /* which side reads */
        struct side side;
        struct typist t = { .room = 16 };
        int fd[2];
        open_raw(&fd[0], &fd[1], 1, 0);
        t.fd = fd[!ours];
        for (int i = 0; i < 5; i++) {
            char c = (char)('a' + i);
            side_start(&side, read_typed, &t);
            until_waiting(&side);
            EXPECT_EQ(coir_write(fd[ours], &c, 1), 1);
            side_wait(&side);
            EXPECT_EQ(t.result, 1);
            EXPECT_EQ(t.buf[0], c);
        }
        EXPECT_EQ(coir_close(fd[0]) | coir_close(fd[1]), 0);
    }
}

/* With VMIN a read waits for so many, or for its own buffer to be full. */
static void so_many_are_waited_for(void *arg)
{
    (void)arg;
    struct side side;
    struct typist t = { .room = 16 };
    int master, slave;
    open_raw(&master, &slave, 3, 0);
    t.fd = slave;
    side_start(&side, read_typed, &t);
    until_waiting(&side);
    EXPECT_EQ(coir_write(master, "a", 1), 1);
    EXPECT_EQ(coir_write(master, "bc", 2), 2);
    side_wait(&side);
    EXPECT_EQ(t.result, 3);
    EXPECT(memcmp(t.buf, "abc", 3) == 0);
    EXPECT_EQ(coir_close(master) | coir_close(slave), 0);
}

enum end { MASTER_CLOSES, SLAVE_CLOSES, CLOSED_BY_US, BY_DEADLINE, ENDS };

/* Whatever ends it, who waits hears of it. */
static void hang_ups_wake(void *arg)
{
    (void)arg;
    for (int end = 0; end < ENDS; end++) {
        struct side side;
        struct typist t = { .room = 16 };
        int master, slave;
        open_raw(&master, &slave, 1, 0);
        t.fd = end == SLAVE_CLOSES ? master : slave;
        if (end == BY_DEADLINE) {
            COIR_TIMEOUT(COIR_MS(2))
                read_typed(&t);
        } else {
            side_start(&side, read_typed, &t);
            until_waiting(&side);
            int *closed = end == MASTER_CLOSES ? &master : &slave;
            EXPECT_EQ(end == CLOSED_BY_US ? coir_close(*closed) : close(*closed), 0);
            *closed = -1; /* the number may be another's by now */
            side_wait(&side);
        }
        EXPECT_EQ(t.result, end == MASTER_CLOSES  ? 0
                            : end == SLAVE_CLOSES ? -EIO
                            : end == CLOSED_BY_US ? -EBADF
                                                  : -ETIMEDOUT);
        if (end == BY_DEADLINE) { /* and nothing was taken */
            EXPECT_EQ(coir_write(master, "z", 1), 1);
            read_typed(&t);
            EXPECT_EQ(t.result, 1);
        }
        close(master);
        close(slave);
    }
}

static void write_until_it_ends(void *arg)
{
    static char much[1 << 16];
    struct typist *t = arg;
    t->result = minus_errno(coir_write(t->fd, much, sizeof much));
    t->again = minus_errno(coir_write(t->fd, much, sizeof much));
}

static void *count_turns(void *arg)
{
    struct typist *t = arg;
    while (!atomic_load(&t->over)) {
        atomic_fetch_add(&t->turns, 1);
        COIR_SHIELD(LONG)
            coir_sleep(COIR_US(100));
    }
    return NULL;
}

/* A terminal that nobody reads is full some time; then it is hung up. */
static void writers_are_hung_up(void *arg)
{
    (void)arg;
    struct side side;
    struct typist t = { .room = 16 };
    int master, slave;
    open_raw(&master, &slave, 1, 0);
    t.fd = slave;
    side_start(&side, write_until_it_ends, &t);
    until_waiting(&side);
    coir_fiber *others = coir_spawn(count_turns, &t); /* who have their turns meanwhile */
    while (atomic_load(&t.turns) < 5)
        coir_sleep(COIR_US(100));
    close(master);
    side_wait(&side);
    atomic_store(&t.over, 1);
    join(others);
    EXPECT(t.result == -EIO || (t.result > 0 && t.result < 1 << 16));
    EXPECT_EQ(t.again, -EIO);
    EXPECT_EQ(coir_close(slave), 0);
}

BODY_TEST(raw_bytes_come_one_by_one, each_byte_comes)
BODY_TEST(vmin_is_waited_for, so_many_are_waited_for)
BODY_TEST(a_hang_up_wakes_who_reads, hang_ups_wake)
BODY_TEST(a_hang_up_wakes_who_writes, writers_are_hung_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raw_mode_is_like_posix),
        cmocka_unit_test(reads_that_do_not_wait_are_like_posix),
        cmocka_unit_test(a_hung_up_terminal_is_like_posix),
        cmocka_unit_test(raw_bytes_come_one_by_one),
        cmocka_unit_test(vmin_is_waited_for),
        cmocka_unit_test(a_hang_up_wakes_who_reads),
        cmocka_unit_test(a_hang_up_wakes_who_writes),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
