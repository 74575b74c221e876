/* bench/coir_echo.c - an echo server: a fiber per connection.   Try: coir_bench echo 50
 * SPDX-License-Identifier: MIT
 *
 * echo N        N connections at a time, 200 000 requests in all; ns per request, on io_uring, and
 * echo_epoll N  on the epoll engine. Further figures: the server's CPU time per request, and the
 *               client's round trips. */
#include "coir_rows.h"

#include "client.h"

static int listener;
static struct served served;

static void *answer(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char bytes[4096];
    ssize_t n;
    while ((n = coir_recv(fd, bytes, sizeof bytes, 0)) > 0) {
        if (coir_send(fd, bytes, (size_t)n, 0) != n)
            break;
        count_served(&served, n);
    }
    coir_close(fd);
    return NULL;
}

static void echo_main(void *arg)
{
    (void)arg;
    serve_connections(listener, answer);
}

static void echo_on(const char *engine)
{
    struct client client;
    allow_files();
    setenv("COIR_IO", engine, 1);
    listener = coir_tcp_listen("127.0.0.1", "0", 0);
    if (listener < 0)
        die("coir_tcp_listen");
    served.all = run.n * echo_requests(run.n) + 1;
    client_start(&client, run.directory, listener, run.n, echo_requests(run.n), 1);
    runtime(echo_main);
    client_end(&client);
    run.t0 = served.t0;
    run.t1 = served.t1;
    run.ops = served.all - 1;
    print_served(run.more, sizeof run.more, &served, &client);
}

void echo_row(void)
{
    echo_on("uring");
}

void echo_epoll_row(void)
{
    echo_on("epoll");
}
