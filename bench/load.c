/* bench/load.c - a light client: one thread, epoll, many connections.   Try: load 7000 1000
 * SPDX-License-Identifier: MIT
 *
 * Opens all connections at once; each sends a request of 64 bytes, waits for as many bytes, and
 * repeats. It runs on any CPU, also when who started it was pinned. */
#include "load.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "report.h"

struct connection {
    int fd;
    long requests; /* left, the running one included */
    size_t got;    /* bytes of the running one's answer */
};

static void send_request(struct connection *c)
{
    static const char message[LOAD_MESSAGE_BYTES];
    c->got = 0;
    if (send(c->fd, message, sizeof message, MSG_NOSIGNAL) != (ssize_t)sizeof message)
        die("load: send");
}

static void open_connection(struct connection *c, int port, int epoll)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr = { htonl(INADDR_LOOPBACK) } };
    struct epoll_event event = { .events = EPOLLIN, .data = { .ptr = c } };
    const int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    c->requests = LOAD_REQUESTS;
    /* On loopback a connect ends at once, as long as the backlog has room. */
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0)
        die("load: connect");
    if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) < 0)
        die("load: set-up");
    send_request(c);
}

/* Returns 1 when that was the connection's last answer. */
static int take_answer(struct connection *c)
{
    char bytes[LOAD_MESSAGE_BYTES];
    ssize_t n = recv(c->fd, bytes, sizeof bytes - c->got, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0)
        die("load: recv");
    c->got += (size_t)n;
    if (c->got < sizeof bytes)
        return 0;
    if (--c->requests > 0) {
        send_request(c);
        return 0;
    }
    close(c->fd);
    return 1;
}

int main(int argc, char **argv)
{
    long n = argc == 3 ? atol(argv[2]) : 0, left = n;
    struct rlimit files;
    struct epoll_event events[256];
    cpu_set_t all;
    if (n < 1) {
        fprintf(stderr, "usage: %s PORT CONNECTIONS\n", argv[0]);
        return 2;
    }
    memset(&all, 0xff, sizeof all);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct connection *connections = calloc((size_t)n, sizeof *connections);
    if (epoll < 0 || !connections || sched_setaffinity(0, sizeof all, &all) < 0 ||
        setrlimit(RLIMIT_NOFILE, &files) < 0)
        die("load");
    for (long i = 0; i < n; i++)
        open_connection(&connections[i], atoi(argv[1]), epoll);
    while (left > 0) {
        int count = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < count; i++)
            left -= take_answer(events[i].data.ptr);
    }
    return 0;
}
