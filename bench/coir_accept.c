/* bench/coir_accept.c - a server: one fiber accepts, one per connection answers.   Try:
 * coir_bench accept 1000 2
 * SPDX-License-Identifier: MIT
 *
 * accept N  N connections of 20 requests, 50 us of work each; ns per request. It starts the client,
 *           load.c. Further figures: "share", of the connections, what the busiest thread had;
 *           "client_share", of the CPU time of both processes, what the client took. */
#include "coir_rows.h"

#include "client.h"
#include "work.h"

static struct {
    int listener;
    pid_t *thread; /* of each connection: a fiber that has started stays on its worker */
    atomic_long served;
} server;

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char message[LOAD_MESSAGE_BYTES];
    ssize_t n;
    server.thread[atomic_fetch_add(&server.served, 1)] = gettid();
    while ((n = coir_read_full(fd, message, sizeof message)) > 0) {
        work(1, BENCH_REQUEST_US * BENCH_STEPS_US);
        if (coir_write_all(fd, message, (size_t)n) < 0)
            break;
    }
    coir_close(fd);
    return NULL;
}

static void accept_main(void *arg)
{
    (void)arg;
    serve_connections(server.listener, serve);
}

static double cpu_ns(const struct rusage *r)
{
    return (double)(r->ru_utime.tv_sec + r->ru_stime.tv_sec) * 1e9 +
           (double)(r->ru_utime.tv_usec + r->ru_stime.tv_usec) * 1e3;
}

/* The largest number of connections that one thread had. */
static long busiest(void)
{
    long most = 0;
    for (long i = 0; i < run.n; i++) {
        long same = 0;
        for (long j = 0; j < run.n; j++)
            same += server.thread[j] == server.thread[i];
        most = same > most ? same : most;
    }
    return most;
}

void accept_row(void)
{
    struct rusage ours;
    struct client client;
    allow_files();
    server.thread = calloc((size_t)run.n, sizeof *server.thread);
    server.listener = coir_tcp_listen("127.0.0.1", "0", 0);
    if (!server.thread || server.listener < 0)
        die("accept: set-up");
    client_start(&client, run.directory, server.listener, run.n, ACCEPT_REQUESTS, 0);
    runtime(accept_main);
    client_end(&client);
    getrusage(RUSAGE_SELF, &ours);
    run.ops = run.n * ACCEPT_REQUESTS;
    snprintf(run.more, sizeof run.more, ", \"share\": %.3f, \"client_share\": %.3f",
             (double)busiest() / (double)run.n,
             cpu_ns(&client.usage) / (cpu_ns(&ours) + cpu_ns(&client.usage)));
    free(server.thread);
}
