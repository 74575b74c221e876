/* 19_sieve.c - prime numbers through a chain of filters.   Try: build/samples/19_sieve 100
 * SPDX-License-Identifier: MIT
 *
 * usage: 19_sieve [N]      the first N primes; default 20
 * Each prime gets a fiber that lets only what it does not divide through to the next. The scope
 * ends them all. */
#include <coir.h>

#include <stdio.h>
#include <stdlib.h>

struct filter {
    coir_chan *in, *out;
    int prime;
};

static int generate(void *arg)
{
    coir_chan *out = arg;
    for (int i = 2; coir_chan_send(out, &i) == 0; i++)
        ;
    return 0;
}

static int sift(void *arg)
{
    struct filter *f = arg;
    int i;
    while (coir_chan_recv(f->in, &i) == 0)
        if (i % f->prime && coir_chan_send(f->out, &i) < 0)
            break;
    return 0;
}

static int run(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 20, made = 0, failed = 0;
    if (n < 1) {
        fprintf(stderr, "usage: 19_sieve [N]\n");
        return 2;
    }
    struct filter *filters = calloc((size_t)n + 1, sizeof *filters);
    coir_chan *numbers = coir_chan_new(sizeof(int), 0);
    if (!filters || !numbers) {
        perror("19_sieve");
        return 2;
    }
    coir_scope scope = COIR_SCOPE_INIT;
    coir_scope_open(&scope);
    failed = coir_scope_spawn(&scope, generate, numbers) < 0;
    for (; made < n && !failed; made++) {
        struct filter *f = &filters[made];
        *f = (struct filter){ numbers, coir_chan_new(sizeof(int), 0), 0 };
        failed = coir_chan_recv(numbers, &f->prime) < 0 || !f->out ||
                 coir_scope_spawn(&scope, sift, f) < 0;
        printf("%d%c", f->prime, made + 1 < n ? ' ' : '\n');
        numbers = f->out;
    }
    coir_scope_close(&scope); /* cancels the fibers, and returns when they have ended */
    for (int i = 0; i < made; i++)
        coir_chan_free(filters[i].in);
    coir_chan_free(numbers);
    free(filters);
    return failed;
}

int main(int argc, char **argv)
{
    int status = coir_main(argc, argv, run);
    return status < 0 ? 2 : status;
}
