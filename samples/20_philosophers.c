/* 20_philosophers.c - five philosophers, five forks.   Try: build/samples/20_philosophers
 * SPDX-License-Identifier: MIT
 *
 * usage: 20_philosophers [stuck]      stuck: each takes the left fork first
 * Taking the forks in one order for all, nobody starves. With "stuck" they wait for each other for
 * ever, and the library says so. */
#include <coir.h>

#include <stdio.h>
#include <string.h>

enum { SEATS = 5, MEALS = 100 };

static coir_mutex forks[SEATS];
static int meals[SEATS], stuck;

static void *dine(void *arg)
{
    int seat = (int)(intptr_t)arg, left = seat, right = (seat + 1) % SEATS;
    int first = left < right || stuck ? left : right, second = left + right - first;
    for (int i = 0; i < MEALS; i++) {
        coir_mutex_lock(&forks[first]);
        coir_yield(); /* thinks, with one fork in the hand */
        coir_mutex_lock(&forks[second]);
        meals[seat]++;
        coir_mutex_unlock(&forks[second]);
        coir_mutex_unlock(&forks[first]);
    }
    return NULL;
}

static void run(void *arg)
{
    static const char *const names[SEATS] = { "Aristotle", "Kant", "Laozi", "Hypatia", "Hume" };
    coir_fiber *fibers[SEATS];
    (void)arg;
    for (int i = 0; i < SEATS; i++) {
        coir_attr attr = { .name = names[i] };
        fibers[i] = coir_spawn_with(&attr, dine, (void *)(intptr_t)i);
    }
    for (int i = 0; i < SEATS; i++)
        if (!fibers[i] || coir_join(fibers[i], NULL) < 0)
            perror(names[i]);
    for (int i = 0; i < SEATS; i++)
        printf("%s ate %d times\n", names[i], meals[i]);
}

int main(int argc, char **argv)
{
    stuck = argc > 1 && strcmp(argv[1], "stuck") == 0;
    coir_options options = { .workers = stuck ? 1 : 0 };
    if (coir_run(run, NULL, &options) < 0) {
        perror("20_philosophers: coir_run");
        return 2;
    }
    return 0;
}
