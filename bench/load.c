/* bench/load.c - a light client: one thread, epoll, many connections.   Try: load 7000 1000 20 0
 * SPDX-License-Identifier: MIT
 *
 * Opens all connections at once; each sends a request of 64 bytes, waits for as many bytes, and
 * repeats. FIRST 1: but before that it waits for the answer to one request on the last of them; by
 * then the server has accepted all. At the end it prints the median and the 99th percentile of the
 * round trips, in ns. It runs on those CPUs that who started it does not, if there are any. */
#include "client.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/epoll.h>

struct connection {
    int fd;
    long requests; /* left, the running one included */
    size_t got;    /* bytes of the running one's answer */
    int64_t sent_ns;
};

static struct {
    int64_t *ns; /* of each round trip */
    long n;
} trips;

static void send_request(struct connection *c)
{
    static const char message[LOAD_MESSAGE_BYTES];
    c->got = 0;
    c->sent_ns = clock_ns();
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
    /* On loopback a connect ends at once, as long as the backlog has room. */
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0)
        die("load: connect");
    if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) < 0)
        die("load: set-up");
}

static void first_request(struct connection *c)
{
    char bytes[LOAD_MESSAGE_BYTES];
    send_request(c);
    if (recv(c->fd, bytes, sizeof bytes, MSG_WAITALL) != (ssize_t)sizeof bytes)
        die("load: the first answer");
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
    trips.ns[trips.n++] = clock_ns() - c->sent_ns;
    if (--c->requests > 0) {
        send_request(c);
        return 0;
    }
    close(c->fd);
    return 1;
}

static void leave_cpus(void)
{
    cpu_set_t theirs, ours;
    if (sched_getaffinity(0, sizeof theirs, &theirs) < 0)
        die("sched_getaffinity");
    memset(&ours, 0xff, sizeof ours);
    CPU_XOR(&ours, &ours, &theirs);
    if (sched_setaffinity(0, sizeof ours, &ours) < 0) {
        memset(&ours, 0xff, sizeof ours);
        sched_setaffinity(0, sizeof ours, &ours);
    }
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    long n = argc == 5 ? atol(argv[2]) : 0, each = argc == 5 ? atol(argv[3]) : 0, left = n;
    struct epoll_event events[256];
    if (n < 1 || each < 1) {
        fprintf(stderr, "usage: %s PORT CONNECTIONS REQUESTS FIRST\n", argv[0]);
        return 2;
    }
    leave_cpus();
    allow_files();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct connection *connections = calloc((size_t)n, sizeof *connections);
    trips.ns = calloc((size_t)(n * each), sizeof *trips.ns);
    if (epoll < 0 || !connections || !trips.ns)
        die("load");
    bool first = atoi(argv[4]);
    for (long i = 0; i < n; i++) {
        connections[i].requests = each;
        open_connection(&connections[i], atoi(argv[1]), epoll);
        if (!first)
            send_request(&connections[i]);
    }
    if (first)
        first_request(&connections[n - 1]);
    for (long i = 0; first && i < n; i++)
        send_request(&connections[i]);
    while (left > 0) {
        int count = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < count; i++)
            left -= take_answer(events[i].data.ptr);
    }
    qsort(trips.ns, (size_t)trips.n, sizeof *trips.ns, by_size);
    printf("%ld %ld\n", (long)trips.ns[trips.n / 2], (long)trips.ns[trips.n * 99 / 100]);
    return 0;
}
