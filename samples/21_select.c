/* 21_select.c - two producers, one consumer that also watches the clock.   Try:
 * build/samples/21_select
 * SPDX-License-Identifier: MIT
 *
 * coir_select waits for several things at once; exactly one of them happens. A closed channel is
 * set to NULL: then it is never ready. */
#include <coir.h>

#include <stdio.h>

struct producer {
    coir_chan *out;
    int first, step, pause_ms;
};

static void *produce(void *arg)
{
    struct producer *p = arg;
    for (int i = 0; i < 5; i++) {
        int item = p->first + i * p->step;
        coir_sleep(COIR_MS(p->pause_ms));
        if (coir_chan_send(p->out, &item) < 0)
            return COIR_FAILED;
    }
    coir_chan_close(p->out);
    return NULL;
}

static int consume(coir_chan *odd, coir_chan *even)
{
    int item, sum = 0;
    while (odd || even) {
        coir_case cases[] = { COIR_CASE_RECV(odd, &item), COIR_CASE_RECV(even, &item) };
        int which = coir_select(cases, 2, COIR_MS(25));
        if (which < 0 && errno == ETIMEDOUT) {
            puts("nothing for 25 ms");
        } else if (which < 0) {
            perror("21_select");
            return 1;
        } else if (cases[which].result == 0) {
            printf("%s: %d\n", which ? "even" : "odd", item);
            sum += item;
        } else if (which == 0) {
            odd = NULL;
        } else {
            even = NULL;
        }
    }
    printf("the sum is %d\n", sum);
    return 0;
}

static int run(int argc, char **argv)
{
    struct producer a = { coir_chan_new(sizeof(int), 1), 1, 2, 10 };
    struct producer b = { coir_chan_new(sizeof(int), 1), 2, 2, 60 };
    (void)argc, (void)argv;
    coir_fiber *one = coir_spawn(produce, &a), *two = coir_spawn(produce, &b);
    if (!a.out || !b.out || !one || !two) {
        perror("21_select");
        return 2;
    }
    int failed = consume(a.out, b.out);
    failed |= coir_join(one, NULL) < 0 || coir_join(two, NULL) < 0;
    coir_chan_free(a.out);
    coir_chan_free(b.out);
    return failed;
}

int main(int argc, char **argv)
{
    int status = coir_main(argc, argv, run);
    return status < 0 ? 2 : status;
}
