/* tests/io/tcp_test.c - coir_tcp_listen and coir_tcp_dial.
 * SPDX-License-Identifier: MIT */
#include "sides.h"

#include <netinet/tcp.h>

static int has_ipv6(void)
{
    struct sockaddr_in6 addr = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int has = fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0;
    close(fd);
    return has;
}

static const char *port_of(int fd, char text[8])
{
    struct sockaddr_in6 addr;
    socklen_t len = sizeof addr;
    EXPECT_EQ(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    sprintf(text, "%d", ntohs(addr.sin6_port)); /* at the same place in IPv4's */
    return text;
}

static int family_of(int fd)
{
    struct sockaddr addr = { 0 };
    socklen_t len = sizeof addr;
    EXPECT_EQ(getsockname(fd, &addr, &len), 0);
    return addr.sa_family;
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    EXPECT_EQ(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static void accept_and_echo(void *arg)
{
    char c;
    int fd = coir_accept(*(int *)arg, NULL, NULL);
    EXPECT(fd >= 0);
    EXPECT_EQ(coir_read(fd, &c, 1), 1);
    EXPECT_EQ(coir_write(fd, &c, 1), 1);
    EXPECT_EQ(coir_close(fd), 0);
}

/* From there to here a byte goes, and back. */
static void goes_through(int listener, const char *host)
{
    struct side server;
    char port[8], c = 0;
    side_start(&server, accept_and_echo, &listener);
    int fd = coir_tcp_dial(host, port_of(listener, port));
    EXPECT(fd >= 0);
    EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    EXPECT(option(fd, IPPROTO_TCP, TCP_NODELAY) != 0);
    EXPECT_EQ(coir_write(fd, "x", 1), 1);
    EXPECT_EQ(coir_read(fd, &c, 1), 1);
    EXPECT_EQ(c, 'x');
    EXPECT_EQ(coir_read(fd, &c, 1), 0);
    EXPECT_EQ(coir_close(fd), 0);
    side_wait(&server);
}

static void hosts_are_found(void *arg)
{
    (void)arg;
    static const struct {
        const char *host;
        int family, six; /* six: needs IPv6 */
        const char *from[4];
    } cases[] = {
        { NULL, AF_INET6, 1, { "127.0.0.1", "::1", "localhost", NULL } },
        { "localhost", AF_INET, 0, { "localhost", "127.0.0.1", NULL } },
        { "LocalHost", AF_INET, 0, { "LOCALHOST", NULL } },
        { "127.0.0.1", AF_INET, 0, { "127.0.0.1", "localhost", NULL } },
        { "0.0.0.0", AF_INET, 0, { "127.0.0.2", NULL } },
        { "::1", AF_INET6, 1, { "::1", "localhost", "0:0:0:0:0:0:0:1", NULL } },
        { "::", AF_INET6, 1, { "::1", "::ffff:127.0.0.1", NULL } },
    };
    int six = has_ipv6();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i].six && cases[i].host && !six)
            continue;
        int listener = coir_tcp_listen(cases[i].host, "0", 0);
        EXPECT(listener >= 0);
        EXPECT_EQ(fcntl(listener, F_GETFD), FD_CLOEXEC);
        EXPECT_EQ(option(listener, SOL_SOCKET, SO_REUSEADDR), 1);
        EXPECT_EQ(family_of(listener), six ? cases[i].family : AF_INET);
        for (const char *const *from = cases[i].from; *from; from++)
            if (six || !strchr(*from, ':'))
                goes_through(listener, *from);
        EXPECT_EQ(coir_close(listener), 0);
    }
}

static void nonsense_is_refused(void *arg)
{
    (void)arg;
    static const char *const ports[] = {
        NULL, "", "x", "80x", " 80", "-1", "+1", "8 0", "0x50", "65536", "99999999999999999999"
    };
    for (size_t i = 0; i < sizeof ports / sizeof *ports; i++) {
        EXPECT_FAILS(coir_tcp_listen(NULL, ports[i], 0), EINVAL);
        EXPECT_FAILS(coir_tcp_listen("127.0.0.1", ports[i], 0), EINVAL);
        EXPECT_FAILS(coir_tcp_dial("localhost", ports[i]), EINVAL);
    }
    EXPECT_FAILS(coir_tcp_dial(NULL, "80"), EINVAL);
    EXPECT_FAILS(coir_tcp_listen("192.0.2.1", "0", 0), EADDRNOTAVAIL);
}

static void ports_may_be_taken(void *arg)
{
    (void)arg;
    char port[8], padded[16];
    int listener = coir_tcp_listen("127.0.0.1", "0", 0);
    port_of(listener, port);
    sprintf(padded, "000%s", port);
    EXPECT_FAILS(coir_tcp_listen("127.0.0.1", port, 0), EADDRINUSE);
    EXPECT_FAILS(coir_tcp_listen("localhost", padded, 0), EADDRINUSE);
    EXPECT_EQ(coir_close(listener), 0);
    EXPECT_FAILS(coir_tcp_dial("127.0.0.1", port), ECONNREFUSED);
    EXPECT_FAILS(coir_tcp_dial("localhost", port), ECONNREFUSED);
    listener = coir_tcp_listen("127.0.0.1", padded, 0);
    EXPECT(listener >= 0);
    EXPECT_EQ(coir_close(listener), 0);
}

static int queue_length(int listener)
{
    struct tcp_info info = { 0 };
    socklen_t len = sizeof info;
    EXPECT_EQ(getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    return (int)info.tcpi_sacked; /* in state LISTEN: the backlog */
}

static int longest_queue(void)
{
    int n = 0;
    FILE *file = fopen("/proc/sys/net/core/somaxconn", "re");
    EXPECT(file && fscanf(file, "%d", &n) == 1);
    if (file)
        fclose(file);
    return n < SOMAXCONN ? n : SOMAXCONN;
}

static void backlogs_are_as_asked(void *arg)
{
    (void)arg;
    int few = coir_tcp_listen(NULL, "0", 3), most = coir_tcp_listen(NULL, "0", 0);
    EXPECT_EQ(queue_length(few), 3);
    EXPECT_EQ(queue_length(most), longest_queue());
    close(few);
    close(most);
}

/* A listener that is full, and drops what comes. */
static void dial_times_out(void *arg)
{
    (void)arg;
    enum { CLIENTS = 6 };
    char port[8];
    int listener = coir_tcp_listen("127.0.0.1", "0", 1), fd[CLIENTS], late = 0;
    port_of(listener, port);
    for (int i = 0; i < CLIENTS; i++)
        COIR_TIMEOUT(COIR_MS(10)) {
            fd[i] = coir_tcp_dial("localhost", port);
            if (fd[i] < 0) {
                EXPECT_EQ(errno, ETIMEDOUT);
                late++;
            }
        }
    EXPECT(late >= 2);
    COIR_TIMEOUT(-1) {
        EXPECT_FAILS(coir_tcp_dial("localhost", port), ETIMEDOUT);
        int other = coir_tcp_listen("127.0.0.1", "0", 0); /* never parks: not its business */
        EXPECT(other >= 0);
        EXPECT_EQ(coir_close(other), 0);
    }
    for (int i = 0; i < CLIENTS; i++)
        if (fd[i] >= 0)
            close(fd[i]);
    close(listener);
}

static void *dial_cancelled(void *arg)
{
    const char *port = arg;
    coir_cancel(coir_self());
    EXPECT_FAILS(coir_tcp_dial("localhost", port), ECANCELED);
    int fd = coir_tcp_listen("localhost", "0", 0);
    EXPECT(fd >= 0);
    EXPECT_EQ(coir_close(fd), 0);
    return NULL;
}

struct dialer {
    int listener;
    char port[8];
    _Atomic int connected, failed;
};

static void *dial_some(void *arg)
{
    struct dialer *d = arg;
    for (int i = 0; i < 10; i++) {
        char c = 0;
        int fd = coir_tcp_dial("localhost", d->port);
        if (fd >= 0 && coir_write(fd, "x", 1) == 1 && coir_read(fd, &c, 1) == 1 && c == 'x')
            atomic_fetch_add(&d->connected, 1);
        else
            atomic_fetch_add(&d->failed, 1);
        EXPECT_EQ(coir_close(fd), 0);
    }
    return NULL;
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char c;
    while (coir_read(fd, &c, 1) == 1)
        EXPECT_EQ(coir_write(fd, &c, 1), 1);
    EXPECT_EQ(coir_close(fd), 0);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct dialer *d = arg;
    int fd;
    while ((fd = coir_accept(d->listener, NULL, NULL)) >= 0)
        EXPECT_EQ(coir_detach(coir_spawn(serve, (void *)(intptr_t)fd)), 0);
    EXPECT_EQ(errno, EBADF);
    return NULL;
}

/* A server that is closed while it accepts, and its clients. */
static void serve_many(void *arg)
{
    enum { CLIENTS = 20 };
    (void)arg;
    struct dialer d = { .listener = coir_tcp_listen("localhost", "0", 0) };
    coir_fiber *clients[CLIENTS];
    port_of(d.listener, d.port);
    coir_fiber *server = spawn_apart(accept_all, &d);
    coir_fiber *cancelled = spawn_apart(dial_cancelled, d.port);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = spawn_apart(dial_some, &d);
    for (int i = 0; i < CLIENTS; i++)
        join(clients[i]);
    join(cancelled);
    EXPECT_EQ(coir_close(d.listener), 0);
    join(server);
    EXPECT_EQ(d.connected, CLIENTS * 10);
    EXPECT_EQ(d.failed, 0);
}

static void many_clients_are_served(void **state)
{
    (void)state;
    run_on_each(serve_many, NULL);
}

BODY_TEST(listen_and_dial_find_each_other, hosts_are_found)
BODY_TEST(bad_ports_and_hosts_are_refused, nonsense_is_refused)
BODY_TEST(a_port_in_use_is_told, ports_may_be_taken)
static void backlog_is_as_asked(void **state)
{
    (void)state;
    SKIP_UNDER_QEMU("knows no TCP_INFO");
    run_everywhere(backlogs_are_as_asked, NULL);
}

BODY_TEST(dial_ends_at_the_deadline, dial_times_out)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listen_and_dial_find_each_other),
        cmocka_unit_test(bad_ports_and_hosts_are_refused),
        cmocka_unit_test(a_port_in_use_is_told),
        cmocka_unit_test(backlog_is_as_asked),
        cmocka_unit_test(dial_ends_at_the_deadline),
        cmocka_unit_test(many_clients_are_served),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
