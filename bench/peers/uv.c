/* bench/peers/uv.c - an echo server on libuv.   Try: uv echo 50
 * SPDX-License-Identifier: MIT
 *
 * echo N  N connections, one loop. All read into one buffer, and a send is tried at once
 *         (uv_try_write): with a buffer and a request for each it takes more. */
#include "../client.h"

#include <libgen.h>
#include <uv.h>

static struct served served;
static char bytes[65536];

static struct {
    uv_tcp_t tcp;
    long left; /* connections that are still to come */
} listener;

static void check(int err, const char *what)
{
    if (err < 0) {
        fprintf(stderr, "%s: %s\n", what, uv_strerror(err));
        exit(1);
    }
}

static void give_buffer(uv_handle_t *handle, size_t wish, uv_buf_t *buf)
{
    (void)handle, (void)wish;
    *buf = uv_buf_init(bytes, sizeof bytes);
}

static void gone(uv_handle_t *handle)
{
    free(handle);
}

static void answer(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    if (n == 0)
        return;
    if (n < 0) {
        uv_close((uv_handle_t *)stream, gone);
        return;
    }
    /* 64 bytes always find room. */
    uv_buf_t out = uv_buf_init(buf->base, (unsigned)n);
    if (uv_try_write(stream, &out, 1) != n)
        die("uv_try_write");
    count_served(&served, n);
}

static void connected(uv_stream_t *server, int err)
{
    check(err, "connection");
    uv_tcp_t *tcp = malloc(sizeof *tcp);
    if (!tcp)
        die("malloc");
    check(uv_tcp_init(server->loop, tcp), "uv_tcp_init");
    check(uv_accept(server, (uv_stream_t *)tcp), "uv_accept");
    check(uv_read_start((uv_stream_t *)tcp, give_buffer, answer), "uv_read_start");
    if (--listener.left == 0)
        uv_close((uv_handle_t *)server, NULL);
}

/* The loop ends with the last connection. */
static void echo(long n, const char *directory)
{
    struct client client;
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    char more[256];
    uv_os_fd_t fd;
    uv_loop_t *loop = uv_default_loop();
    check(uv_tcp_init(loop, &listener.tcp), "uv_tcp_init");
    check(uv_tcp_bind(&listener.tcp, (struct sockaddr *)&any, 0), "uv_tcp_bind");
    check(uv_listen((uv_stream_t *)&listener.tcp, 4096, connected), "uv_listen");
    check(uv_fileno((uv_handle_t *)&listener.tcp, &fd), "uv_fileno");
    listener.left = n;
    served.all = n * echo_requests(n) + 1;
    client_start(&client, directory, fd, n, echo_requests(n), 1);
    uv_run(loop, UV_RUN_DEFAULT);
    client_end(&client);
    print_served(more, sizeof more, &served, &client);
    report("echo", (double)(served.t1 - served.t0) / (double)(served.all - 1), served.all - 1,
           NULL, more);
}

int main(int argc, char **argv)
{
    long n = argc == 3 && !strcmp(argv[1], "echo") ? atol(argv[2]) : 0;
    if (argc == 3 && !strcmp(argv[1], "version")) {
        report_version("libuv", uv_version_string());
        return 0;
    }
    if (n < 1) {
        fprintf(stderr, "usage: %s echo CONNECTIONS\n", argv[0]);
        return 2;
    }
    allow_files();
    echo(n, dirname(argv[0]));
    return 0;
}
