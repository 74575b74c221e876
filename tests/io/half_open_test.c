/* tests/io/half_open_test.c - a connection that is reset, or closed in one direction, at every
 * moment of its life: the errors are the plain call's, nobody waits for ever, and no SIGPIPE comes.
 * SPDX-License-Identifier: MIT
 *
 * Method: where nobody has to wait, scripts are run both ways (script.h); where somebody does, the
 * other side resets once he waits. SIGPIPE has its default here, which kills. What waits in an
 * established connection is in trouble_test.c. */
#include "calls_that_wait.h"
#include "script.h"

struct server {
    int listener;
    struct sockaddr_in addr;
};

static struct server open_server(void)
{
    struct server s = { .addr = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } } };
    socklen_t len = sizeof s.addr;
    s.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(s.listener, (struct sockaddr *)&s.addr, len), 0);
    EXPECT_EQ(listen(s.listener, 8), 0);
    EXPECT_EQ(getsockname(s.listener, (struct sockaddr *)&s.addr, &len), 0);
    return s;
}

static int client_of(const struct server *s)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd, (const struct sockaddr *)&s->addr, sizeof s->addr), 0);
    return fd;
}

static void reset(int fd)
{
    struct linger now = { 1, 0 };
    EXPECT_EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    close(fd);
}

static void until_readable(int fd)
{
    struct pollfd p = { fd, POLLIN, 0 };
    EXPECT_EQ(poll(&p, 1, 10000), 1);
}

/* Every way to read or write it, one after the other. */
static void use_up(struct script *s, int fd)
{
    char buf[16] = "";
    struct iovec iov[] = { { buf, 4 }, { buf + 4, 4 } };
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
    struct pollfd p = { fd, POLLIN | POLLOUT | POLLRDHUP, 0 };
    STEP(s, poll(&p, 1, 0));
    SAME(s, p.revents);
    STEP(s, recv(fd, buf, 4, MSG_PEEK));
    STEP(s, read(fd, buf, 3));
    STEP(s, readv(fd, iov, 2));
    STEP(s, recvmsg(fd, &msg, 0));
    STEP(s, recv(fd, buf, 4, MSG_WAITALL));
    STEP(s, write(fd, "x", 1));
    STEP(s, writev(fd, iov, 2));
    STEP(s, sendmsg(fd, &msg, 0));
    STEP(s, send(fd, "x", 1, 0));
    STEP(s, connect(fd, (struct sockaddr *)&(struct sockaddr){ .sa_family = AF_INET }, 16));
    STEP(s, accept(fd, NULL, NULL));
    STEP(s, poll(&p, 1, 0));
    SAME(s, p.revents);
    STEP(s, close(fd));
}

/* The connection is gone before it is accepted: accept brings it all the same. */
static void reset_before_accept(struct script *s)
{
    struct server server = open_server();
    for (int sent = 0; sent < 2; sent++) {
        int fd, client = client_of(&server);
        if (sent)
            SAME(s, write(client, "late", 4));
        until_readable(server.listener);
        reset(client);
        STEP_FD(s, fd, accept(server.listener, NULL, NULL));
        until_readable(fd);
        use_up(s, fd);
    }
    SAME(s, close(server.listener));
}

/* A listener that is closed resets who has connected and was not accepted. */
static void reset_by_a_listener(struct script *s)
{
    struct server server = open_server();
    int client = client_of(&server);
    close(server.listener);
    until_readable(client);
    use_up(s, client);
}

/* Reset by a peer that had data unread, and by one that has closed half before. */
static void reset_with_data(struct script *s)
{
    int t[2];
    char c;
    tcp_pair(t);
    SAME(s, write(t[0], "unread", 6));
    until_readable(t[1]);
    SAME(s, close(t[1]));
    until_readable(t[0]);
    use_up(s, t[0]);
    tcp_pair(t);
    SAME(s, shutdown(t[1], SHUT_WR));
    until_readable(t[0]);
    STEP(s, read(t[0], &c, 1));
    STEP(s, write(t[0], "x", 1));
    until_readable(t[1]);
    reset(t[1]);
    struct pollfd p = { t[0], 0, 0 };
    SAME(s, poll(&p, 1, 10000)); /* POLLHUP, POLLERR */
    use_up(s, t[0]);
}

static void half_closed(struct script *s, int t[2])
{
    char buf[16] = "";
    STEP(s, write(t[1], "last", 4));
    SAME(s, shutdown(t[1], SHUT_WR));
    STEP(s, write(t[1], "x", 1));
    STEP(s, send(t[1], "x", 1, 0));
    until_readable(t[0]);
    STEP(s, recv(t[0], buf, 2, MSG_WAITALL));
    STEP(s, read(t[0], buf, sizeof buf));
    STEP(s, read(t[0], buf, sizeof buf));
    STEP(s, recv(t[0], buf, sizeof buf, MSG_WAITALL));
    STEP(s, recv(t[0], buf, sizeof buf, MSG_PEEK));
    STEP(s, write(t[0], "answer", 6)); /* the other direction goes on */
    until_readable(t[1]);
    STEP(s, read(t[1], buf, sizeof buf));
    BYTES(s, buf, sizeof buf);
    SAME(s, shutdown(t[0], SHUT_RDWR));
    STEP(s, write(t[0], "x", 1));
    STEP(s, read(t[0], buf, 1));
    until_readable(t[1]);
    use_up(s, t[1]);
    use_up(s, t[0]);
}

static void half_closed_tcp(struct script *s)
{
    int t[2];
    tcp_pair(t);
    half_closed(s, t);
}

static void half_closed_unix(struct script *s)
{
    int t[2];
    SAME(s, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, t));
    half_closed(s, t);
}

#define SCRIPT_TEST(name, script)                                                                  \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        compare(script);                                                                           \
    }

SCRIPT_TEST(reset_before_accept_is_like_posix, reset_before_accept)
SCRIPT_TEST(reset_by_a_closed_listener_is_like_posix, reset_by_a_listener)
SCRIPT_TEST(reset_with_data_is_like_posix, reset_with_data)
SCRIPT_TEST(half_closed_tcp_is_like_posix, half_closed_tcp)
SCRIPT_TEST(half_closed_unix_is_like_posix, half_closed_unix)

struct writer {
    int ends[2];
    long result, then, in_the_end;
};

enum { MUCH = 8 << 20 };

static void write_much(void *arg)
{
    static char much[MUCH];
    struct writer *w = arg;
    char c;
    w->result = minus_errno(coir_write(w->ends[0], much, sizeof much));
    w->then = minus_errno(coir_write_all(w->ends[0], much, sizeof much));
    w->in_the_end = minus_errno(coir_read(w->ends[0], &c, 1));
}

/* In the middle of a large write, with part of it taken: what is gone is told first, then why. */
static void writers_are_reset(void *arg)
{
    (void)arg;
    for (int kind = UNIX_STREAM; kind < KINDS; kind++) {
        struct side side;
        struct writer w = { .result = 0 };
        char buf[4096];
        make_ends((enum kind)kind, w.ends);
        side_start(&side, write_much, &w);
        EXPECT(coir_read(w.ends[1], buf, sizeof buf) > 0);
        until_waiting(&side);
        if (kind == TCP_STREAM)
            reset(w.ends[1]);
        else
            close(w.ends[1]);
        side_wait(&side);
        EXPECT(w.result > 0 && w.result < MUCH);
        EXPECT(w.then == -EPIPE || w.then == -ECONNRESET);
        EXPECT(w.in_the_end == 0 || w.in_the_end == -ECONNRESET);
        EXPECT_EQ(coir_close(w.ends[0]), 0);
    }
}

struct talk {
    int ends[2];
    _Atomic int read_end, wrote;
};

static void read_to_the_end(void *arg)
{
    struct talk *t = arg;
    char buf[64];
    ssize_t n;
    while ((n = coir_read(t->ends[0], buf, sizeof buf)) > 0)
        ;
    EXPECT_EQ(n, 0);
    atomic_store(&t->read_end, 1);
}

static void fill_up(void *arg)
{
    static char much[MUCH];
    struct talk *t = arg;
    EXPECT_EQ(coir_write_all(t->ends[0], much, sizeof much), MUCH);
    atomic_store(&t->wrote, 1);
}

/* The end of one direction wakes who reads, and not who waits for room in the other. */
static void one_direction_ends(void *arg)
{
    (void)arg;
    for (int kind = UNIX_STREAM; kind < KINDS; kind++) {
        struct talk t = { .ends = { -1, -1 } };
        struct side reader, writer;
        static char sink[1 << 16];
        size_t got = 0;
        ssize_t n;
        make_ends((enum kind)kind, t.ends);
        side_start(&reader, read_to_the_end, &t);
        side_start(&writer, fill_up, &t);
        until_waiting(&reader);
        until_waiting(&writer);
        EXPECT_EQ(shutdown(t.ends[1], SHUT_WR), 0);
        side_wait(&reader);
        EXPECT_EQ(atomic_load(&t.read_end), 1);
        EXPECT_EQ(atomic_load(&t.wrote), 0);
        while (got < MUCH && (n = coir_read(t.ends[1], sink, sizeof sink)) > 0)
            got += (size_t)n;
        EXPECT_EQ(got, MUCH);
        side_wait(&writer);
        EXPECT_EQ(coir_close(t.ends[0]) | coir_close(t.ends[1]), 0);
    }
}

BODY_TEST(a_reset_in_the_middle_of_a_write_tells_what_went, writers_are_reset)
BODY_TEST(the_end_of_one_direction_leaves_the_other, one_direction_ends)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reset_before_accept_is_like_posix),
        cmocka_unit_test(reset_by_a_closed_listener_is_like_posix),
        cmocka_unit_test(reset_with_data_is_like_posix),
        cmocka_unit_test(half_closed_tcp_is_like_posix),
        cmocka_unit_test(half_closed_unix_is_like_posix),
        cmocka_unit_test(a_reset_in_the_middle_of_a_write_tells_what_went),
        cmocka_unit_test(the_end_of_one_direction_leaves_the_other),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
