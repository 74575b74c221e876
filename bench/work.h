/* bench/work.h - a piece of CPU-bound work, of a fixed number of steps: a thread that loses its CPU
 * meanwhile has not worked. The Go program has the same loop.
 * SPDX-License-Identifier: MIT */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include <stdint.h>

/* About a microsecond: one multiplication and one addition each, in a chain. */
#define BENCH_STEPS_US 1000L
/* One piece of forkjoin, and what a server does for one request of accept. */
#define BENCH_PIECE_US   200L
#define BENCH_REQUEST_US 50L

/* Not inlined: every caller runs the same instructions, at the same addresses. */
static __attribute__((noinline)) uint64_t work(uint64_t x, long steps)
{
    for (long i = 0; i < steps; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        __asm__ volatile("" : "+r"(x));
    }
    return x;
}

#endif
