/* 18_waiting.c - who waits for whom.   Try: build/samples/18_waiting
 * SPDX-License-Identifier: MIT
 *
 * Two fibers need one result, and a third needs one of them. The dump names each, and what it waits
 * for. Send the signal of COIR_DUMP_SIGNAL to get it from any program. */
#include <coir.h>

#include <stdio.h>
#include <unistd.h>

static coir_future *bread;

static void *bake(void *arg)
{
    (void)arg;
    return coir_sleep(COIR_MS(300)) < 0 ? COIR_FAILED : "a loaf";
}

static void *eat(void *arg)
{
    void *loaf = NULL;
    if (coir_await(bread, &loaf) < 0)
        return COIR_FAILED;
    printf("%s: %s\n", (char *)arg, (char *)loaf);
    return NULL;
}

static void *wash_up(void *eater)
{
    if (coir_join(eater, NULL) < 0)
        return COIR_FAILED;
    puts("the dishes are done");
    return NULL;
}

static coir_fiber *spawn(const char *name, void *(*fn)(void *), void *arg)
{
    coir_attr attr = { .name = name };
    coir_fiber *f = coir_spawn_with(&attr, fn, arg);
    if (!f)
        perror(name);
    return f;
}

static void run(void *arg)
{
    coir_attr baker = { .name = "baker" };
    (void)arg;
    bread = coir_async_with(&baker, bake, NULL);
    if (!bread) {
        perror("baker");
        return;
    }
    coir_fiber *first = spawn("first guest", eat, "first");
    coir_fiber *second = spawn("second guest", eat, "second");
    coir_fiber *last = first ? spawn("dishwasher", wash_up, first) : NULL;
    coir_sleep(COIR_MS(100)); /* all of them wait now */
    fflush(stdout);
    coir_dump(STDOUT_FILENO);
    if (second)
        coir_join(second, NULL);
    if (last)
        coir_join(last, NULL);
    coir_future_free(bread);
}

int main(void)
{
    coir_options one_core = { .workers = 1 };
    if (coir_run(run, NULL, &one_core) < 0) {
        perror("18_waiting: coir_run");
        return 2;
    }
    return 0;
}
