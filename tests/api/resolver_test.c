/* tests/api/resolver_test.c - names as the C library finds them: in its files, and from a name
 * server that answers, or does not.
 * SPDX-License-Identifier: MIT
 *
 * The name server is a thread in a network and a file system of the test's own; skipped where
 * namespaces are not allowed. */
#include "../sched/kit.h"
#include "support/expect.h"
#include "support/namespaces.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/mount.h>

enum { ASKERS = 20 };

static bool same_lists(const struct addrinfo *a, const struct addrinfo *b)
{
    for (; a && b; a = a->ai_next, b = b->ai_next)
        if (a->ai_family != b->ai_family || a->ai_socktype != b->ai_socktype ||
            a->ai_protocol != b->ai_protocol || a->ai_flags != b->ai_flags ||
            a->ai_addrlen != b->ai_addrlen || memcmp(a->ai_addr, b->ai_addr, a->ai_addrlen) != 0 ||
            !a->ai_canonname != !b->ai_canonname ||
            (a->ai_canonname && strcmp(a->ai_canonname, b->ai_canonname) != 0))
            return false;
    return !a && !b;
}

static void *ask_as_libc(void *arg)
{
    static const struct {
        const char *node, *service;
        int flags;
    } asked[] = {
        { "localhost", "http", AI_CANONNAME },     { "127.0.0.1", "80", 0 },
        { "::1", NULL, AI_NUMERICHOST },           { NULL, "http", AI_PASSIVE },
        { "localhost", "no-such-service", 0 },     { "127.0.0.1", "80", 1 << 30 },
        { "127.0.0.1", "http", AI_NUMERICSERV },   { NULL, NULL, 0 },
        { "not numeric", NULL, AI_NUMERICHOST },   { "", NULL, AI_NUMERICHOST },
        { "127.0.0.1", "http", AI_CANONNAME | 0 },
    };
    (void)arg;
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        struct addrinfo hints = { .ai_flags = asked[i].flags, .ai_socktype = SOCK_STREAM };
        struct addrinfo *ours = NULL, *libcs = NULL;
        int error = coir_getaddrinfo(asked[i].node, asked[i].service, &hints, &ours);
        EXPECT_EQ(error, getaddrinfo(asked[i].node, asked[i].service, &hints, &libcs));
        EXPECT(same_lists(ours, libcs));
        if (!error) {
            freeaddrinfo(ours);
            freeaddrinfo(libcs);
        }
    }
    struct sockaddr_in addr = { .sin_family = AF_INET,
                                .sin_port = htons(80),
                                .sin_addr = { htonl(INADDR_LOOPBACK) } };
    for (int flags = 0; flags <= (NI_NUMERICHOST | NI_NUMERICSERV); flags++) {
        char ours[2][NI_MAXHOST] = { "", "" }, libcs[2][NI_MAXHOST] = { "", "" };
        int error = coir_getnameinfo((struct sockaddr *)&addr, sizeof addr, ours[0], NI_MAXHOST,
                                     ours[1], NI_MAXHOST, flags);
        EXPECT_EQ(error, getnameinfo((struct sockaddr *)&addr, sizeof addr, libcs[0], NI_MAXHOST,
                                     libcs[1], NI_MAXHOST, flags));
        EXPECT_EQ(strcmp(ours[0], libcs[0]), 0);
        EXPECT_EQ(strcmp(ours[1], libcs[1]), 0);
    }
    return NULL;
}

static void ask_all_at_once(void *arg)
{
    coir_fiber *f[ASKERS];
    (void)arg;
    for (int i = 0; i < ASKERS; i++)
        f[i] = coir_spawn(ask_as_libc, NULL);
    for (int i = 0; i < ASKERS; i++)
        EXPECT_EQ(coir_join(f[i], NULL), 0);
}

static void answers_are_those_of_the_c_library(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        assert_int_equal(fiber_test_run(*w, ask_all_at_once, NULL), 0);
        assert_no_findings();
        assert_true(kit_threads_become(1));
    }
}

/* A name server: it knows that every name with an a in it is 127.0.0.1, and says nothing about
 * others. */
static struct {
    int fd;
    _Atomic int queries;
} server;

/* The answer to the query in buf, in its place; its length. */
static size_t make_answer(unsigned char *buf, size_t len)
{
    static const unsigned char record[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1 };
    size_t end = 12;
    while (end < len && buf[end])
        end += buf[end] + 1U;
    bool is_a = buf[end + 2] == 1;
    end += 5;
    buf[2] = 0x81;
    buf[3] = 0x80;
    buf[7] = is_a;             /* answers */
    buf[9] = buf[11] = 0;      /* and no more */
    if (is_a)
        memcpy(buf + end, record, sizeof record);
    return end + (is_a ? sizeof record : 0);
}

static void *serve_names(void *arg)
{
    unsigned char buf[512];
    struct sockaddr_in from;
    socklen_t from_len = sizeof from;
    ssize_t n;
    (void)arg;
    while ((n = recvfrom(server.fd, buf, 400, 0, (struct sockaddr *)&from, &from_len)) > 16) {
        server.queries++;
        if (memchr(buf + 12, 'a', (size_t)n - 16))
            sendto(server.fd, buf, make_answer(buf, (size_t)n), 0, (struct sockaddr *)&from,
                   from_len);
    }
    return NULL;
}

/* Files made before the name spaces, in which nobody is the user who could make them. */
static char dir[] = "/tmp/coir-resolver-XXXXXX";

static bool write_file(const char *name, const char *text)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    bool ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return ok;
}

static bool mount_file(const char *name, const char *at)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(at, F_OK) < 0 || mount(path, at, NULL, MS_BIND, NULL) == 0;
}

static bool enter_own_world(void)
{
    struct sockaddr_in addr = { .sin_family = AF_INET,
                                .sin_port = htons(53),
                                .sin_addr = { htonl(INADDR_LOOPBACK) } };
    static pthread_t thread;
    if (!own_namespaces(CLONE_NEWNS | CLONE_NEWNET) ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        access("/etc/resolv.conf", F_OK) < 0 || !mount_file("resolv", "/etc/resolv.conf") ||
        !mount_file("nsswitch", "/etc/nsswitch.conf"))
        return false;
    loopback_up();
    server.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return bind(server.fd, (struct sockaddr *)&addr, sizeof addr) == 0 &&
           pthread_create(&thread, NULL, serve_names, NULL) == 0;
}

static void in_own_world(int (*fn)(void *))
{
    char text[1024] = "", command[64];
    assert_non_null(mkdtemp(dir));
    assert_true(write_file("resolv", "nameserver 127.0.0.1\n"));
    assert_true(write_file("nsswitch", "hosts: files dns\nservices: files\n"));
    int status = test_child(fn, NULL, text, sizeof text);
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_NAMESPACES)
        skip();
    if (status)
        fail_msg("the child's status is %#x; it wrote: %s", status, text);
}

static void dial_by_name(void *arg)
{
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    char port[8], byte = 0;
    (void)arg;
    int listener = coir_tcp_listen("a.test", "0", 0);
    EXPECT(listener >= 0);
    EXPECT_EQ(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    sprintf(port, "%d", ntohs(addr.sin_port));
    int here = coir_tcp_dial("other-name.a.test", port);
    EXPECT(here >= 0);
    int there = coir_accept(listener, NULL, NULL);
    EXPECT_EQ(coir_write(here, "x", 1), 1);
    EXPECT_EQ(coir_read(there, &byte, 1), 1);
    EXPECT_EQ(byte, 'x');
    coir_close(here);
    coir_close(there);
    coir_close(listener);
}

static int dial_in_child(void *arg)
{
    (void)arg;
    if (!enter_own_world())
        return NO_NAMESPACES;
    for (const unsigned *w = test_workers; *w; w++)
        EXPECT_EQ(fiber_test_run(*w, dial_by_name, NULL), 0);
    return no_findings_status();
}

static void names_come_from_the_name_server(void **state)
{
    (void)state;
    in_own_world(dial_in_child);
}

static _Atomic int beats;

static void *beat(void *arg)
{
    (void)arg;
    while (coir_sleep(COIR_MS(1)) == 0)
        beats++;
    return NULL;
}

static void *dial_silent(void *arg)
{
    COIR_TIMEOUT(COIR_MS(100))
        EXPECT_FAILS(coir_tcp_dial("silent.test", "80"), ETIMEDOUT);
    return arg;
}

static void dial_nobody(void *arg)
{
    coir_fiber *heart = coir_spawn(beat, NULL), *f[ASKERS];
    (void)arg;
    for (int i = 0; i < ASKERS; i++)
        f[i] = coir_spawn(dial_silent, NULL);
    for (int i = 0; i < ASKERS; i++)
        EXPECT_EQ(coir_join(f[i], NULL), 0);
    EXPECT(beats >= 5);
    coir_cancel(heart);
    EXPECT_EQ(coir_join(heart, NULL), 0);
}

/* The C library asks for five seconds, twice; nobody here waits for that. */
static int dial_silent_in_child(void *arg)
{
    (void)arg;
    if (!enter_own_world())
        return NO_NAMESPACES;
    for (const unsigned *w = test_workers; *w; w++) {
        int64_t before_ns = coir_now();
        beats = 0;
        EXPECT_EQ(fiber_test_run(*w, dial_nobody, NULL), 0);
        if (TEST_GLIBC && coir_now() - before_ns < COIR_SEC(4))
            EXPECT(server.queries >= 1 && server.queries <= 2); /* A and AAAA, for all of them */
    }
    return no_findings_status();
}

static void a_silent_name_server_holds_nobody_up(void **state)
{
    (void)state;
    in_own_world(dial_silent_in_child);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_those_of_the_c_library),
        cmocka_unit_test(names_come_from_the_name_server),
        cmocka_unit_test(a_silent_name_server_holds_nobody_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
