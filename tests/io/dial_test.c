/* tests/io/dial_test.c - coir_tcp_dial and coir_tcp_listen with hosts that have names, and several
 * addresses.
 * SPDX-License-Identifier: MIT
 *
 * All addresses are of this machine, and have one port in common. At some of them somebody listens;
 * at others nobody does, which refuses; and at some the queue is full, so that what comes is
 * dropped: a black hole. */
#include "sides.h"
#include "support/fake_names.h"

enum { GOOD_MAX = 4 };

/* A name each: holes are 127.0.1.x, and nobody is at 127.0.2.x. Nobody has a way to 224.0.0.x. */
static const struct fake_name known[] = {
    { "good.test", 0, { "127.0.0.1", "127.0.0.2", NULL } },
    { "six.test", 0, { "::1", "127.0.0.1", NULL } },
    { "hole-then-good.test", 0, { "127.0.1.1", "127.0.0.2", NULL } },
    { "families.test", 0, { "127.0.1.1", "127.0.0.1", "::1", NULL } },
    { "holes.test", 0, { "127.0.1.1", "127.0.1.2", "127.0.1.3", NULL } },
    { "many-holes.test", 0, { "127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.1", "127.0.1.2",
                              "127.0.1.3", "127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.1",
                              "127.0.1.2", "127.0.1.3", "127.0.1.1", "127.0.1.2", "127.0.1.3",
                              "127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.0.1", NULL } },
    { "refused.test", 0, { "127.0.2.1", "127.0.2.2", NULL } },
    { "hole-then-refused.test", 0, { "127.0.1.1", "127.0.2.1", NULL } },
    { "no-way.test", 0, { "224.0.0.1", "224.0.0.2", NULL } },
    { "no-way-and-refused.test", 0, { "224.0.0.1", "127.0.2.1", "224.0.0.2", NULL } },
    { "again.test", EAI_AGAIN, { NULL } },
    { "broken.test", EAI_SYSTEM, { NULL } },
    { "memory.test", EAI_MEMORY, { NULL } },
    { "service.test", EAI_SERVICE, { NULL } },
    { NULL, 0, { NULL } },
};

struct places {
    char port[8];
    int good[GOOD_MAX], holes[3], stuck[3];
};

static int port_of(int fd)
{
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    EXPECT_EQ(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    return ntohs(addr.sin_port);
}

/* Its queue has room for one, who is there. */
static void make_hole(struct places *p, int i)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(p->port)) };
    addr.sin_addr.s_addr = htonl(0x7f000101 + (uint32_t)i);
    p->holes[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(p->holes[i], (struct sockaddr *)&addr, sizeof addr), 0);
    EXPECT_EQ(listen(p->holes[i], 0), 0);
    p->stuck[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(p->stuck[i], (struct sockaddr *)&addr, sizeof addr), 0);
}

static bool make_places(struct places *p)
{
    fake_names = known;
    p->good[0] = coir_tcp_listen("127.0.0.1", "0", 0);
    sprintf(p->port, "%d", port_of(p->good[0]));
    p->good[1] = coir_tcp_listen("127.0.0.2", p->port, 0);
    p->good[2] = coir_tcp_listen("::1", p->port, 0);
    for (int i = 0; i < 3; i++)
        make_hole(p, i);
    return p->good[2] >= 0;
}

static void close_places(struct places *p)
{
    for (int i = 0; i < 3; i++) {
        if (p->good[i] >= 0)
            close(p->good[i]);
        close(p->holes[i]);
        close(p->stuck[i]);
    }
    EXPECT_EQ(fake.entries, 0);
}

/* Dial host, and see who answers. */
static void answers_from(const struct places *p, const char *host, const char *who)
{
    struct sockaddr_in6 six;
    socklen_t len = sizeof six;
    char text[INET6_ADDRSTRLEN] = "";
    int on = 0, fd = coir_tcp_dial(host, p->port);
    if (!EXPECT(fd >= 0))
        return;
    EXPECT_EQ(getpeername(fd, (struct sockaddr *)&six, &len), 0);
    if (six.sin6_family == AF_INET6)
        inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof text);
    else
        inet_ntop(AF_INET, &((struct sockaddr_in *)&six)->sin_addr, text, sizeof text);
    EXPECT_EQ(strcmp(text, who), 0);
    EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    len = sizeof on;
    EXPECT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    EXPECT(on);
    EXPECT_EQ(coir_close(fd), 0);
}

static void first_answers(void *arg)
{
    struct places p;
    (void)arg;
    bool six = make_places(&p);
    answers_from(&p, "good.test", "127.0.0.1");
    answers_from(&p, "six.test", six ? "::1" : "127.0.0.1");
    answers_from(&p, "hole-then-good.test", "127.0.0.2");
    answers_from(&p, "families.test", six ? "::1" : "127.0.0.1");
    close_places(&p);
}

/* If each had its quarter of a second, this would take longer than a body may. */
static void refused_and_on(void *arg)
{
    static struct fake_name many[2] = { { "many.test", 0, { NULL } } };
    static char text[63][16];
    struct places p;
    (void)arg;
    make_places(&p);
    for (int i = 0; i < 63; i++) {
        sprintf(text[i], "127.0.2.%d", i + 1);
        many[0].addrs[i] = i == 0 ? "127.0.1.1" : i == 62 ? "127.0.0.2" : text[i];
    }
    many[0].addrs[63] = NULL;
    fake_names = many;
    for (int i = 0; i < 2; i++)
        answers_from(&p, "many.test", "127.0.0.2");
    close_places(&p);
}

static void failures(void *arg)
{
    static const char *const hosts[] = { "none.test", "",      "127.0.0.256", "::g",
                                         "[::1]",     "1.2.3", "localhost.",  " 127.0.0.1" };
    struct places p;
    (void)arg;
    make_places(&p);
    EXPECT_FAILS(coir_tcp_dial("refused.test", p.port), ECONNREFUSED);
    EXPECT_FAILS(coir_tcp_dial("no-way.test", p.port), ENETUNREACH);
    EXPECT_FAILS(coir_tcp_dial("no-way-and-refused.test", p.port), ECONNREFUSED);
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        EXPECT_FAILS(coir_tcp_listen(hosts[i], "0", 0), EHOSTUNREACH);
        EXPECT_FAILS(coir_tcp_dial(hosts[i], p.port), EHOSTUNREACH);
    }
    EXPECT_FAILS(coir_tcp_dial("again.test", p.port), ETIMEDOUT);
    EXPECT_FAILS(coir_tcp_dial("broken.test", p.port), EIO);
    EXPECT_FAILS(coir_tcp_dial("memory.test", p.port), ENOMEM);
    EXPECT_FAILS(coir_tcp_dial("service.test", "x"), EINVAL);
    EXPECT_FAILS(coir_tcp_dial("good.test", "-1"), EINVAL);
    EXPECT_FAILS(coir_tcp_listen("again.test", "0", 0), ETIMEDOUT);
    EXPECT_FAILS(coir_tcp_listen("no-way.test", "65536", 0), EINVAL);
    close_places(&p);
}

static void stopped_early(void *arg)
{
    struct places p;
    (void)arg;
    make_places(&p);
    for (int ms = 1; ms <= 300; ms += 299)
        COIR_TIMEOUT(COIR_MS(ms))
            EXPECT_FAILS(coir_tcp_dial("holes.test", p.port), ETIMEDOUT);
    COIR_TIMEOUT(COIR_MS(300))
        EXPECT_FAILS(coir_tcp_dial("hole-then-refused.test", p.port), ETIMEDOUT);
    COIR_TIMEOUT(-1)
        EXPECT_FAILS(coir_tcp_dial("good.test", p.port), ETIMEDOUT);
    close_places(&p);
}

static void *dial_holes(void *arg)
{
    EXPECT_FAILS(coir_tcp_dial("holes.test", arg), ECANCELED);
    return NULL;
}

static void cancelled(void *arg)
{
    struct places p;
    (void)arg;
    make_places(&p);
    coir_fiber *f = spawn_apart(dial_holes, p.port);
    int fds = test_fds_open();
    while (test_fds_open() < fds + 2)
        nap(); /* two attempts are under way */
    coir_cancel(f);
    join(f);
    close_places(&p);
}

static void listens(void *arg)
{
    struct places p;
    (void)arg;
    make_places(&p);
    int fd = coir_tcp_listen("good.test", "0", 0), other;
    EXPECT(fd >= 0);
    sprintf(p.port, "%d", port_of(fd));
    answers_from(&p, "good.test", "127.0.0.1");
    EXPECT_FAILS(coir_tcp_listen("127.0.0.1", p.port, COIR_REUSEPORT | 5), EADDRINUSE);
    close(fd);
    fd = coir_tcp_listen("127.0.0.1", "0", COIR_REUSEPORT);
    sprintf(p.port, "%d", port_of(fd));
    other = coir_tcp_listen("127.0.0.1", p.port, COIR_REUSEPORT | 5);
    EXPECT(fd >= 0 && other >= 0);
    EXPECT_FAILS(coir_tcp_listen("127.0.0.1", p.port, 5), EADDRINUSE);
    answers_from(&p, "127.0.0.1", "127.0.0.1");
    close(fd);
    close(other);
    close_places(&p);
}

BODY_TEST(the_first_to_answer_is_taken, first_answers)
BODY_TEST(a_refusal_lets_the_next_begin, refused_and_on)
BODY_TEST(failures_are_told_as_errnos, failures)
BODY_TEST(a_deadline_ends_all_attempts, stopped_early)
BODY_TEST(listening_finds_names_and_shares_ports, listens)

static void a_cancel_ends_all_attempts(void **state)
{
    (void)state;
    run_on_each(cancelled, NULL);
}

/* There are more than are tried at once: the oldest are given up. */
static void past_the_holes(void *arg)
{
    struct places p;
    (void)arg;
    make_places(&p);
    answers_from(&p, "many-holes.test", "127.0.0.1");
    close_places(&p);
}

static void one_comes_after_many_that_do_not_answer(void **state)
{
    (void)state;
    if (rung->epoll)
        skip(); /* it takes five seconds, and the engine only tells that one is ready */
    run_on(1, past_the_holes, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_to_answer_is_taken),
        cmocka_unit_test(a_refusal_lets_the_next_begin),
        cmocka_unit_test(failures_are_told_as_errnos),
        cmocka_unit_test(a_deadline_ends_all_attempts),
        cmocka_unit_test(a_cancel_ends_all_attempts),
        cmocka_unit_test(listening_finds_names_and_shares_ports),
        cmocka_unit_test(one_comes_after_many_that_do_not_answer),
    };
    return RUN_ON_ENGINES(tests);
}
