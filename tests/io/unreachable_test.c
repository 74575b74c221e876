/* tests/io/unreachable_test.c - a machine without a network: addresses that nothing leads to fail
 * at once, as they do for the plain call.
 * SPDX-License-Identifier: MIT
 *
 * Method: a child with a network of its own, in which nothing is up; a script runs both ways there.
 * Addresses that lead into nothing, and are answered by nobody, are in opening_test.c and
 * tcp_test.c. */
#include "support/namespaces.h"
#include "script.h"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/un.h>

static struct sockaddr_in four(const char *text)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(9) };
    EXPECT_EQ(inet_pton(AF_INET, text, &addr.sin_addr), 1);
    return addr;
}

static struct sockaddr_in6 six(const char *text)
{
    struct sockaddr_in6 addr = { .sin6_family = AF_INET6, .sin6_port = htons(9) };
    EXPECT_EQ(inet_pton(AF_INET6, text, &addr.sin6_addr), 1);
    return addr;
}

static const char *const fours[] = { "127.0.0.1",       "10.1.2.3",  "192.0.2.1", "0.0.0.0",
                                     "255.255.255.255", "224.0.0.1", "240.0.0.1", "169.254.1.1" };
static const char *const sixes[] = { "::1",     "2001:db8::1", "fe80::1",
                                     "ff02::1", "::",          "::ffff:192.0.2.1" };

static void to_four(struct script *s, int type)
{
    for (size_t i = 0; i < sizeof fours / sizeof *fours; i++) {
        struct sockaddr_in addr = four(fours[i]);
        int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
        STEP(s, connect(fd, (struct sockaddr *)&addr, sizeof addr));
        if (type == SOCK_DGRAM)
            STEP(s, sendto(fd, "x", 1, 0, (struct sockaddr *)&addr, sizeof addr));
        STEP(s, write(fd, "x", 1));
        STEP(s, close(fd));
    }
}

static void to_six(struct script *s)
{
    for (size_t i = 0; i < sizeof sixes / sizeof *sixes; i++) {
        struct sockaddr_in6 addr = six(sixes[i]);
        int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return; /* the machine has none */
        STEP(s, connect(fd, (struct sockaddr *)&addr, sizeof addr));
        STEP(s, connect(fd, (struct sockaddr *)&addr, 16));
        STEP(s, close(fd));
    }
}

static void to_names(struct script *s)
{
    struct sockaddr_un none = { .sun_family = AF_UNIX, .sun_path = "no-such-socket" };
    struct sockaddr_un file = { .sun_family = AF_UNIX, .sun_path = "/dev/null" };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    STEP(s, connect(fd, (struct sockaddr *)&none, sizeof none));
    STEP(s, connect(fd, (struct sockaddr *)&file, sizeof file));
    STEP(s, connect(fd, (struct sockaddr *)&none, sizeof none + 1));
    STEP(s, close(fd));
}

static void unreachable_script(struct script *s)
{
    to_four(s, SOCK_STREAM);
    to_four(s, SOCK_DGRAM);
    to_six(s);
    to_names(s);
}

static void dial(void *arg)
{
    (void)arg;
    EXPECT_FAILS(coir_tcp_dial("192.0.2.1", "9"), ENETUNREACH);
    EXPECT_FAILS(coir_tcp_dial("127.0.0.1", "9"), *(int *)arg);
}

/* Why the machine cannot reach itself. */
static int plain_error(void)
{
    struct sockaddr_in addr = four("127.0.0.1");
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int err = connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0 ? errno : 0;
    close(fd);
    return err;
}

static int without_network(void *arg)
{
    (void)arg;
    watchdog();
    if (!own_namespaces(CLONE_NEWNET))
        return NO_NAMESPACES;
    for (int up = 0; up < 2; up++) {
        if (up)
            loopback_up();
        compare_quietly(unreachable_script);
        int err = plain_error();
        struct first first = { dial, &err };
        for (const unsigned *w = test_workers; *w; w++)
            EXPECT_EQ(fiber_test_run(*w, run_first, &first), 0);
    }
    return no_findings_status();
}

static void what_cannot_be_reached_is_like_posix(void **state)
{
    char text[512];
    (void)state;
    int status = test_child(without_network, NULL, text, sizeof text);
    if (status == NO_NAMESPACES << 8)
        skip();
    assert_string_equal(text, "");
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_reached_is_like_posix),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
