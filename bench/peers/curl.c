/* bench/peers/curl.c - fetches by hand: libcurl's multi_socket interface and epoll.
 * Try: BENCH_URL=http://127.0.0.1/ curl fetch 100
 * SPDX-License-Identifier: MIT
 *
 * fetch N   N at a time, 50 000 in all, over kept connections. A handle for each of the N, used
 *           again; the URL is set each time, compressed bodies are asked for, and the status is
 *           looked at. */
#include "../report.h"

#include <curl/curl.h>
#include <errno.h>
#include <sys/epoll.h>

enum { FETCHES = 50000, EVENTS = 64 };

static struct {
    CURLM *multi;
    const char *url;
    int epoll;
    long timeout_ms, begun, done;
    size_t bytes;
} all = { .timeout_ms = -1 };

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    struct epoll_event event = { .data.fd = fd };
    (void)easy, (void)arg;
    event.events = (what & CURL_POLL_IN && what != CURL_POLL_REMOVE ? EPOLLIN : 0u) |
                   (what & CURL_POLL_OUT && what != CURL_POLL_REMOVE ? EPOLLOUT : 0u);
    if (what == CURL_POLL_REMOVE)
        return epoll_ctl(all.epoll, EPOLL_CTL_DEL, fd, NULL) & 0;
    if (epoll_ctl(all.epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
    curl_multi_assign(all.multi, fd, &all);
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi, (void)arg;
    all.timeout_ms = timeout_ms;
    return 0;
}

static size_t on_body(char *bytes, size_t one, size_t len, void *arg)
{
    (void)bytes, (void)one, (void)arg;
    all.bytes += len;
    return len;
}

static void begin(CURL *easy)
{
    if (all.begun++ >= FETCHES)
        return;
    curl_easy_setopt(easy, CURLOPT_URL, all.url);
    if (curl_multi_add_handle(all.multi, easy))
        die("curl_multi_add_handle");
}

static void settle(void)
{
    CURLMsg *msg;
    int left;
    while ((msg = curl_multi_info_read(all.multi, &left))) {
        CURL *easy = msg->easy_handle;
        long status = 0;
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        if (msg->data.result || status != 200)
            die("a fetch failed");
        all.done++;
        curl_multi_remove_handle(all.multi, easy);
        begin(easy);
    }
}

static void wait_once(void)
{
    struct epoll_event events[EVENTS];
    int running, n = 0;
    if (all.timeout_ms)
        n = epoll_wait(all.epoll, events, EVENTS, (int)all.timeout_ms);
    if (n == 0) {
        all.timeout_ms = -1;
        curl_multi_socket_action(all.multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    for (int i = 0; i < n; i++) {
        int mask = (events[i].events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
                   (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (events[i].events & EPOLLERR ? CURL_CSELECT_ERR : 0);
        curl_multi_socket_action(all.multi, events[i].data.fd, mask, &running);
    }
    settle();
}

static void fetch_row(long n)
{
    char more[64];
    curl_global_init(CURL_GLOBAL_DEFAULT);
    all.url = getenv("BENCH_URL");
    all.epoll = epoll_create1(EPOLL_CLOEXEC);
    all.multi = curl_multi_init();
    if (!all.url || all.epoll < 0 || !all.multi)
        die("BENCH_URL, or curl");
    curl_multi_setopt(all.multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(all.multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(all.multi, CURLMOPT_MAXCONNECTS, n);
    int64_t t0 = clock_ns(), cpu = cpu_clock_ns();
    for (long i = 0; i < n; i++) {
        CURL *easy = curl_easy_init();
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        begin(easy);
    }
    while (all.done < FETCHES)
        wait_once();
    snprintf(more, sizeof more, ", \"cpu_ns\": %.1f", (double)(cpu_clock_ns() - cpu) / FETCHES);
    report("fetch", (double)(clock_ns() - t0) / FETCHES, FETCHES, NULL, more);
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "fetch") && atol(argv[2]) > 0)
        fetch_row(atol(argv[2]));
    else if (argc == 3 && !strcmp(argv[1], "version"))
        report_version(curl_version(), "");
    else
        return fprintf(stderr, "usage: %s fetch N\n", argv[0]) ? 2 : 2;
    return 0;
}
