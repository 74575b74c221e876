/* bench/coir_rows.h - what the files of coir_bench share: the run's figures, and calls that do not
 * fail.
 * SPDX-License-Identifier: MIT */
#ifndef BENCH_COIR_ROWS_H
#define BENCH_COIR_ROWS_H

#include <coir.h>

#include <stdatomic.h>

#include "report.h"

extern struct run {
    long n;                /* the argument N */
    unsigned workers;      /* the argument WORKERS, or 1 */
    const char *directory; /* where this program and its helpers are */
    int64_t t0, t1;        /* ns is the time between, divided by ops */
    long ops;
    struct memory memory; /* at the moment that matters, or all 0 for the end of the run */
    char more[256];       /* the row's own figures: `, "key": value` */
} run;

/* Start the runtime with run.workers and run.n to do; each row's function below is its main. */
void runtime(void (*fn)(void *));

/* coir_coord.c, coir_accept.c, coir_echo.c, coir_file.c, coir_fetch.c: each starts the runtime by
 * itself. */
void chan_pingpong_row(void);
void chan_unbuf_row(void);
void chan_buf128_row(void);
void mutex_row(void);
void skynet_row(void);
void forkjoin_row(void);
void forkjoin_flat_row(void);
void accept_row(void);
void echo_row(void);
void fetch_row(void);
void fetch_delay_row(void);
void fetch_stream_row(void);
void echo_epoll_row(void);
void file_cached_row(void);
void file_direct_row(void);

static inline coir_fiber **handles(long n)
{
    coir_fiber **h = calloc((size_t)n, sizeof *h);
    if (!h)
        die("calloc");
    return h;
}

static inline coir_fiber *spawn(void *(*fn)(void *), void *arg)
{
    coir_fiber *f = coir_spawn(fn, arg);
    if (!f)
        die("coir_spawn");
    return f;
}

static inline void *join(coir_fiber *f)
{
    void *result;
    if (coir_join(f, &result) < 0)
        die("coir_join");
    return result;
}

/* Accept run.n connections, each for a fiber, and wait until all are served. Between the first one
 * and the end lies the run's time. */
static inline void serve_connections(int listener, void *(*serve)(void *fd))
{
    coir_fiber **h = handles(run.n);
    for (long i = 0; i < run.n; i++) {
        int fd = coir_accept(listener, NULL, NULL);
        if (fd < 0)
            die("coir_accept");
        if (i == 0)
            run.t0 = clock_ns();
        h[i] = spawn(serve, (void *)(intptr_t)fd);
    }
    for (long i = 0; i < run.n; i++)
        join(h[i]);
    run.t1 = clock_ns();
    free(h);
}

#endif
