/* tests/io/stale_test.c - what the engine remembers of a descriptor keeps no call from what would
 * not wait, nor lets one have what is another file's by now.
 * SPDX-License-Identifier: MIT
 *
 * Method: a call has waited first, so that the engine knows that there is nothing to read, or no
 * room to write. Then come calls that have nothing to do with that. */
#include "sides.h"

#include <poll.h>

static void read_one(void *arg)
{
    char c;
    EXPECT_EQ(coir_recv(*(int *)arg, &c, 1, 0), 1);
}

static void send_one(int fd)
{
    EXPECT_EQ(send(fd, "1", 1, MSG_NOSIGNAL), 1);
}

/* A pair of whose first end it is known that nothing is there. */
static void empty_pair(enum kind kind, int ends[2])
{
    make_ends(kind, ends);
    for (int i = 0; i < 2; i++) {
        struct side reader;
        side_start(&reader, read_one, &ends[0]);
        until_waiting(&reader);
        send_one(ends[1]);
        side_wait(&reader);
    }
    char c;
    EXPECT_FAILS(coir_recv(ends[0], &c, 1, MSG_DONTWAIT), EAGAIN);
}

static void calls_of_no_bytes(void *arg)
{
    char c;
    int ends[2];
    struct iovec none = { &c, 0 };
    (void)arg;
    for (int kind = UNIX_STREAM; kind < KINDS; kind++) {
        empty_pair((enum kind)kind, ends);
        EXPECT_EQ(coir_read(ends[0], &c, 0), 0);
        EXPECT_EQ(coir_readv(ends[0], &none, 1), 0);
        fill(ends[0]);
        EXPECT_FAILS(coir_send(ends[0], "x", 1, MSG_DONTWAIT), EAGAIN);
        EXPECT_EQ(coir_write(ends[0], "x", 0), 0);
        EXPECT_EQ(coir_writev(ends[0], &none, 1), 0);
        close_ends(ends);
    }
}

/* What is told apart from the data; that there is none says nothing of the data. */
static void other_data(void *arg)
{
    char c;
    int ends[2];
    (void)arg;
    empty_pair(TCP_STREAM, ends);
    EXPECT_FAILS(coir_recv(ends[0], &c, 1, MSG_OOB), EINVAL);
    EXPECT_FAILS(coir_recv(ends[0], &c, 1, MSG_ERRQUEUE), EAGAIN);
    send_one(ends[1]);
    while (recv(ends[0], &c, 1, MSG_PEEK | MSG_DONTWAIT) != 1)
        nap();
    EXPECT_FAILS(coir_recv(ends[0], &c, 1, MSG_ERRQUEUE), EAGAIN);
    EXPECT_FAILS(coir_recv(ends[0], &c, 1, MSG_OOB), EINVAL);
    EXPECT_EQ(coir_recv(ends[0], &c, 1, 0), 1);
    close_ends(ends);
}

static void parts_without_waiting(void *arg)
{
    char text[8];
    int ends[2];
    (void)arg;
    empty_pair(UNIX_STREAM, ends);
    EXPECT_FAILS(coir_recv(ends[0], text, 8, MSG_WAITALL | MSG_DONTWAIT), EAGAIN);
    EXPECT_EQ(send(ends[1], "abc", 3, 0), 3);
    EXPECT_EQ(coir_recv(ends[0], text, 8, MSG_WAITALL | MSG_DONTWAIT), 3);
    close_ends(ends);
}

static void poll_for(void *arg)
{
    struct pollfd *p = arg;
    EXPECT_EQ(coir_poll(p, 1, -1), 1);
    EXPECT(p->revents & p->events);
}

static void other_events(void *arg)
{
    int ends[2];
    (void)arg;
    for (int kind = UNIX_STREAM; kind < KINDS; kind++) {
        struct side side;
        empty_pair((enum kind)kind, ends);
        struct pollfd p = { ends[0], POLLRDNORM, 0 };
        side_start(&side, poll_for, &p);
        until_waiting(&side);
        send_one(ends[1]);
        side_wait(&side);
        close_ends(ends);
    }
}

/* The program has closed the socket by itself; the next file of that number has nothing to wait
 * for. */
static void a_file_of_that_number(void *arg)
{
    char c;
    int ends[2];
    (void)arg;
    empty_pair(TCP_STREAM, ends);
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    EXPECT_EQ(dup2(file, ends[0]), ends[0]);
    EXPECT_EQ(coir_pread(ends[0], &c, 1, 1), 1);
    EXPECT_EQ(c, 'E');
    EXPECT_EQ(coir_read(ends[0], &c, 1), 1);
    close(file);
    close_ends(ends);
}

static void read_closed(void *arg)
{
    char c;
    EXPECT_FAILS(coir_recv(*(int *)arg, &c, 1, 0), EBADF);
}

/* Who does not wait long enough for what is known to be found wrong is not kept waiting again. */
static void short_waits(void *arg)
{
    char c;
    (void)arg;
    for (int kind = UNIX_STREAM; kind < KINDS; kind++) {
        int ends[2], next[2], failed = 0;
        empty_pair((enum kind)kind, ends);
        make_ends((enum kind)kind, next);
        send_one(next[1]);
        EXPECT_EQ(dup2(next[0], ends[0]), ends[0]);
        for (ssize_t n = -1; n < 0 && failed < 3; failed += n < 0)
            COIR_TIMEOUT(COIR_MS(1))
                n = coir_recv(ends[0], &c, 1, 0);
        EXPECT(failed <= 1);
        close_ends(ends);
        close_ends(next);
    }
}

/* Only epoll finds out, when it believed what it knew of the number; a ring goes on with the file
 * that it has. And it tells at once, not when something else happens. */
static void closed_meanwhile(void *arg)
{
    int ends[2];
    (void)arg;
    for (int kind = UNIX_STREAM; kind < KINDS; kind++) {
        struct side reader;
        int64_t before_ns = coir_now();
        empty_pair((enum kind)kind, ends);
        side_start(&reader, read_closed, &ends[0]);
        until_waiting(&reader);
        close(ends[0]);
        side_wait(&reader);
        EXPECT(coir_now() - before_ns < LONG / 2);
        close(ends[1]);
    }
}

/* A ring waits on, unless it is interrupted. */
static void read_old(void *arg)
{
    char c;
    ssize_t n = coir_recv(*(int *)arg, &c, 1, 0);
    EXPECT((n == 1 && c == '2') || (n < 0 && errno == EBADF));
}

/* Who waits for a file that was closed does not get the data of the next one. */
static void next_connection(void *arg)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof addr;
    int ends[2], listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct side old, new;
    (void)arg;
    EXPECT_EQ(bind(listener, (struct sockaddr *)&addr, len), 0);
    EXPECT_EQ(listen(listener, 1), 0);
    EXPECT_EQ(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    EXPECT_EQ(connect(peer, (struct sockaddr *)&addr, len), 0);
    empty_pair(UNIX_STREAM, ends);
    side_start(&old, read_old, &ends[0]);
    until_waiting(&old);
    close(ends[0]);
    int fd = coir_accept(listener, NULL, NULL);
    EXPECT_EQ(fd, ends[0]);
    side_start(&new, read_one, &fd);
    until_waiting(&new);
    send_one(peer);
    side_wait(&new);
    send(ends[1], "2", 1, MSG_NOSIGNAL);
    side_wait(&old);
    close(fd);
    close(peer);
    close(ends[1]);
    close(listener);
}

static void *receive_all(void *arg)
{
    char text[10];
    EXPECT(coir_recv(*(int *)arg, text, sizeof text, MSG_WAITALL) >= 3);
    return NULL;
}

/* What has come is not lost when the descriptor is closed before the fiber gets its turn. */
static void closed_before_its_turn(void *arg)
{
    int ends[2];
    (void)arg;
    make_ends(UNIX_STREAM, ends);
    EXPECT_EQ(send(ends[1], "abc", 3, 0), 3);
    coir_fiber *f = coir_spawn(receive_all, &ends[0]);
    until_parked(f);
    until_submitted();
    send_one(ends[1]);
    coir_sleep(1);
    EXPECT_EQ(coir_close(ends[0]), 0);
    join(f);
    close(ends[1]);
}

static void what_has_come_is_not_lost_by_a_close(void **state)
{
    (void)state;
    run_on_each(closed_before_its_turn, NULL);
}

static void a_close_that_is_not_ours_is_found_out(void **state)
{
    (void)state;
    if (!rung->epoll)
        skip();
    run_on(1, closed_meanwhile, NULL);
}

static void the_next_connection_gets_its_own_data(void **state)
{
    (void)state;
    run_on(1, next_connection, NULL);
}

static void no_bytes_are_not_waited_for(void **state)
{
    (void)state;
    SKIP_UNDER_QEMU("knows no preadv2, which tells no bytes from none yet");
    run_everywhere(calls_of_no_bytes, NULL);
}

BODY_TEST(what_is_apart_from_the_data_is_told, other_data)
BODY_TEST(a_part_is_taken_without_waiting, parts_without_waiting)
BODY_TEST(every_event_ends_a_poll, other_events)
BODY_TEST(short_waits_find_out, short_waits)
BODY_TEST(a_file_of_that_number_is_read, a_file_of_that_number)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_bytes_are_not_waited_for),
        cmocka_unit_test(what_is_apart_from_the_data_is_told),
        cmocka_unit_test(a_part_is_taken_without_waiting),
        cmocka_unit_test(every_event_ends_a_poll),
        cmocka_unit_test(short_waits_find_out),
        cmocka_unit_test(a_file_of_that_number_is_read),
        cmocka_unit_test(a_close_that_is_not_ours_is_found_out),
        cmocka_unit_test(the_next_connection_gets_its_own_data),
        cmocka_unit_test(what_has_come_is_not_lost_by_a_close),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
