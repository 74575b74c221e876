/* bench/coir_fetch.c - fetches, from servers that run.py starts.   Try: bench/run.py --rows fetch
 * SPDX-License-Identifier: MIT
 *
 * fetch N          N at a time, 50 000 in all, of a small page from nginx, over kept connections
 * fetch_delay N    N at once, of pages that their server holds back for two seconds
 * fetch_stream N   one body of N MiB from nginx, read in pieces of 64 KiB
 * BENCH_URL        where
 * Figures of these rows: kb_each, the memory that grew, per fetch. */
#include "coir_rows.h"

#include "client.h"

#include <coir/fetch.h>

enum { FETCHES = 50000, PIECE = 64 * 1024 };

static const char *url;
static long left;

static void fetch_one(char *piece, size_t len)
{
    coir_response *r;
    ssize_t n;
    if (coir_fetch(url, NULL, &r) < 0) {
        fprintf(stderr, "%s\n", coir_fetch_error());
        exit(1);
    }
    while ((n = coir_response_read(r, piece, len)) > 0)
        ;
    if (n < 0 || coir_response_status(r) != 200)
        die("fetch");
    coir_response_free(r);
}

static void *fetch_many(void *arg)
{
    char piece[4096];
    while (left-- > 0)
        fetch_one(piece, sizeof piece);
    return arg;
}

static void all_of_them(void *arg)
{
    coir_fiber **h = handles(run.n);
    long kb = memory_now().peak_kb;
    (void)arg;
    run.ops = left;
    run.t0 = clock_ns();
    int64_t cpu = cpu_clock_ns();
    for (long i = 0; i < run.n; i++)
        h[i] = spawn(fetch_many, NULL);
    for (long i = 0; i < run.n; i++)
        join(h[i]);
    cpu = cpu_clock_ns() - cpu;
    run.t1 = clock_ns();
    snprintf(run.more, sizeof run.more, ", \"cpu_ns\": %.1f, \"kb_each\": %.1f",
             (double)cpu / (double)run.ops,
             (double)(memory_now().peak_kb - kb) / (double)run.n);
    free(h);
}

static void fetch_first(void *arg)
{
    static char piece[PIECE];
    if (left == 1) { /* what is loaded once is not the stream's */
        run.t0 = clock_ns();
        fetch_one(piece, sizeof piece);
        run.t1 = clock_ns();
        run.ops = run.n;
        return;
    }
    all_of_them(arg);
}

static void fetch(long fetches)
{
    url = getenv("BENCH_URL");
    if (!url) {
        fprintf(stderr, "BENCH_URL is not set\n");
        exit(1);
    }
    allow_files();
    left = fetches;
    runtime(fetch_first);
}

void fetch_row(void)
{
    fetch(FETCHES);
}

void fetch_delay_row(void)
{
    fetch(run.n);
}

void fetch_stream_row(void)
{
    fetch(1);
}
