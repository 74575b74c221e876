/* tests/fetch/fetch_test.c - coir_fetch with a server that behaves: answers, bodies, requests,
 * redirects.
 * SPDX-License-Identifier: MIT */
#include "../sched/kit.h"
#include "peer.h"
#include "support/expect.h"

#include <coir/fetch.h>

/* As fetch and text; its status, or -1. */
static int get(const char *url, const coir_fetch_options *options, char **text, size_t *len)
{
    coir_response *r;
    *text = NULL;
    if (coir_fetch(url, options, &r) < 0)
        return -1;
    int status = coir_response_status(r);
    *text = coir_response_text(r, len);
    coir_response_free(r);
    return *text ? status : -1;
}

static bool is_pattern(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] != peer_byte(i))
            return false;
    return true;
}

static void answers(void *arg)
{
    coir_response *r;
    const char *name, *value;
    coir_fetch_times times;
    char byte;
    size_t len, n = 0, twice = 0;
    (void)arg;
    if (!EXPECT_EQ(coir_fetch(at("/hello"), NULL, &r), 0))
        return;
    EXPECT_EQ(coir_response_status(r), 200);
    EXPECT_EQ(strcmp(coir_response_header(r, "content-type"), "text/plain"), 0);
    EXPECT_EQ(strcmp(coir_response_header(r, "X-TWICE"), "one"), 0);
    EXPECT(!coir_response_header(r, "X-Not"));
    for (; coir_response_header_at(r, n, &name, &value) == 0; n++)
        twice += strcasecmp(name, "x-twice") == 0 && strcmp(value, twice ? "two" : "one") == 0;
    EXPECT_EQ(n, 4);
    EXPECT_EQ(twice, 2);
    EXPECT_FAILS(coir_response_header_at(r, 4, &name, &value), ENOENT);
    EXPECT_EQ(strcmp(coir_response_url(r), at("/hello")), 0);
    EXPECT_EQ(strcmp(coir_response_http(r), "1.1"), 0);
    char *text = coir_response_text(r, &len);
    EXPECT(text && len == 14 && strcmp(text, "Hello, coir.\n\n") == 0);
    free(text);
    EXPECT_EQ(coir_response_read(r, &byte, 1), 0);
    coir_response_times(r, &times);
    EXPECT(times.sent_ns <= times.first_byte_ns && times.first_byte_ns <= times.all_ns);
    EXPECT_EQ(times.body_bytes, 14);
    coir_response_free(r);
    coir_response_free(NULL);
    EXPECT_EQ(get(at("/nowhere"), NULL, &text, &len), 404);
    free(text);
}

static void bodies(void *arg)
{
    static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, 70000, 1000000 };
    char path[64], *text;
    (void)arg;
    for (size_t i = 0; i < 2 * (sizeof sizes / sizeof *sizes); i++) {
        size_t len = 1, bytes = sizes[i / 2];
        sprintf(path, i % 2 ? "/chunks/%zu" : "/bytes/%zu", bytes);
        EXPECT_EQ(get(at(path), NULL, &text, &len), 200);
        EXPECT_EQ(len, bytes);
        EXPECT(text && is_pattern(text, len) && !text[len]);
        free(text);
    }
}

/* By pieces of any size; and given up in the middle, after which all goes on. */
static void pieces(void *arg)
{
    coir_response *r;
    static char text[300000];
    (void)arg;
    for (size_t piece = 1; piece < sizeof text; piece = piece * 7 + 1) {
        size_t len = 0;
        ssize_t n;
        if (!EXPECT_EQ(coir_fetch(at("/bytes/200000"), NULL, &r), 0))
            return;
        while ((n = coir_response_read(r, text + len, piece)) > 0 && (len < 1000 || piece > 1))
            len += (size_t)n;
        coir_fetch_times times;
        coir_response_times(r, &times);
        EXPECT(times.first_byte_ns > 0);
        EXPECT(len == 200000 || piece == 1);
        EXPECT(is_pattern(text, len));
        coir_response_free(r);
    }
}

/* While the body is on its way, and as it ends. */
static void times_of_all(void *arg)
{
    coir_response *r;
    coir_fetch_times times;
    char piece[5000];
    (void)arg;
    for (int i = 0; i < 50; i++) {
        if (!EXPECT_EQ(coir_fetch(at("/bytes/150000"), NULL, &r), 0))
            return;
        do
            coir_response_times(r, &times);
        while (coir_response_read(r, piece, sizeof piece) > 0);
        errno = ENOTTY;
        coir_response_times(r, &times);
        coir_response_free(r);
        EXPECT_EQ(errno, ENOTTY);
        EXPECT_EQ(times.body_bytes, 150000);
    }
}

struct source {
    size_t left, brought;
    int err;
};

static ssize_t bring(void *arg, void *buf, size_t len)
{
    struct source *s = arg;
    size_t n = s->left < len ? s->left : len;
    if (coir_sleep(COIR_US(100)) < 0)
        return -1;
    if (n == 0 && s->err) {
        errno = s->err;
        return -1;
    }
    for (size_t i = 0; i < n; i++)
        ((char *)buf)[i] = peer_byte(s->brought++);
    s->left -= n;
    return (ssize_t)n;
}

/* A body that is not as long as was said is none, and disturbs nobody's. */
static void wrong_lengths(void *arg)
{
    struct source source = { .left = 100 };
    coir_fetch_options o = { .body_read = bring, .body_arg = &source, .body_bytes = 20000 };
    char *text;
    size_t len;
    (void)arg;
    EXPECT_EQ(get(at("/echo"), &o, &text, &len), -1);
    EXPECT_EQ(errno, EINVAL);
    EXPECT(strstr(coir_fetch_error(), "not as long as was said"));
    source = (struct source){ .left = 40000 };
    EXPECT_EQ(get(at("/echo"), &o, &text, &len), -1);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_EQ(get(at("/hello"), NULL, &text, &len), 200);
    free(text);
}

static void requests(void *arg)
{
    char *text;
    size_t len;
    const char *const headers[] = { "X-Mine: yes", "Content-Type: a/b", "Accept:", NULL };
    coir_fetch_options o = { .headers = headers, .body = "some body", .body_bytes = 9 };
    struct source source = { .left = 30000 };
    (void)arg;
    EXPECT_EQ(get(at("/echo"), &o, &text, &len), 200);
    EXPECT(text && strncmp(text, "POST /echo HTTP/1.1\r\n", 21) == 0);
    EXPECT(text && strstr(text, "\r\nX-Mine: yes\r\n"));
    EXPECT(text && strstr(text, "\r\nContent-Type: a/b\r\n"));
    EXPECT(text && !strstr(text, "\r\nAccept:") && strstr(text, "\r\nContent-Length: 9\r\n"));
    EXPECT(text && len > 9 && strcmp(text + len - 9, "some body") == 0);
    free(text);
    o = (coir_fetch_options){ .method = "PUT", .body_read = bring, .body_arg = &source };
    EXPECT_EQ(get(at("/echo"), &o, &text, &len), 200);
    EXPECT(text && strncmp(text, "PUT /echo", 9) == 0 && strstr(text, "chunked"));
    EXPECT(text && len > 30000 && !strstr(text, "\r\nContent-Type:"));
    free(text);
    source = (struct source){ .left = 20000 };
    o.body_bytes = 20000;
    EXPECT_EQ(get(at("/echo"), &o, &text, &len), 200);
    EXPECT(text && strstr(text, "\r\nContent-Length: 20000\r\n"));
    free(text);
    source = (struct source){ .left = 100, .err = ENOTTY };
    EXPECT_EQ(get(at("/echo"), &o, &text, &len), -1);
    EXPECT_EQ(errno, ENOTTY);
    EXPECT(strstr(coir_fetch_error(), ": send: the request's body could not be read"));
    o = (coir_fetch_options){ .method = "HEAD" };
    EXPECT_EQ(get(at("/hello"), &o, &text, &len), 200);
    EXPECT_EQ(len, 0);
    free(text);
    o = (coir_fetch_options){ .method = "DELETE", .bearer = "t0ken", .range = "0-9" };
    EXPECT_EQ(get(at("/echo"), &o, &text, &len), 200);
    EXPECT(text && strncmp(text, "DELETE /echo", 12) == 0);
    EXPECT(text && strstr(text, "\r\nAuthorization: Bearer t0ken\r\n"));
    EXPECT(text && strstr(text, "\r\nRange: bytes=0-9\r\n") && !strstr(text, "Accept-Encoding"));
    free(text);
    o = (coir_fetch_options){ .user = "user:secret" };
    EXPECT_EQ(get(at("/basic"), &o, &text, &len), 200);
    free(text);
    o.user = "user:wrong";
    EXPECT_EQ(get(at("/basic"), &o, &text, &len), 401);
    EXPECT(text && strcmp(text, "who?\n") == 0);
    free(text);
}

static int see(int status, const char *to, const coir_fetch_options *o, char **text)
{
    char path[512];
    size_t len;
    snprintf(path, sizeof path, "/see/%d?%s", status, to);
    return get(at(path), o, text, &len);
}

static void redirects(void *arg)
{
    char *text;
    size_t len;
    coir_response *r;
    const char *const headers[] = { "Authorization: x", "Cookie: y", "X-Any: z",
                                    "Host: 127.0.0.1", NULL };
    coir_fetch_options o = { .body = "data", .body_bytes = 4 };
    (void)arg;
    EXPECT_EQ(get(at("/to/9"), NULL, &text, &len), 200);
    free(text);
    EXPECT_EQ(get(at("/to/10"), NULL, &text, &len), -1);
    EXPECT_EQ(errno, ELOOP);
    EXPECT_EQ(get(at("/loop"), NULL, &text, &len), -1);
    EXPECT(strstr(coir_fetch_error(), "/loop: redirect: too many redirects"));
    EXPECT_EQ(see(302, "/echo", &o, &text), 200);
    EXPECT(text && strncmp(text, "GET /echo", 9) == 0 && !strstr(text, "data"));
    free(text);
    EXPECT_EQ(see(307, "/echo", &o, &text), 200);
    EXPECT(text && strncmp(text, "POST /echo", 10) == 0 && strstr(text, "\r\n\r\ndata"));
    free(text);
    struct source source = { .left = 100 };
    o = (coir_fetch_options){ .body_read = bring, .body_arg = &source };
    EXPECT_EQ(see(308, "/echo", &o, &text), -1);
    EXPECT_EQ(errno, EPIPE);
    EXPECT_EQ(see(302, "ftp://127.0.0.1/", NULL, &text), -1);
    EXPECT_EQ(errno, EPROTONOSUPPORT);
    o = (coir_fetch_options){ .headers = headers, .user = "user:secret" };
    EXPECT_EQ(see(302, "/echo", &o, &text), 200);
    EXPECT(text && strstr(text, "Authorization: x") && strstr(text, "Cookie: y"));
    free(text);
    char other[64];
    snprintf(other, sizeof other, "http://localhost:%d/echo", peer.port);
    EXPECT_EQ(see(302, other, &o, &text), 200);
    EXPECT(text && !strstr(text, "Authorization") && !strstr(text, "Cookie"));
    EXPECT(text && strstr(text, "X-Any: z") && strstr(text, "Host: localhost:"));
    free(text);
    EXPECT_EQ(see(302, "http://x:99999/", NULL, &text), -1);
    EXPECT_EQ(errno, EPROTO);
    o = (coir_fetch_options){ .flags = COIR_FETCH_NO_REDIRECT };
    EXPECT_EQ(coir_fetch(at("/to/3"), &o, &r), 0);
    EXPECT_EQ(coir_response_status(r), 302);
    EXPECT_EQ(strcmp(coir_response_header(r, "Location"), "/to/2"), 0);
    coir_response_free(r);
}

enum { MANY = 50 };
static _Atomic int fetched;

static void *fetch_one(void *arg)
{
    char path[64], *text;
    size_t len;
    sprintf(path, (intptr_t)arg % 3 ? "/bytes/%ld" : "/delay/%ld", 5 * (long)(intptr_t)arg % 97);
    EXPECT_EQ(get(at(path), NULL, &text, &len), 200);
    free(text);
    fetched++;
    return NULL;
}

static void many(void *arg)
{
    const coir_attr attr = { .flags = COIR_SPREAD };
    coir_fiber *f[MANY];
    (void)arg;
    fetched = 0;
    for (intptr_t i = 0; i < MANY; i++)
        f[i] = coir_spawn_with(&attr, fetch_one, (void *)i);
    for (int i = 0; i < MANY; i++)
        coir_join(f[i], NULL);
    EXPECT_EQ(fetched, MANY);
}

/* One after the other, on one connection. */
static void kept(void *arg)
{
    char *text;
    size_t len;
    (void)arg;
    EXPECT_EQ(get(at("/hello"), NULL, &text, &len), 200);
    free(text);
    int before = peer.connections;
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(get(at("/bytes/100"), NULL, &text, &len), 200);
        free(text);
    }
    EXPECT(peer.connections <= before);
}

static void *stopped(void *arg)
{
    coir_response *r;
    EXPECT_FAILS(coir_fetch(at(arg), NULL, &r), ECANCELED);
    return NULL;
}

/* At once, and what comes after is not disturbed. */
static void ended(void *arg)
{
    coir_response *r;
    char *text, byte[64];
    size_t len;
    (void)arg;
    COIR_TIMEOUT(COIR_MS(5)) {
        EXPECT_FAILS(coir_fetch(at("/silent"), NULL, &r), ETIMEDOUT);
        EXPECT(strstr(coir_fetch_error(), "/silent: receive: the deadline has passed"));
    }
    coir_fiber *f = coir_spawn(stopped, (void *)"/silent");
    EXPECT_EQ(coir_sleep(COIR_MS(2)), 0);
    coir_cancel(f);
    coir_join(f, NULL);
    if (!EXPECT_EQ(coir_fetch(at("/cut/50"), NULL, &r), 0))
        return;
    COIR_TIMEOUT(COIR_SEC(KIT_PATIENCE_S)) {
        ssize_t n;
        while ((n = coir_response_read(r, byte, sizeof byte)) > 0)
            ;
        EXPECT_FAILS(n, ECONNRESET);
        EXPECT_FAILS(coir_response_read(r, byte, sizeof byte), ECONNRESET);
    }
    coir_response_free(r);
    EXPECT_EQ(get(at("/hello"), NULL, &text, &len), 200);
    free(text);
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

BODY_TEST(an_answer_has_status_headers_and_text, answers)
BODY_TEST(bodies_of_any_length_come_whole, bodies)
BODY_TEST(bodies_come_piece_by_piece, pieces)
BODY_TEST(times_are_told_at_any_time, times_of_all)
BODY_TEST(bodies_are_as_long_as_was_said, wrong_lengths)
BODY_TEST(requests_are_what_was_asked_for, requests)
BODY_TEST(redirects_are_followed_as_far_as_is_safe, redirects)
BODY_TEST(many_fetch_at_once, many)
BODY_TEST(connections_are_kept, kept)
BODY_TEST(deadline_and_cancel_end_it, ended)

static void plain_threads_fetch_too(void **state)
{
    (void)state;
    answers(NULL);
    bodies(NULL);
    requests(NULL);
    assert_no_findings();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_has_status_headers_and_text),
        cmocka_unit_test(bodies_of_any_length_come_whole),
        cmocka_unit_test(bodies_come_piece_by_piece),
        cmocka_unit_test(times_are_told_at_any_time),
        cmocka_unit_test(bodies_are_as_long_as_was_said),
        cmocka_unit_test(requests_are_what_was_asked_for),
        cmocka_unit_test(redirects_are_followed_as_far_as_is_safe),
        cmocka_unit_test(many_fetch_at_once),
        cmocka_unit_test(connections_are_kept),
        cmocka_unit_test(deadline_and_cancel_end_it),
        cmocka_unit_test(plain_threads_fetch_too),
    };
    peer_start();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    peer_stop();
    return failed;
}
