/* blocking_client.c - the yardstick: fetch URL after URL with plain blocking sockets, no coir.
 * Try: build/samples/blocking_client 100 < urls
 * SPDX-License-Identifier: MIT
 *
 * One connection, one thread, one download at a time: what the same work costs without fibers. It
 * knows as much HTTP as static_server speaks, and all URLs must name one server by IPv4 address. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("blocking_client: ", stderr);
    vfprintf(stderr, format, args);
    fputs("\n", stderr);
    va_end(args);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int dial(const char *host, const char *port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        die("%s is no IPv4 address", host);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("cannot connect to %s:%s: %s", host, port, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* Fetch one page, and return the bytes of its body. */
static long long fetch(int fd, const char *host, const char *port, const char *path)
{
    char buf[16384], *body = NULL;
    size_t have = 0;
    int len = snprintf(buf, sizeof buf, "GET %s HTTP/1.1\r\nHost: %s:%s\r\n\r\n", path, host, port);
    if (send(fd, buf, (size_t)len, MSG_NOSIGNAL) != len)
        die("%s: cannot send: %s", path, strerror(errno));
    while (!body) {
        ssize_t n = recv(fd, buf + have, sizeof buf - 1 - have, 0);
        if (n <= 0)
            die("%s: no complete header: %s", path,
                n < 0 ? strerror(errno) : "the connection ended");
        have += (size_t)n;
        buf[have] = 0;
        body = strstr(buf, "\r\n\r\n");
    }
    *body = 0;
    body += 4;
    char *field = strstr(buf, "\r\nContent-Length:");
    if (strncmp(buf, "HTTP/1.1 200 ", 13) != 0 || !field)
        die("%s: %.*s", path, (int)strcspn(buf, "\r\n"), buf);
    long long length = atoll(field + 17), left = length - (long long)(have - (size_t)(body - buf));
    while (left > 0) {
        ssize_t n = recv(fd, buf, left < (long long)sizeof buf ? (size_t)left : sizeof buf, 0);
        if (n <= 0)
            die("%s: no complete body: %s", path, n < 0 ? strerror(errno) : "the connection ended");
        left -= n;
    }
    return length;
}

int main(int argc, char **argv)
{
    char line[4096], host[64], port[6], path[3900];
    long pages = 0, max = argc > 1 ? atol(argv[1]) : 1000000000;
    long long bytes = 0;
    int fd = -1;
    if (argc > 2 || max < 1) {
        fputs("usage: blocking_client [COUNT] < LIST-OF-URLS\n", stderr);
        return 2;
    }
    double start = now();
    while (pages < max && fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "http://%63[0-9.]:%5[0-9]%3899[^\n]", host, port, path) != 3)
            die("this is not http://ADDRESS:PORT/PATH: %s", line);
        if (fd < 0)
            fd = dial(host, port);
        bytes += fetch(fd, host, port, path);
        pages++;
    }
    double elapsed = now() - start;
    printf("%ld pages, %lld bytes, in %.2f s: %.0f pages/s over 1 connection\n", pages, bytes,
           elapsed, elapsed > 0 ? (double)pages / elapsed : 0);
    return 0;
}
