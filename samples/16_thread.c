/* 16_thread.c - an OS thread produces, a fiber consumes.   Try: build/samples/16_thread
 * SPDX-License-Identifier: MIT
 *
 * Channels, locks and futures work between fibers and plain threads alike: the same call parks the
 * one and blocks the other. The thread may sleep as threads do. */
#include <coir.h>

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static void *produce(void *arg)
{
    coir_chan *numbers = arg;
    for (int i = 1; i <= 10 && coir_chan_send(numbers, &i) == 0; i++)
        usleep(20 * 1000);
    coir_chan_close(numbers);
    return NULL;
}

static void *tick(void *arg)
{
    int *ticks = arg;
    while (coir_sleep(COIR_MS(5)) == 0)
        ++*ticks;
    return NULL;
}

static void run(void *arg)
{
    int number, ticks = 0;
    pthread_t thread;
    (void)arg;
    coir_chan *numbers = coir_chan_new(sizeof number, 0);
    coir_fiber *ticker = coir_spawn(tick, &ticks);
    if (!numbers || !ticker || pthread_create(&thread, NULL, produce, numbers)) {
        perror("16_thread");
        return;
    }
    while (coir_chan_recv(numbers, &number) == 0)
        printf("received %d\n", number);
    coir_cancel(ticker);
    coir_join(ticker, NULL);
    printf("%s fiber ran meanwhile\n", ticks > 0 ? "another" : "no other");
    pthread_join(thread, NULL);
    coir_chan_free(numbers);
}

int main(void)
{
    coir_options one_core = { .workers = 1 };
    if (coir_run(run, NULL, &one_core) < 0) {
        perror("16_thread: coir_run");
        return 2;
    }
    return 0;
}
