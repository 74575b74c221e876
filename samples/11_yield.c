/* 11_yield.c - fibers give way only where they wait, or yield.   Try: build/samples/11_yield
 * SPDX-License-Identifier: MIT
 *
 * usage: 11_yield [no]      no: without yielding
 * On one core a fiber that computes and never yields keeps all others waiting. COIR_WATCHDOG=50
 * names it. */
#include <coir.h>

#include <stdio.h>
#include <string.h>

static int yields;

static void compute(int64_t ns)
{
    for (int64_t until_ns = coir_now() + ns; coir_now() < until_ns;)
        ;
}

static void *job(void *name)
{
    for (int i = 1; i <= 3; i++) {
        compute(COIR_MS(60));
        printf("%s: step %d\n", (char *)name, i);
        if (yields)
            coir_yield();
    }
    return NULL;
}

static void run(void *arg)
{
    coir_attr greedy = { .name = "greedy" }, patient = { .name = "patient" };
    (void)arg;
    coir_fiber *a = coir_spawn_with(&greedy, job, "greedy");
    coir_fiber *b = coir_spawn_with(&patient, job, "patient");
    if (!a || !b || coir_join(a, NULL) < 0 || coir_join(b, NULL) < 0)
        perror("11_yield");
}

int main(int argc, char **argv)
{
    coir_options one_core = { .workers = 1 };
    yields = argc < 2 || strcmp(argv[1], "no") != 0;
    if (coir_run(run, NULL, &one_core) < 0) {
        perror("11_yield: coir_run");
        return 2;
    }
    return 0;
}
