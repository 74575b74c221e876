/* bench/coir_coord.c - fibers that wait for each other.   Try: coir_bench mutex 1000 2
 * SPDX-License-Identifier: MIT
 *
 * chan_pingpong N  N messages there and back, two channels without room      ns per round trip
 * chan_unbuf N     N messages one way, without room                          ns per message
 * chan_buf128 N    the same with room for 128                                ns per message
 * mutex N          N fibers, 1000 times each: lock, count, yield, unlock     ns per iteration
 * skynet N         a tree of N leaves: each node spawns ten and joins them   ns per leaf
 * forkjoin N       N pieces of 200 us of work, halved until there is one     ns per piece
 * forkjoin_flat N  the same, a fiber per piece, all spawned by one           ns per piece */
#include "coir_rows.h"

#include <pthread.h>

#include "work.h"

enum { FORKJOIN_ROUNDS = 3 };

static coir_chan *there, *back;

static coir_chan *chan_new(size_t capacity)
{
    coir_chan *c = coir_chan_new(sizeof(long), capacity);
    if (!c)
        die("coir_chan_new");
    return c;
}

static void *echoer(void *arg)
{
    long v;
    while (coir_chan_recv(there, &v) == 0)
        if (coir_chan_send(back, &v) < 0)
            die("coir_chan_send");
    return arg;
}

static void pingpong_main(void *arg)
{
    (void)arg;
    there = chan_new(0);
    back = chan_new(0);
    coir_fiber *f = spawn(echoer, NULL);
    run.t0 = clock_ns();
    for (long i = 0, v; i < run.n; i++)
        if (coir_chan_send(there, &i) < 0 || coir_chan_recv(back, &v) < 0 || v != i)
            die("chan_pingpong: another number came back");
    run.t1 = clock_ns();
    run.ops = run.n;
    coir_chan_close(there);
    join(f);
    coir_chan_free(there);
    coir_chan_free(back);
}

void chan_pingpong_row(void)
{
    runtime(pingpong_main);
}

static void *producer(void *arg)
{
    for (long i = 0; i < run.n; i++)
        if (coir_chan_send(there, &i) < 0)
            die("coir_chan_send");
    coir_chan_close(there);
    return arg;
}

static void one_way(size_t capacity)
{
    there = chan_new(capacity);
    run.t0 = clock_ns();
    coir_fiber *f = spawn(producer, NULL);
    long sum = 0;
    for (long v; coir_chan_recv(there, &v) == 0;)
        sum += v;
    run.t1 = clock_ns();
    run.ops = run.n;
    if (sum != run.n * (run.n - 1) / 2) {
        fputs("a message was lost\n", stderr);
        exit(1);
    }
    join(f);
    coir_chan_free(there);
}

static void unbuf_main(void *arg)
{
    (void)arg;
    one_way(0);
}

static void buf128_main(void *arg)
{
    (void)arg;
    one_way(128);
}

void chan_unbuf_row(void)
{
    runtime(unbuf_main);
}

void chan_buf128_row(void)
{
    runtime(buf128_main);
}

static struct {
    coir_mutex mutex;
    long value;
    atomic_long started;
} locked;

static void *locker(void *arg)
{
    atomic_fetch_add(&locked.started, 1);
    for (long i = 0; i < BENCH_LOCKS; i++) {
        coir_mutex_lock(&locked.mutex);
        locked.value++;
        coir_yield();
        coir_mutex_unlock(&locked.mutex);
    }
    return arg;
}

/* All wait for the mutex before the clock starts: no spawn and no first touch of a stack is in. */
static void mutex_main(void *arg)
{
    coir_fiber **h = handles(run.n);
    (void)arg;
    coir_mutex_lock(&locked.mutex);
    for (long i = 0; i < run.n; i++)
        h[i] = spawn(locker, NULL);
    while (atomic_load(&locked.started) < run.n)
        coir_yield();
    run.t0 = clock_ns();
    coir_mutex_unlock(&locked.mutex);
    for (long i = 0; i < run.n; i++)
        join(h[i]);
    run.t1 = clock_ns();
    run.ops = run.n * BENCH_LOCKS;
    if (locked.value != run.ops) {
        fprintf(stderr, "mutex: %ld of %ld counted\n", locked.value, run.ops);
        exit(1);
    }
    free(h);
}

void mutex_row(void)
{
    runtime(mutex_main);
}

/* The leaves [first, first + size) below a node; a leaf's result is its number. */
struct node {
    long first, size;
};

static void *skynet(void *arg)
{
    const struct node *self = arg;
    struct node child[10];
    coir_fiber *f[10];
    long sum = 0;
    if (self->size == 1)
        return (void *)self->first;
    for (long i = 0; i < 10; i++) {
        child[i] = (struct node){ self->first + i * (self->size / 10), self->size / 10 };
        f[i] = spawn(skynet, &child[i]);
    }
    for (int i = 0; i < 10; i++)
        sum += (long)join(f[i]);
    return (void *)sum;
}

static void skynet_main(void *arg)
{
    struct node root = { 0, run.n };
    (void)arg;
    run.t0 = clock_ns();
    long sum = (long)join(spawn(skynet, &root));
    run.t1 = clock_ns();
    run.ops = run.n;
    if (sum != run.n * (run.n - 1) / 2) {
        fprintf(stderr, "skynet: the sum is %ld\n", sum);
        exit(1);
    }
}

void skynet_row(void)
{
    runtime(skynet_main);
}

static void piece(void)
{
    work(1, BENCH_PIECE_US * BENCH_STEPS_US);
}

struct range {
    long from, to;
};

static void *halves(void *arg)
{
    const struct range *r = arg;
    if (r->to - r->from == 1) {
        piece();
        return NULL;
    }
    long middle = r->from + (r->to - r->from) / 2;
    struct range left = { r->from, middle }, right = { middle, r->to };
    coir_fiber *f = spawn(halves, &left);
    halves(&right);
    join(f);
    return NULL;
}

static void halves_main(void *arg)
{
    struct range all = { 0, run.n };
    (void)arg;
    run.t0 = clock_ns();
    halves(&all);
    run.t1 = clock_ns();
}

static void *one_piece(void *arg)
{
    piece();
    return arg;
}

static void flat_main(void *arg)
{
    coir_fiber **h = handles(run.n);
    (void)arg;
    run.t0 = clock_ns();
    for (long i = 0; i < run.n; i++)
        h[i] = spawn(one_piece, NULL);
    for (long i = 0; i < run.n; i++)
        join(h[i]);
    run.t1 = clock_ns();
    free(h);
}

static atomic_long taken;

static void *taker(void *arg)
{
    while (atomic_fetch_add(&taken, 1) < run.n)
        piece();
    return arg;
}

/* The least that threads can do: they take piece after piece from a shared counter. */
static void threads(void)
{
    pthread_t t[64];
    unsigned others = run.workers - 1 < 64 ? run.workers - 1 : 64;
    atomic_store(&taken, 0);
    for (unsigned i = 0; i < others; i++)
        if ((errno = pthread_create(&t[i], NULL, taker, NULL)))
            die("pthread_create");
    taker(NULL);
    for (unsigned i = 0; i < others; i++)
        pthread_join(t[i], NULL);
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t median(int64_t *of)
{
    qsort(of, FORKJOIN_ROUNDS, sizeof *of, ascending);
    return of[FORKJOIN_ROUNDS / 2];
}

/* Both sides take turns in one process: the same CPUs, the same instructions of work, nearly the
 * same moment. The threads' time has their start and end in it; coir's is from within a runtime,
 * whose own start and end, once in a program's life, are told apart: "start_ms". */
static void forkjoin(void (*fn)(void *))
{
    int64_t ours[FORKJOIN_ROUNDS], theirs[FORKJOIN_ROUNDS], around[FORKJOIN_ROUNDS];
    for (int i = 0; i < FORKJOIN_ROUNDS; i++) {
        int64_t t0 = clock_ns();
        runtime(fn);
        int64_t t1 = clock_ns();
        threads();
        theirs[i] = clock_ns() - t1;
        ours[i] = run.t1 - run.t0;
        around[i] = t1 - t0 - ours[i];
    }
    run.t0 = 0;
    run.t1 = median(ours);
    run.ops = run.n;
    snprintf(run.more, sizeof run.more, ", \"start_ms\": %.3f, \"pthread_ns\": %.3f",
             (double)median(around) / 1e6, (double)median(theirs) / (double)run.n);
}

void forkjoin_row(void)
{
    forkjoin(halves_main);
}

void forkjoin_flat_row(void)
{
    forkjoin(flat_main);
}
