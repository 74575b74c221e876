/* api/stats.c - coir/debug.h: coir_stats; and COIR_STATS.
 * SPDX-License-Identifier: MIT */
#include "ask.h"

#include "edge.h"

#include <stdio.h>

int coir_stats(coir_stats_t *stats)
{
    struct coir__totals sum;
    uint64_t workers = 0;
    if (!stats)
        return (int)coir__edge(-EINVAL);
    coir__totals_begin(&sum);
    for (int i = 0; i < COIR__RUNTIMES; i++)
        coir__totals_add(&sum, coir__runtimes[i], &workers);
    coir__totals_end();
    *stats = (coir_stats_t){
        .fibers = sum.spawned - sum.ended,
        .workers = workers,
        .spawned = sum.spawned,
        .ended = sum.ended,
        .switches = sum.switches,
        .steals = sum.steals,
        .parks = sum.parks,
        .wakes = sum.wakes,
        .ops_submitted = sum.ops,
        .ops_completed = sum.ops_completed,
        .enters = sum.enters,
    };
    return 0;
}

void coir__stats_say(const struct coir__runtime *rt, int64_t took_ns)
{
    const struct coir__totals *t = &rt->totals;
    typedef unsigned long long number;
    fprintf(stderr,
            "coir: %lld.%03d s, %u worker%s: %llu fibers, %llu switches, %llu steals, "
            "%llu parks, %llu wakes, %llu sleeps; %llu operations in %llu enters\n",
            (long long)(took_ns / 1000000000), (int)(took_ns / 1000000 % 1000), rt->config.workers,
            rt->config.workers == 1 ? "" : "s", (number)t->spawned, (number)t->switches,
            (number)t->steals, (number)t->parks, (number)t->wakes, (number)t->sleeps,
            (number)t->ops, (number)t->enters);
}
