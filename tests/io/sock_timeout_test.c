/* tests/io/sock_timeout_test.c - SO_RCVTIMEO and SO_SNDTIMEO are honoured, late rather than early.
 * SPDX-License-Identifier: MIT */
#include "sides.h"

#define SHORT COIR_MS(15)
#define FOR_EVER COIR_SEC(1000)

static void set_timeout(int fd, int option, int64_t ns)
{
    struct timeval t = { ns / COIR_SEC(1), ns % COIR_SEC(1) / 1000 };
    EXPECT_EQ(setsockopt(fd, SOL_SOCKET, option, &t, sizeof t), 0);
}

/* So that the engine knows it, and believes nothing of the next file of that number. */
static void close_by_us(const int ends[2])
{
    EXPECT_EQ(coir_close(ends[0]), 0);
    EXPECT_EQ(coir_close(ends[1]), 0);
}

/* Calls that end with err, and not before their time. */
#define ENDS_LATE(call, err)                                                                       \
    do {                                                                                           \
        int64_t before_ns = coir_now();                                                            \
        EXPECT_FAILS(call, err);                                                                   \
        EXPECT(coir_now() - before_ns >= SHORT);                                                   \
    } while (0)

static void receives_end(void *arg)
{
    (void)arg;
    for (int kind = UNIX_STREAM; kind < KINDS; kind++) {
        char text[8];
        struct iovec iov = { text, 8 };
        struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
        int ends[2];
        make_ends((enum kind)kind, ends);
        set_timeout(ends[0], SO_RCVTIMEO, SHORT);
        ENDS_LATE(coir_recv(ends[0], text, 8, 0), EAGAIN);
        ENDS_LATE(coir_read(ends[0], text, 8), EAGAIN);
        ENDS_LATE(coir_readv(ends[0], &iov, 1), EAGAIN);
        ENDS_LATE(coir_recvmsg(ends[0], &msg, 0), EAGAIN);
        EXPECT_EQ(send(ends[1], "abc", 3, 0), 3);
        EXPECT_EQ(coir_recv(ends[0], text, 8, MSG_WAITALL), 3);
        COIR_TIMEOUT(COIR_MS(1))
            EXPECT_FAILS(coir_recv(ends[0], text, 8, 0), ETIMEDOUT);
        set_timeout(ends[0], SO_RCVTIMEO, 0);
        set_timeout(ends[0], SO_SNDTIMEO, SHORT);
        COIR_TIMEOUT(3 * SHORT)
            EXPECT_FAILS(coir_recv(ends[0], text, 8, 0), ETIMEDOUT);
        close_by_us(ends);
    }
}

static void sends_end(void *arg)
{
    static char much[1 << 26]; /* more than there is room for, whatever the system's limits */
    (void)arg;
    for (int kind = UNIX_STREAM; kind < KINDS; kind++) {
        int ends[2];
        make_ends((enum kind)kind, ends);
        set_timeout(ends[1], SO_SNDTIMEO, SHORT);
        ssize_t n = coir_write(ends[1], much, sizeof much);
        EXPECT(n > 0 && n < (ssize_t)sizeof much);
        fill(ends[1]);
        ENDS_LATE(coir_send(ends[1], "x", 1, 0), EAGAIN);
        ENDS_LATE(coir_write(ends[1], "x", 1), EAGAIN);
        close_by_us(ends);
    }
}

static void connections_end(void *arg)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof addr;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int second = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)arg;
    EXPECT_EQ(bind(listener, (struct sockaddr *)&addr, len), 0);
    EXPECT_EQ(listen(listener, 0), 0);
    EXPECT_EQ(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    set_timeout(listener, SO_RCVTIMEO, SHORT);
    ENDS_LATE(coir_accept(listener, NULL, NULL), EAGAIN);
    EXPECT_EQ(connect(first, (struct sockaddr *)&addr, len), 0);
    set_timeout(second, SO_SNDTIMEO, SHORT);
    ENDS_LATE(coir_connect(second, (struct sockaddr *)&addr, len), EINPROGRESS);
    close(first);
    close(second);
    close(listener);
}

static void receive_one(void *arg)
{
    char c;
    EXPECT_EQ(coir_recv(*(int *)arg, &c, 1, 0), 1);
}

/* One socket, both ways; the one that has all the time in the world is not asked about in vain. */
static void ways_are_apart(void *arg)
{
    int ends[2];
    struct side reader;
    (void)arg;
    make_ends(UNIX_STREAM, ends);
    set_timeout(ends[0], SO_RCVTIMEO, FOR_EVER);
    side_start(&reader, receive_one, &ends[0]);
    until_waiting(&reader);
    coir_sleep(2 * SHORT); /* its time is known */
    set_timeout(ends[0], SO_SNDTIMEO, SHORT);
    fill(ends[0]);
    ENDS_LATE(coir_send(ends[0], "x", 1, 0), EAGAIN);
    EXPECT_EQ(send(ends[1], "x", 1, 0), 1);
    side_wait(&reader);
    close_by_us(ends);
}

enum { CROWD = 6 };

static void receive_none(void *arg)
{
    char c;
    ENDS_LATE(coir_recv(*(int *)arg, &c, 1, 0), EAGAIN);
}

static void crowds_end(void *arg)
{
    struct side sides[CROWD];
    int ends[2];
    (void)arg;
    make_ends(TCP_STREAM, ends);
    set_timeout(ends[0], SO_RCVTIMEO, SHORT);
    for (int i = 0; i < CROWD; i++)
        side_start(&sides[i], receive_none, &ends[0]);
    for (int i = 0; i < CROWD; i++)
        side_wait(&sides[i]);
    close_by_us(ends);
}

/* What waits for events has a time of its own. */
static void polls_do_not_end(void *arg)
{
    int ends[2];
    struct pollfd p;
    (void)arg;
    make_ends(UNIX_STREAM, ends);
    set_timeout(ends[0], SO_RCVTIMEO, COIR_MS(1));
    p = (struct pollfd){ .fd = ends[0], .events = POLLIN };
    EXPECT_EQ(coir_poll(&p, 1, 30), 0);
    coir_case c = COIR_CASE_FD(ends[0], POLLIN);
    EXPECT_FAILS(coir_select(&c, 1, COIR_MS(30)), ETIMEDOUT);
    close_by_us(ends);
}

/* A socket that is known to have had none. */
static void set_later(void *arg)
{
    char c;
    int ends[2];
    (void)arg;
    make_ends(UNIX_STREAM, ends);
    COIR_TIMEOUT(2 * SHORT)
        EXPECT_FAILS(coir_recv(ends[0], &c, 1, 0), ETIMEDOUT);
    set_timeout(ends[0], SO_RCVTIMEO, SHORT);
    ENDS_LATE(coir_recv(ends[0], &c, 1, 0), EAGAIN);
    ENDS_LATE(coir_recv(ends[0], &c, 1, 0), EAGAIN);
    set_timeout(ends[0], SO_RCVTIMEO, 0);
    COIR_TIMEOUT(4 * SHORT)
        EXPECT_FAILS(coir_recv(ends[0], &c, 1, 0), ETIMEDOUT);
    close_by_us(ends);
}

BODY_TEST(a_timeout_may_be_set_later, set_later)
BODY_TEST(a_receive_ends_with_its_sockets_timeout, receives_end)
BODY_TEST(a_send_ends_with_its_sockets_timeout, sends_end)
BODY_TEST(accept_and_connect_end_with_it_too, connections_end)
BODY_TEST(both_ways_have_their_own, ways_are_apart)
BODY_TEST(all_who_wait_are_ended, crowds_end)
BODY_TEST(polls_are_not_meant, polls_do_not_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_receive_ends_with_its_sockets_timeout),
        cmocka_unit_test(a_send_ends_with_its_sockets_timeout),
        cmocka_unit_test(accept_and_connect_end_with_it_too),
        cmocka_unit_test(both_ways_have_their_own),
        cmocka_unit_test(all_who_wait_are_ended),
        cmocka_unit_test(polls_are_not_meant),
        cmocka_unit_test(a_timeout_may_be_set_later),
    };
    return RUN_ON_ENGINES(tests);
}
