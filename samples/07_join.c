/* 07_join.c - two fibers take turns, and somebody waits for both.   Try: build/samples/07_join
 * SPDX-License-Identifier: MIT
 *
 * Ready fibers run in the order in which they became ready: the turns are fair, and the same each
 * time. */
#include <coir.h>

#include <stdio.h>

struct counter {
    const char *name;
    int last;
};

static void *count(void *arg)
{
    struct counter *c = arg;
    for (int i = 1; i <= c->last; i++) {
        printf("%s: %d\n", c->name, i);
        coir_yield();
    }
    return NULL;
}

static void run(void *arg)
{
    struct counter first = { "first", 9 }, second = { "second", 4 };
    (void)arg;
    coir_fiber *one = coir_spawn(count, &first), *two = coir_spawn(count, &second);
    if (!one || !two || coir_join(one, NULL) < 0 || coir_join(two, NULL) < 0)
        perror("07_join");
    else
        puts("both are done");
}

int main(void)
{
    coir_options one_core = { .workers = 1 };
    if (coir_run(run, NULL, &one_core) < 0) {
        perror("07_join: coir_run");
        return 2;
    }
    return 0;
}
