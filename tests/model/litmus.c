/* tests/model/litmus.c - does the model itself see what it should? Small programs whose outcomes
 * are known, and random ones, of which all orders are tried for comparison.
 * SPDX-License-Identifier: MIT */
#include "litmus.h"

#include "arch/arch.h"
#include "model.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum op { NONE, SET, GET, SWAP, CAS, FENCE, EVERYWHERE, AWAIT, OPS };

struct instruction {
    enum op op;
    unsigned at, value;
};

enum { VARIABLES = 2, LENGTH = 4 };

struct program {
    unsigned threads_len;
    struct instruction code[MODEL_THREADS_MAX][LENGTH];
};

static struct program program;
static struct {
    _Atomic uint32_t value;
} __attribute__((aligned(64))) variables[VARIABLES];
static uint32_t results[MODEL_THREADS_MAX][LENGTH];

static void run(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg, n = 0;
    for (unsigned i = 0; i < LENGTH; i++) {
        struct instruction ins = program.code[me][i];
        _Atomic uint32_t *at = &variables[ins.at].value;
        uint32_t none = 0;
        switch (ins.op) {
        case SET:
            atomic_store_explicit(at, ins.value, memory_order_release);
            break;
        case GET:
            results[me][n++] = atomic_load_explicit(at, memory_order_acquire) + 1;
            break;
        case SWAP:
            results[me][n++] = atomic_exchange(at, ins.value) + 1;
            break;
        case CAS:
            results[me][n++] = atomic_compare_exchange_strong(at, &none, ins.value) + 1;
            break;
        case FENCE:
            atomic_thread_fence(memory_order_seq_cst);
            break;
        case EVERYWHERE:
            model_barrier_everywhere();
            break;
        case AWAIT:
            while (!atomic_load_explicit(at, memory_order_acquire))
                coir__arch_pause();
            break;
        default:
            break;
        }
    }
}

/* A digit for each result, over all threads, and then for the final values; before them a 1. */
static void tell_outcome(void)
{
    uint64_t outcome = 1;
    for (unsigned t = 0; t < MODEL_THREADS_MAX; t++)
        for (unsigned i = 0; i < LENGTH && results[t][i]; i++)
            outcome = outcome * 10 + results[t][i] - 1;
    for (unsigned v = 0; v < VARIABLES; v++)
        outcome = outcome * 10 + variables[v].value;
    model_outcome(outcome);
}

static void begin(void)
{
    static const char *const names[] = { "P0", "P1", "P2", "P3" };
    for (unsigned i = 0; i < program.threads_len; i++)
        model_thread(names[i], run, (void *)(uintptr_t)i);
}

static const struct model_case test = {
    .name = "litmus", .setup = begin, .check = tell_outcome, .flags = MODEL_BARRIERS
};

/* x=1 sets, x? gets, x#1 exchanges, x+1 compares with 0 and sets, ! is a fence, * a barrier in
 * every thread. Threads are separated by |. An outcome is what was got, by threads, and the final x
 * and y. */
static const struct {
    const char *name, *program;
    unsigned outcomes[2];                         /* how many: in order, and with buffers */
    const char *never, *in_buffers_only, *always; /* or NULL */
} known[] = {
    { "store buffering", "x=1 y? | y=1 x?", { 3, 4 }, NULL, "0011", "0111" },
    { "with fences", "x=1 ! y? | y=1 ! x?", { 3, 3 }, "0011", NULL, "1111" },
    { "with one fence", "x=1 ! y? | y=1 x?", { 3, 4 }, NULL, "0011", "1111" },
    { "a fence and a barrier everywhere", "x=1 * y? | y=1 x?", { 3, 3 }, "0011", NULL, "1111" },
    { "exchanges", "x#1 y? | y#1 x?", { 3, 3 }, "000011", NULL, "010111" },
    { "message passing", "x=1 y=1 | y? x?", { 3, 3 }, "1011", NULL, "0111" },
    { "load buffering", "x? y=1 | y? x=1", { 3, 3 }, "1111", NULL, "0011" },
    { "own stores are seen early", "x=1 x? y? | y=2 x=2", { 4, 5 }, NULL, "1012", "1022" },
    { "two writers, two readers", "x=1 | y=1 | x? y? | y? x?", { 15, 15 }, "101011", NULL, NULL },
    { "coherence", "x=1 x=2 | x? x? x?", { 10, 10 }, "21020", NULL, "01220" },
    { "two compare and exchange", "x+1 | x+2", { 2, 2 }, "1110", NULL, "1010" },
};

static void parse(const char *text)
{
    static const char signs[] = { [SET] = '=', [GET] = '?', [SWAP] = '#', [CAS] = '+' };
    unsigned thread = 0, n = 0;
    memset(&program, 0, sizeof program);
    for (; *text; text++) {
        struct instruction *ins = &program.code[thread][n];
        if (*text == '!' || *text == '*') {
            ins->op = *text == '!' ? FENCE : EVERYWHERE;
            n++;
        } else if (*text == 'x' || *text == 'y') {
            ins->at = *text == 'y';
            for (unsigned op = SET; op <= CAS; op++)
                if (text[1] == signs[op])
                    ins->op = op;
            ins->value = (unsigned)(text[2] - '0');
            n++;
        } else if (*text == '|') {
            thread++;
            n = 0;
        }
    }
    program.threads_len = thread + 1;
}

static bool has(const struct exploration *r, uint64_t outcome)
{
    for (unsigned i = 0; i < r->outcomes_len; i++)
        if (r->outcomes[i] == outcome)
            return true;
    return false;
}

static bool is_right(const struct exploration *r, const char *outcome, bool expected)
{
    char text[32];
    if (!outcome)
        return true;
    snprintf(text, sizeof text, "1%s", outcome);
    return has(r, strtoull(text, NULL, 10)) == expected;
}

static bool check_known(unsigned i, bool buffers)
{
    parse(known[i].program);
    struct exploration r = explore(&test, buffers, EXPLORE_ALL, UINT64_MAX, 0);
    if (r.complete && r.outcomes_len == known[i].outcomes[buffers] &&
        is_right(&r, known[i].never, false) && is_right(&r, known[i].always, true) &&
        is_right(&r, known[i].in_buffers_only, buffers))
        return true;
    printf("FAILED: %s, %s: %u outcomes instead of %u:", known[i].name,
           buffers ? "buffers" : "in order", r.outcomes_len, known[i].outcomes[buffers]);
    for (unsigned k = 0; k < r.outcomes_len; k++)
        printf(" %lu", (unsigned long)r.outcomes[k]);
    printf("\n");
    return false;
}

static uint32_t chance(uint32_t *state, uint32_t below)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state % below;
}

static void make_random(uint32_t *state)
{
    memset(&program, 0, sizeof program);
    program.threads_len = 2 + chance(state, 2);
    unsigned length = program.threads_len == 2 ? 3 : 2;
    for (unsigned t = 0; t < program.threads_len; t++)
        for (unsigned i = 0; i < length; i++)
            program.code[t][i] =
                (struct instruction){ (enum op)(1 + chance(state, OPS - 1)),
                                      chance(state, VARIABLES), 1 + chance(state, 3) };
}

static bool check_random(uint32_t seed, bool buffers, uint64_t *all, uint64_t *reduced)
{
    uint32_t state = seed * 2654435761u | 1;
    make_random(&state);
    struct exploration r = explore(&test, buffers, EXPLORE_ALL, UINT64_MAX, 0);
    struct exploration blind = explore(&test, buffers, EXPLORE_BLINDLY, UINT64_MAX, 0);
    bool same = r.complete && blind.complete && r.outcomes_len == blind.outcomes_len;
    for (unsigned i = 0; i < blind.outcomes_len; i++)
        same &= has(&r, blind.outcomes[i]);
    *all += blind.executions;
    *reduced += r.executions;
    if (!same)
        printf("FAILED: random program %u, %s: %u outcomes of %u\n", seed,
               buffers ? "buffers" : "in order", r.outcomes_len, blind.outcomes_len);
    return same;
}

void litmus_run(unsigned random, unsigned *passed, unsigned *failed)
{
    uint64_t all = 0, reduced = 0;
    unsigned before = *passed;
    double start = explore_seconds();
    for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++)
        for (int buffers = 0; buffers < 2; buffers++)
            ++*(check_known(i, buffers) ? passed : failed);
    printf("the model itself: %u known programs, in order and with buffers\n",
           (*passed - before) / 2);
    before = *passed;
    for (unsigned i = 0; i < random; i++)
        for (int buffers = 0; buffers < 2; buffers++)
            ++*(check_random(i, buffers, &all, &reduced) ? passed : failed);
    printf("the model itself: %u random programs, %lu executions see what all %lu see, %.1f s\n",
           (*passed - before) / 2, (unsigned long)reduced, (unsigned long)all,
           explore_seconds() - start);
}
