/* 02_timer.c - fibers that count at rhythms of their own.   Try: build/samples/02_timer cut
 * SPDX-License-Identifier: MIT
 *
 * main counts to 4, and two spawned fibers count to 9 and to 3. "join" (the default) waits for
 * them. With "cut" nobody does: the fibers are detached, so they are cancelled as soon as main is
 * done, and their sleep fails with ECANCELED. */
#include <coir.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rhythm {
    const char *name;
    int last;
    int64_t step_ns;
};

static void *count(void *arg)
{
    const struct rhythm *r = arg;
    for (int i = 1; i <= r->last; i++) {
        printf("%s: %d of %d\n", r->name, i, r->last);
        fflush(stdout);
        if (coir_sleep(r->step_ns) < 0) {
            printf("%s: cut off at %d\n", r->name, i);
            return COIR_FAILED;
        }
    }
    return NULL;
}

static int run(int argc, char **argv)
{
    int cut = argc > 1 && strcmp(argv[1], "cut") == 0;
    int step_ms = argc > 2 ? atoi(argv[2]) : 500;
    if (step_ms < 1 || (argc > 1 && !cut && strcmp(argv[1], "join") != 0)) {
        fprintf(stderr, "usage: 02_timer [join|cut] [STEP_MS]\n");
        return 2;
    }

    static struct rhythm quick = { "quick", 9, 0 }, slow = { "slow", 3, 0 }, own = { "main", 4, 0 };
    quick.step_ns = own.step_ns = COIR_MS(step_ms);
    slow.step_ns = COIR_MS(step_ms) * 5 / 2;

    coir_attr attr = COIR_ATTR_INIT;
    attr.flags = cut ? COIR_DETACHED : 0;
    coir_fiber *a = coir_spawn_with(&attr, count, &quick);
    coir_fiber *b = coir_spawn_with(&attr, count, &slow);
    if (!a || !b) {
        perror("02_timer: coir_spawn_with");
        return 2;
    }
    count(&own);
    if (!cut && (coir_join(a, NULL) < 0 || coir_join(b, NULL) < 0)) {
        perror("02_timer: coir_join");
        return 1;
    }
    printf("main is done\n");
    return 0;
}

int main(int argc, char **argv)
{
    int status = coir_main(argc, argv, run);
    return status < 0 ? 2 : status;
}
