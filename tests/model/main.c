/* tests/model/main.c - explores all cases.
 * SPDX-License-Identifier: MIT
 *
 *   model [--larger] [--only WORD]... [--seconds N] [--expect-failure]
 * Each case is explored in order, and with x86's store buffers. One line for each: how many
 * executions there were, and whether these are all that differ, or some, chosen by chance.
 * --larger: all, where that can be done within N seconds (120); else the first, depth first, and
 * some by chance. --expect-failure: a mutant is run, and some case must fail. The last line is "N
 * passed, M failed". */
#include "cases.h"
#include "inside.h"
#include "litmus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of executions that are chosen by chance: so many, and with --larger so many times more. */
enum { SAMPLE = 2000, LARGER = 100 };

static struct {
    bool larger, expect_failure;
    double seconds;
    const char *only[16];
    unsigned only_len;
} options;

static bool wanted(const struct model_case *test)
{
    for (unsigned i = 0; i < options.only_len; i++)
        if (strstr(test->name, options.only[i]))
            return true;
    return !options.only_len;
}

/* One exploration, and its line. True: nothing failed. */
static bool explore_and_tell(const struct model_case *test, bool buffers, enum how how)
{
    uint64_t most = how == EXPLORE_ALL ? UINT64_MAX : SAMPLE * (options.larger ? LARGER : 1);
    struct exploration r =
        explore(test, buffers, how, most, how == EXPLORE_ALL ? options.seconds : 0);
    const char *seen = r.complete ? "all" : how == EXPLORE_ALL ? "first" : "some";
    if (r.failed)
        seen = "FAILED";
    printf("  %-6s %9lu executions (+%lu cut short), at most %4u steps %6.2f s  %s, %s: %s\n", seen,
           (unsigned long)r.executions, (unsigned long)r.redundant, r.steps_most, r.seconds,
           test->name, buffers ? "buffers" : "in order", test->what);
    fflush(stdout);
    if (how == EXPLORE_ALL && !r.complete && !r.failed)
        return explore_and_tell(test, buffers, EXPLORE_SAMPLE);
    return !r.failed;
}

static bool run(const struct model_case *test, bool buffers)
{
    unsigned machine = buffers ? MODEL_BUFFERS : MODEL_IN_ORDER;
    bool sample = test->endless & machine || (test->larger & machine && !options.larger);
    return explore_and_tell(test, buffers, sample ? EXPLORE_SAMPLE : EXPLORE_ALL);
}

static void read_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--larger"))
            options.larger = true;
        else if (!strcmp(argv[i], "--expect-failure"))
            options.expect_failure = true;
        else if (!strcmp(argv[i], "--seconds") && i + 1 < argc)
            options.seconds = atof(argv[++i]);
        else if (!strcmp(argv[i], "--only") && i + 1 < argc && options.only_len < 16)
            options.only[options.only_len++] = argv[++i];
    }
}

int main(int argc, char **argv)
{
    unsigned passed = 0, failed = 0;
    double start = explore_seconds();
    options.seconds = 120;
    read_options(argc, argv);
    if (!options.only_len)
        litmus_run(options.larger ? 2000 : 200, &passed, &failed);
    for (const struct model_case *const *list = cases; *list; list++)
        for (const struct model_case *test = *list; test->name; test++)
            for (int buffers = 0; buffers < 2 && wanted(test); buffers++)
                ++*(run(test, buffers) ? &passed : &failed);
    printf("%.1f s\n", explore_seconds() - start);
    if (options.expect_failure) {
        failed = !failed;
        passed = !failed;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
