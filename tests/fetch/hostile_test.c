/* tests/fetch/hostile_test.c - coir_fetch and servers, names and URLs that mean no good.
 * SPDX-License-Identifier: MIT */
#include "../sched/kit.h"
#include "peer.h"
#include "support/expect.h"

#include <coir/fetch.h>

/* What becomes of a whole fetch: 0, or -errno; in *len, how much of the body came. */
static long outcome(const char *url, const coir_fetch_options *options, size_t *len)
{
    coir_response *r;
    char piece[4096];
    ssize_t n;
    *len = 0;
    if (coir_fetch(url, options, &r) < 0)
        return -errno;
    while ((n = coir_response_read(r, piece, sizeof piece)) > 0)
        *len += (size_t)n;
    long result = n < 0 ? -errno : 0;
    coir_response_free(r);
    return result;
}

/* And the sentence has all of it: where, in which phase, why. */
static void ends(const char *url, const coir_fetch_options *options, int err, const char *says)
{
    size_t len;
    long got;
    COIR_TIMEOUT(COIR_SEC(KIT_PATIENCE_S))
        got = outcome(url, options, &len);
    if (!EXPECT_EQ(got, -err) || !EXPECT(strstr(coir_fetch_error(), says)))
        fprintf(stderr, "%s: %s\n", url, coir_fetch_error());
    EXPECT(strncmp(coir_fetch_error(), url, strnlen(url, 16)) == 0);
}

static void answers_that_are_none(void *arg)
{
    const coir_fetch_options small_head = { .header_bytes_max = 10000 };
    (void)arg;
    ends(at("/endless-head"), NULL, EFBIG, ": receive: the headers are longer than is allowed");
    ends(at("/endless-head"), &small_head, EFBIG, "longer than is allowed");
    ends(at("/long-line"), NULL, EFBIG, ": receive: ");
    ends(at("/short"), NULL, ECONNRESET, ": receive: ");
    ends(at("/bad-chunk"), NULL, EPROTO, ": receive: ");
    ends(at("/raw?hello"), NULL, EPROTO, ": receive: ");
    ends(at("/raw?"), NULL, ECONNRESET, ": receive: ");
    ends(at("/raw?HTTP/1.1~_200~_OK~r~nContent-Length:~_-7~r~n~r~n"), NULL, EPROTO, ": receive: ");
    ends(at("/raw?HTTP/1.1~_200~_OK~r~nContent-Encoding:~_gzip~r~nContent-Length:~_3~r~n~r~nabc"),
         NULL, EPROTO, ": receive: ");
    for (int bytes = 0; bytes < 60; bytes += 7) {
        char path[32];
        sprintf(path, "/cut/%d", bytes);
        ends(at(path), NULL, ECONNRESET, ": receive: ");
    }
}

static void bodies_that_are_too_long(void *arg)
{
    const coir_fetch_options most = { .body_bytes_max = 100000 };
    coir_fetch_options text = { .text_bytes_max = 1000 };
    coir_response *r;
    size_t len;
    (void)arg;
    ends(at("/endless-body"), &most, EFBIG, "the body is longer than is allowed");
    ends(at("/bytes/100001"), &most, EFBIG, ": receive: ");
    EXPECT_EQ(outcome(at("/bytes/100000"), &most, &len), 0);
    EXPECT_EQ(len, 100000);
    ends(at("/bomb"), NULL, EFBIG, "the body grows too much by decompression");
    text.growth_max = 2000;
    EXPECT_EQ(outcome(at("/bomb"), &text, &len), 0);
    EXPECT_EQ(len, 33554432);
    text.growth_max = 0;
    text.flags = COIR_FETCH_RAW;
    EXPECT_EQ(outcome(at("/bomb"), &text, &len), 0);
    EXPECT(len < 1000000);
    if (!EXPECT_EQ(coir_fetch(at("/bytes/1001"), &text, &r), 0))
        return;
    EXPECT(!coir_response_text(r, NULL));
    EXPECT_EQ(errno, EFBIG);
    coir_response_free(r);
}

static void slow_ones(void *arg)
{
    size_t len;
    (void)arg;
    EXPECT_EQ(outcome(at("/drip"), NULL, &len), 0);
    EXPECT_EQ(len, 5);
    COIR_TIMEOUT(COIR_MS(20))
        EXPECT_EQ(outcome(at("/drip"), NULL, &len), -ETIMEDOUT);
    COIR_TIMEOUT(COIR_MS(20))
        EXPECT_EQ(outcome(at("/endless-body"), NULL, &len), -ETIMEDOUT);
    COIR_TIMEOUT(-1)
        EXPECT_EQ(outcome(at("/hello"), NULL, &len), -ETIMEDOUT);
}

static void requests_that_are_none(void *arg)
{
    static const char *const injected[] = { "X: y\r\nEvil: z", NULL };
    static const char *const nameless[] = { ": x", NULL }, *const colonless[] = { "X", NULL };
    static const char *const blank[] = { "X y: z", NULL };
    static const char *const *const headers[] = { injected, nameless, blank, colonless };
    coir_fetch_options o = COIR_ZERO;
    coir_response *r;
    char error[64] = "";
    (void)arg;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        o.headers = headers[i];
        ends(at("/echo"), &o, EINVAL, ": request: a header is not of the form");
    }
    o = (coir_fetch_options){ .method = "GET /evil HTTP/1.1\r\n" };
    ends(at("/echo"), &o, EINVAL, ": request: the method");
    o = (coir_fetch_options){ .bearer = "x\r\nEvil: y" };
    ends(at("/echo"), &o, EINVAL, "a line end in credentials");
    o = (coir_fetch_options){ .range = "0-\r\n" };
    ends(at("/echo"), &o, EINVAL, "range");
    o = (coir_fetch_options){ .flags = 1 << 20 };
    ends(at("/echo"), &o, EINVAL, "flag");
    o = (coir_fetch_options){ .reserved = { 0, 1 } };
    ends(at("/echo"), &o, EINVAL, "reserved");
    o = (coir_fetch_options){ .error = error, .error_bytes = sizeof error };
    ends("http://a b/", &o, EINVAL, "blank");
    EXPECT(strncmp(error, "http://a b/: request: ", 22) == 0 && strlen(error) == 63);
    ends(at("/\r\nEvil: x"), NULL, EINVAL, "control character");
    ends("http://127.0.0.1:99999/", NULL, EINVAL, "not a URL");
    EXPECT_FAILS(coir_fetch("http://me:se cret@127.0.0.1/", NULL, &r), EINVAL);
    EXPECT(!strstr(coir_fetch_error(), "cret") && strstr(coir_fetch_error(), "127.0.0.1"));
    o = (coir_fetch_options){ .method = "HEAD", .body = "x", .body_bytes = 1 };
    ends(at("/echo"), &o, EINVAL, "HEAD has no body");
    ends("http://", NULL, EINVAL, "not a URL");
    ends("", NULL, EINVAL, "not a URL");
    ends("//x/", NULL, EINVAL, "not a URL");
    ends("file:///etc/passwd", NULL, EPROTONOSUPPORT, "neither http nor https");
    ends("gopher://127.0.0.1/", NULL, EPROTONOSUPPORT, "neither http nor https");
    EXPECT_FAILS(coir_fetch(NULL, NULL, &r), EINVAL);
    EXPECT_FAILS(coir_fetch(at("/hello"), NULL, NULL), EINVAL);
    /* What is wrong with one is not with the next. */
    size_t len;
    EXPECT_EQ(outcome(at("/hello"), NULL, &len), 0);
}

static void places_that_are_none(void *arg)
{
    const coir_fetch_options guarded = { .flags = COIR_FETCH_PUBLIC_ONLY };
    char url[64];
    size_t len;
    (void)arg;
    ends("http://127.0.0.1:1/", NULL, ECONNREFUSED, ": connect: ");
    ends("https://127.0.0.1:1/", NULL, ECONNREFUSED, ": connect: ");
    ends("http://no-such-host.invalid/", NULL, EHOSTUNREACH, ": resolve: ");
    snprintf(url, sizeof url, "https://127.0.0.1:%d/hello", peer.port);
    ends(url, NULL, EPROTO, ": TLS: ");
    /* Also a connection that is there already, or where a redirect leads. */
    EXPECT_EQ(outcome(at("/hello"), NULL, &len), 0);
    ends(at("/hello"), &guarded, EACCES, ": connect: its address is not public");
    snprintf(url, sizeof url, "http://localhost:%d/hello", peer.port);
    EXPECT_EQ(outcome(url, NULL, &len), 0);
    ends(url, &guarded, EACCES, ": connect: its address is not public");
    snprintf(url, sizeof url, "http://[::ffff:127.0.0.1]:%d/hello", peer.port);
    ends(url, &guarded, EACCES, ": connect: its address is not public");
    snprintf(url, sizeof url, "http://2130706433:%d/hello", peer.port);
    ends(url, &guarded, EACCES, ": connect: its address is not public");
}

static void *cancelled_soon(void *arg)
{
    static const char *const paths[] = { "/drip", "/endless-body", "/silent", "/bytes/1000000" };
    size_t len;
    outcome(at(paths[(intptr_t)arg % 4]), NULL, &len);
    return NULL;
}

/* A hundred, in any state; and the lanes are well after it. */
static void storms(void *arg)
{
    enum { FIBERS = 100 };
    coir_fiber *f[FIBERS];
    unsigned seed = 1;
    size_t len;
    (void)arg;
    for (intptr_t i = 0; i < FIBERS; i++) {
        f[i] = coir_spawn(cancelled_soon, (void *)i);
        if (rand_r(&seed) % 3 == 0)
            coir_sleep(COIR_US(300));
    }
    for (int i = 0; i < FIBERS; i++) {
        coir_cancel(f[(i * 37) % FIBERS]);
        if (rand_r(&seed) % 3 == 0)
            coir_sleep(COIR_US(300));
    }
    for (int i = 0; i < FIBERS; i++)
        coir_join(f[i], NULL);
    EXPECT_EQ(outcome(at("/hello"), NULL, &len), 0);
}

static void on_each(void (*fn)(void *))
{
    for (const unsigned *w = test_workers; *w; w++) {
        assert_int_equal(fiber_test_run(*w, fn, NULL), 0);
        assert_no_findings();
    }
}

#define BODY_TEST(name, body)                                                                      \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        on_each(body);                                                                             \
    }

BODY_TEST(answers_that_are_none_are_errors, answers_that_are_none)
BODY_TEST(bodies_have_limits, bodies_that_are_too_long)
BODY_TEST(slow_servers_have_until_the_deadline, slow_ones)
BODY_TEST(requests_that_are_none_are_not_sent, requests_that_are_none)
BODY_TEST(places_that_are_none_are_told, places_that_are_none)
BODY_TEST(a_storm_of_cancels_leaves_all_well, storms)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_that_are_none_are_errors),
        cmocka_unit_test(bodies_have_limits),
        cmocka_unit_test(slow_servers_have_until_the_deadline),
        cmocka_unit_test(requests_that_are_none_are_not_sent),
        cmocka_unit_test(places_that_are_none_are_told),
        cmocka_unit_test(a_storm_of_cancels_leaves_all_well),
    };
    peer_start();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    peer_stop();
    return failed;
}
