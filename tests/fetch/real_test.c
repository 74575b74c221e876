/* tests/fetch/real_test.c - coir_fetch with nginx and tinyproxy: TLS and whom to trust, HTTP/2,
 * compression, ranges, proxies.
 * SPDX-License-Identifier: MIT */
#include "../sched/kit.h"
#include "servers.h"
#include "support/expect.h"

#include <coir/fetch.h>

static char ca[128], client_cert[128], client_key[128];

static const char *url(const char *scheme, const char *host, int port, const char *path)
{
    static _Thread_local char urls[8][256];
    static _Thread_local unsigned n;
    char *text = urls[n++ % 8];
    snprintf(text, sizeof urls[0], "%s://%s:%d%s", scheme, host, servers.port[port], path);
    return text;
}

static const char *tls(const char *path)
{
    return url("https", "localhost", TLS_PORT, path);
}

/* Its status; or -errno. */
static int get(const char *from, const coir_fetch_options *o, char **text, size_t *len)
{
    coir_response *r;
    *text = NULL;
    COIR_TIMEOUT(COIR_SEC(KIT_PATIENCE_S))
        if (coir_fetch(from, o, &r) < 0)
            r = NULL;
    if (!r)
        return -errno;
    int status = coir_response_status(r);
    *text = coir_response_text(r, len);
    coir_response_free(r);
    return *text ? status : -errno;
}

static void refused(const char *from, const coir_fetch_options *o, int err, const char *says)
{
    char *text;
    size_t len;
    if (!EXPECT_EQ(get(from, o, &text, &len), -err) || !EXPECT(strstr(coir_fetch_error(), says)))
        fprintf(stderr, "%s\n", coir_fetch_error());
    free(text);
}

static void whom_to_trust(void *arg)
{
    coir_fetch_options o = { .ca_file = ca };
    char *text;
    size_t len;
    (void)arg;
    EXPECT_EQ(get(tls("/"), &o, &text, &len), 200);
    EXPECT(text && strcmp(text, "hello\n") == 0);
    free(text);
    EXPECT_EQ(get(url("https", "127.0.0.1", HTTP_PORT, "/"), &o, &text, &len), -EPROTO);
    refused(tls("/"), NULL, EKEYREJECTED, ": TLS: ");
    refused(url("https", "127.0.0.1", TLS_PORT, "/"), &o, EKEYREJECTED, ": TLS: ");
    refused(url("https", "localhost", EXPIRED_PORT, "/"), &o, EKEYREJECTED, "expired");
    refused(url("https", "localhost", SELF_PORT, "/"), &o, EKEYREJECTED, "self");
    o.ca_file = "/nowhere";
    refused(tls("/"), &o, EINVAL, ": TLS: ");
    o.ca_file = ca;
    EXPECT_EQ(get(url("https", "localhost", CLIENT_PORT, "/"), &o, &text, &len), 400);
    free(text);
    o.cert_file = client_cert;
    o.key_file = client_key;
    EXPECT_EQ(get(url("https", "localhost", CLIENT_PORT, "/"), &o, &text, &len), 200);
    free(text);
    o.cert_file = "/nowhere";
    refused(url("https", "localhost", CLIENT_PORT, "/"), &o, EINVAL, ": TLS: ");
}

static void versions(void *arg)
{
    coir_fetch_options o = { .ca_file = ca };
    coir_response *r;
    char *text;
    size_t len;
    (void)arg;
    if (!EXPECT_EQ(coir_fetch(tls("/version"), &o, &r), 0))
        return;
    EXPECT_EQ(strcmp(coir_response_http(r), "2"), 0);
    EXPECT(strcmp(coir_response_header(r, "Content-Length"), "8") == 0);
    text = coir_response_text(r, &len);
    EXPECT(text && strcmp(text, "HTTP/2.0") == 0);
    free(text);
    coir_response_free(r);
    o.flags = COIR_FETCH_HTTP1;
    EXPECT_EQ(get(tls("/version"), &o, &text, &len), 200);
    EXPECT(text && strcmp(text, "HTTP/1.1") == 0);
    free(text);
    o.flags = 0;
    refused(tls("/to-plain"), &o, EPROTO, ": redirect: a redirect leads from https to http");
    o.flags = COIR_FETCH_DOWNGRADE;
    EXPECT_EQ(get(tls("/to-plain"), &o, &text, &len), 200);
    free(text);
}

enum { STREAMS = 40 };

static void *one_stream(void *arg)
{
    const coir_fetch_options o = { .ca_file = ca };
    coir_response *r;
    static char piece[STREAMS][1000];
    size_t sum = 0;
    ssize_t n = 0;
    intptr_t i = (intptr_t)arg;
    if (!EXPECT_EQ(coir_fetch(tls("/noise"), &o, &r), 0))
        return NULL;
    EXPECT_EQ(strcmp(coir_response_http(r), "2"), 0);
    /* Some read slowly, and some not to the end. */
    while ((n = coir_response_read(r, piece[i], sizeof piece[i])) > 0) {
        sum += (size_t)n;
        if (i % 4 == 0 && sum > 100000)
            break;
        if (i % 4 == 1 && sum % 7 == 0)
            coir_yield();
    }
    if (!EXPECT(i % 4 == 0 || (n == 0 && sum == 600000)))
        fprintf(stderr, "%zd after %zu: %s\n", n, sum, coir_fetch_error());
    coir_response_free(r);
    return NULL;
}

static void streams(void *arg)
{
    coir_fiber *f[STREAMS];
    (void)arg;
    for (int round = 0; round < 2; round++) {
        for (intptr_t i = 0; i < STREAMS; i++)
            f[i] = coir_spawn(one_stream, (void *)i);
        for (int i = 0; i < STREAMS; i++)
            coir_join(f[i], NULL);
    }
}

static void forms(void *arg)
{
    coir_fetch_options o = COIR_ZERO;
    coir_response *r;
    char *text;
    size_t len;
    (void)arg;
    if (!EXPECT_EQ(coir_fetch(url("http", "localhost", HTTP_PORT, "/zeds"), NULL, &r), 0))
        return;
    EXPECT(strcmp(coir_response_header(r, "Content-Encoding"), "gzip") == 0);
    text = coir_response_text(r, &len);
    EXPECT(text && len == 100000 && strspn(text, "z") == len);
    free(text);
    coir_fetch_times times;
    coir_response_times(r, &times);
    EXPECT(times.body_bytes < 1000);
    coir_response_free(r);
    o.flags = COIR_FETCH_RAW;
    if (!EXPECT_EQ(coir_fetch(url("http", "localhost", HTTP_PORT, "/zeds"), &o, &r), 0))
        return;
    EXPECT(!coir_response_header(r, "Content-Encoding"));
    coir_response_free(r);
    o = (coir_fetch_options){ .range = "10-19" };
    EXPECT_EQ(get(url("http", "localhost", HTTP_PORT, "/zeds"), &o, &text, &len), 206);
    EXPECT_EQ(len, 10);
    free(text);
    EXPECT_EQ(get(url("http", "localhost", HTTP_PORT, "/private"), NULL, &text, &len), 401);
    free(text);
    o = (coir_fetch_options){ .user = "user:secret" };
    EXPECT_EQ(get(url("http", "localhost", HTTP_PORT, "/private"), &o, &text, &len), 200);
    free(text);
    char with[64];
    snprintf(with, sizeof with, "user:secret@localhost");
    EXPECT_EQ(get(url("http", with, HTTP_PORT, "/private"), NULL, &text, &len), 200);
    free(text);
    if (EXPECT_EQ(coir_fetch(url("http", with, HTTP_PORT, "/private"), NULL, &r), 0)) {
        EXPECT(!strstr(coir_response_url(r), "secret"));
        coir_response_free(r);
    }
    refused(url("http", "user:secret@localhost", HTTP_PORT, "/%00/ x"), NULL, EINVAL, "blank");
}

static void proxies(void *arg)
{
    char proxy[64], *text;
    coir_fetch_options o = { .proxy = proxy, .ca_file = ca };
    coir_response *r;
    size_t len;
    (void)arg;
    snprintf(proxy, sizeof proxy, "http://localhost:%d", servers.port[PROXY_PORT]);
    if (!EXPECT_EQ(coir_fetch(url("http", "localhost", HTTP_PORT, "/"), &o, &r), 0))
        return;
    EXPECT(coir_response_header(r, "Via") != NULL);
    coir_response_free(r);
    EXPECT_EQ(get(tls("/"), &o, &text, &len), 200);
    free(text);
    setenv("http_proxy", proxy, 1);
    o = (coir_fetch_options)COIR_ZERO;
    if (EXPECT_EQ(coir_fetch(url("http", "localhost", HTTP_PORT, "/"), &o, &r), 0))
        EXPECT(coir_response_header(r, "Via") != NULL);
    coir_response_free(r);
    setenv("no_proxy", "example.com,localhost", 1);
    if (EXPECT_EQ(coir_fetch(url("http", "localhost", HTTP_PORT, "/"), &o, &r), 0))
        EXPECT(!coir_response_header(r, "Via"));
    coir_response_free(r);
    o.proxy = proxy;
    if (EXPECT_EQ(coir_fetch(url("http", "localhost", HTTP_PORT, "/"), &o, &r), 0))
        EXPECT(coir_response_header(r, "Via") != NULL);
    coir_response_free(r);
    unsetenv("no_proxy");
    o.proxy = "";
    if (EXPECT_EQ(coir_fetch(url("http", "localhost", HTTP_PORT, "/"), &o, &r), 0))
        EXPECT(!coir_response_header(r, "Via"));
    coir_response_free(r);
    unsetenv("http_proxy");
    o.proxy = "http://127.0.0.1:1";
    refused(url("http", "localhost", HTTP_PORT, "/"), &o, ECONNREFUSED, ": connect: ");
    o.proxy = "http://no-such-proxy.invalid:8080";
    refused(url("http", "localhost", HTTP_PORT, "/"), &o, EHOSTUNREACH, ": resolve: ");
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

BODY_TEST(only_who_can_be_trusted_is_talked_to, whom_to_trust)
BODY_TEST(http_2_is_spoken_where_it_can_be, versions)
BODY_TEST(streams_share_connections_and_no_data, streams)
BODY_TEST(bodies_come_as_they_are_meant, forms)
BODY_TEST(proxies_are_used_as_told, proxies)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_who_can_be_trusted_is_talked_to),
        cmocka_unit_test(http_2_is_spoken_where_it_can_be),
        cmocka_unit_test(streams_share_connections_and_no_data),
        cmocka_unit_test(bodies_come_as_they_are_meant),
        cmocka_unit_test(proxies_are_used_as_told),
    };
    int failed = 1;
    if (servers_start()) {
        snprintf(ca, sizeof ca, "%s/ca.pem", servers.dir);
        snprintf(client_cert, sizeof client_cert, "%s/client.pem", servers.dir);
        snprintf(client_key, sizeof client_key, "%s/client.key", servers.dir);
        failed = cmocka_run_group_tests(tests, NULL, NULL);
    } else {
        fprintf(stderr, "the servers do not start: %s\n", servers.dir);
    }
    servers_stop();
    return failed;
}
