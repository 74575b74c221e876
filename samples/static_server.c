/* static_server.c - a small HTTP/1.1 file server, one fiber per connection.
 * Try: build/samples/static_server --root . --port 8000
 * SPDX-License-Identifier: MIT */
#include "server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct server server = {
    .host = "127.0.0.1", .port = "8000", .root_path = ".", .workers = 1, .idle_ns = COIR_SEC(15)
};

static void *serve(void *arg)
{
    struct conn c;
    struct request rq = { 0 };
    int bytes, status, one = 1;
    c.fd = (int)(intptr_t)arg;
    c.len = 0;
    setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);

    while ((bytes = request_read(&c)) != 0) {
        rq.head_only = false;
        status = bytes < 0 ? -bytes : request_parse(&rq, c.head, (size_t)bytes);
        if (server.delay_ns > 0 && coir_sleep(server.delay_ns) < 0)
            break;
        if (status) {
            answer_refuse(&c, &rq, status);
            break;
        }
        if (answer(&c, &rq) < 0 || !rq.keep)
            break;
        c.len -= (size_t)bytes;
        memmove(c.head, c.head + bytes, c.len);
    }
    coir_close(c.fd);
    return NULL;
}

/* The first fiber. It ends only when the listening socket is broken. */
static void accept_all(void *arg)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    char host[INET6_ADDRSTRLEN] = "";
    coir_attr attr = COIR_ATTR_INIT;
    (void)arg;
    attr.name = "connection";
    attr.flags = COIR_DETACHED | (server.workers > 1 ? COIR_SPREAD : 0);

    getsockname(server.listener, (struct sockaddr *)&address, &len);
    bool six = address.ss_family == AF_INET6;
    struct sockaddr_in *in4 = (void *)&address;
    struct sockaddr_in6 *in6 = (void *)&address;
    inet_ntop(address.ss_family, six ? (void *)&in6->sin6_addr : (void *)&in4->sin_addr, host,
              sizeof host);
    printf(six ? "listening on [%s]:%d\n" : "listening on %s:%d\n", host,
           ntohs(six ? in6->sin6_port : in4->sin_port));
    fflush(stdout);

    for (;;) {
        int fd = coir_accept(server.listener, NULL, NULL);
        if (fd < 0 && errno == ECONNABORTED)
            continue;
        if (fd >= 0 && coir_spawn_with(&attr, serve, (void *)(intptr_t)fd))
            continue;
        fprintf(stderr, "static_server: cannot take a connection: %s\n", strerror(errno));
        if (fd >= 0)
            coir_close(fd);
        if (coir_sleep(COIR_MS(200)) < 0) /* out of descriptors or memory: some will come free */
            return;
    }
}

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("static_server: ", stderr);
    vfprintf(stderr, format, args);
    fputs("\n", stderr);
    va_end(args);
    exit(2);
}

static int64_t parse_number(const char *option, const char *text, long max)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < 0 || value > max)
        die("--%s wants a number from 0 to %ld, not \"%s\"", option, max, text);
    return value;
}

static const char usage[] =
    "usage: static_server [OPTION]...\n"
    "Serve the files of a directory by HTTP/1.1, one fiber per connection.\n"
    "\n"
    "  --root DIR     the directory (.)\n"
    "  --host HOST    numeric address or localhost to listen on (127.0.0.1)\n"
    "  --port N       0: a free one, as the line \"listening on HOST:PORT\" tells (8000)\n"
    "  --delay-ms N   hold each answer back so long, like a far-away server (0)\n"
    "  --idle-ms N    close a connection that is silent for so long (15000)\n"
    "  --workers N    OS threads that run the fibers; 0: one per CPU (1)\n"
    "  --help         this text\n";

static void parse_options(int argc, char **argv)
{
    enum { ROOT, HOST, PORT, DELAY, IDLE, WORKERS, HELP };
    static const struct option options[] = {
        { "root", 1, NULL, ROOT },    { "host", 1, NULL, HOST },
        { "port", 1, NULL, PORT },    { "delay-ms", 1, NULL, DELAY },
        { "idle-ms", 1, NULL, IDLE }, { "workers", 1, NULL, WORKERS },
        { "help", 0, NULL, HELP },    { 0 },
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case ROOT:
            server.root_path = optarg;
            break;
        case HOST:
            server.host = optarg;
            break;
        case PORT:
            parse_number("port", optarg, 65535);
            server.port = optarg;
            break;
        case DELAY:
            server.delay_ns = COIR_MS(parse_number("delay-ms", optarg, 3600000));
            break;
        case IDLE:
            server.idle_ns = COIR_MS(parse_number("idle-ms", optarg, 3600000));
            break;
        case WORKERS:
            server.workers = (unsigned)parse_number("workers", optarg, 1024);
            break;
        case HELP:
            fputs(usage, stdout);
            exit(0);
        default: /* getopt_long has said what is wrong */
            exit(2);
        }
    }
    if (optind < argc)
        die("%s is no option; try --help", argv[optind]);
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    coir_options options = COIR_ZERO;
    parse_options(argc, argv);
    if (getrlimit(RLIMIT_NOFILE, &limit) ==
        0) { /* a connection and a file each: the usual 1024 is soon used up */
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    server.root = open(server.root_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (server.root < 0)
        die("cannot serve %s: %s", server.root_path, strerror(errno));
    server.listener = coir_tcp_listen(server.host, server.port, 0);
    if (server.listener < 0)
        die("cannot listen on %s:%s: %s", server.host, server.port, strerror(errno));
    options.workers = server.workers;
    if (coir_run(accept_all, NULL, &options) < 0)
        die("cannot start: %s%s", strerror(errno),
            errno == EPERM || errno == ENOSYS ? " (io_uring is refused here)" : "");
    return 1;
}
