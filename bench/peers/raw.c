/* bench/peers/raw.c - an echo server by hand, without fibers: what a program for the one purpose
 * can reach.   Try: raw echo 50
 * SPDX-License-Identifier: MIT
 *
 * echo N        io_uring: multishot accept, multishot receive into provided buffers, send(2)
 * echo_epoll N  epoll, level-triggered: recv(2), send(2) */
#include "../client.h"

#include <errno.h>
#include <libgen.h>
#include <liburing.h>
#include <stdbool.h>
#include <sys/epoll.h>

enum { BUFFERS = 4096, BUFFER_BYTES = 512, GROUP = 1, EVENTS = 256 };

static struct served served;

static void answer(int fd, const char *bytes, ssize_t n)
{
    if (send(fd, bytes, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n)
        die("send");
    count_served(&served, n);
}

static void accept_sqe(struct io_uring *ring, int listener)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data64(sqe, (uint64_t)listener);
}

static void recv_sqe(struct io_uring *ring, int fd)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    if (!sqe) {
        io_uring_submit(ring);
        sqe = io_uring_get_sqe(ring);
    }
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = GROUP;
    io_uring_sqe_set_data64(sqe, (uint64_t)fd);
}

static struct io_uring_buf_ring *provide(struct io_uring *ring, char *buffers)
{
    struct io_uring_buf_ring *br;
    size_t bytes = BUFFERS * sizeof(struct io_uring_buf);
    if (posix_memalign((void **)&br, 4096, bytes))
        die("posix_memalign");
    struct io_uring_buf_reg reg = { .ring_addr = (uint64_t)(uintptr_t)br,
                                    .ring_entries = BUFFERS,
                                    .bgid = GROUP };
    if (io_uring_register_buf_ring(ring, &reg, 0) < 0)
        die("io_uring_register_buf_ring");
    io_uring_buf_ring_init(br);
    for (unsigned i = 0; i < BUFFERS; i++)
        io_uring_buf_ring_add(br, buffers + (size_t)i * BUFFER_BYTES, BUFFER_BYTES,
                              (unsigned short)i, BUFFERS - 1, (int)i);
    io_uring_buf_ring_advance(br, BUFFERS);
    return br;
}

/* Returns the connections that have ended with it. */
static long received(struct io_uring *ring, struct io_uring_buf_ring *br, char *buffers,
                     const struct io_uring_cqe *cqe)
{
    int fd = (int)cqe->user_data;
    if (cqe->res > 0) {
        unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
        char *bytes = buffers + (size_t)id * BUFFER_BYTES;
        answer(fd, bytes, cqe->res);
        io_uring_buf_ring_add(br, bytes, BUFFER_BYTES, (unsigned short)id, BUFFERS - 1, 0);
        io_uring_buf_ring_advance(br, 1);
    } else if (cqe->res != -ENOBUFS) {
        close(fd);
        return 1;
    }
    if (!(cqe->flags & IORING_CQE_F_MORE))
        recv_sqe(ring, fd);
    return 0;
}

static void on_uring(int listener, long left)
{
    struct io_uring ring;
    struct io_uring_params params = { .flags = IORING_SETUP_SINGLE_ISSUER |
                                               IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
                                      .cq_entries = 16384 };
    if (io_uring_queue_init_params(1024, &ring, &params) < 0)
        die("io_uring_queue_init_params");
    char *buffers = calloc(BUFFERS, BUFFER_BYTES);
    struct io_uring_buf_ring *br = provide(&ring, buffers);
    accept_sqe(&ring, listener);
    while (left > 0) {
        struct io_uring_cqe *cqe;
        unsigned head, n = 0;
        io_uring_submit_and_wait(&ring, 1);
        io_uring_for_each_cqe(&ring, head, cqe) {
            n++;
            if ((int)cqe->user_data != listener) {
                left -= received(&ring, br, buffers, cqe);
                continue;
            }
            if (cqe->res >= 0)
                recv_sqe(&ring, cqe->res);
            if (!(cqe->flags & IORING_CQE_F_MORE))
                accept_sqe(&ring, listener);
        }
        io_uring_cq_advance(&ring, n);
    }
    io_uring_queue_exit(&ring);
    free(br);
    free(buffers);
}

static long ready(int epoll, int listener, int fd)
{
    char bytes[4096];
    if (fd == listener) {
        struct epoll_event event = { .events = EPOLLIN };
        while ((event.data.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
            if (epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event) < 0)
                die("epoll_ctl");
        return 0;
    }
    ssize_t n = recv(fd, bytes, sizeof bytes, 0);
    if (n > 0)
        answer(fd, bytes, n);
    if (n > 0 || (n < 0 && errno == EAGAIN))
        return 0;
    close(fd);
    return 1;
}

static void on_epoll(int listener, long left)
{
    struct epoll_event events[EVENTS], event = { .events = EPOLLIN, .data.fd = listener };
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
        die("epoll");
    while (left > 0) {
        int n = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++)
            left -= ready(epoll, listener, events[i].data.fd);
    }
    close(epoll);
}

int main(int argc, char **argv)
{
    long n = argc == 3 ? atol(argv[2]) : 0;
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    struct client client;
    char more[256];
    if (argc == 3 && !strcmp(argv[1], "version")) {
        report_version("raw", "io_uring and epoll");
        return 0;
    }
    bool epoll = argc == 3 && !strcmp(argv[1], "echo_epoll");
    if (n < 1 || (!epoll && strcmp(argv[1], "echo"))) {
        fprintf(stderr, "usage: %s echo|echo_epoll CONNECTIONS\n", argv[0]);
        return 2;
    }
    allow_files();
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (epoll ? SOCK_NONBLOCK : 0), 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&any, sizeof any) < 0 ||
        listen(listener, 4096) < 0)
        die("listen");
    served.all = n * echo_requests(n) + 1;
    client_start(&client, dirname(argv[0]), listener, n, echo_requests(n), 1);
    (epoll ? on_epoll : on_uring)(listener, n);
    client_end(&client);
    print_served(more, sizeof more, &served, &client);
    report(argv[1], (double)(served.t1 - served.t0) / (double)(served.all - 1), served.all - 1,
           NULL, more);
    return 0;
}
