/* tests/model/model.h - what a case of the model sees.
 * SPDX-License-Identifier: MIT
 *
 * A case is a few threads that run the real sources. The model runs them on one thread, by turns:
 * before each atomic access, and each system call, it decides who goes on, and it runs the case
 * again and again until every order in which two such steps make a difference has been seen
 * (explore.c). Cases and sources are compiled with -fsanitize=thread, whose hooks are ours
 * (hooks.c): so each access to memory is seen, without a change to the sources.
 *
 * In each execution the model also looks for
 *   - data races, by the memory orders as they are written, not as the CPU happens to keep them;
 *   - accesses to what is gone: model_gone, and frames that have returned;
 *   - threads that wait although nobody is left to wake them, unless they are idle. */
#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODEL_THREADS_MAX = 4 };

/* What a case uses beyond atomics: it costs steps. */
enum {
    MODEL_BARRIERS = 1, /* membarrier(2) */
    MODEL_CLOCK = 2,    /* time passes: model_clock_advance */
    MODEL_SPINS = 4,    /* spin loops may end by the clock, and workers look for mail awake */
};

/* How the machine works: memory is written in order, or through store buffers. */
enum { MODEL_IN_ORDER = 1, MODEL_BUFFERS = 2, MODEL_ALWAYS = MODEL_IN_ORDER | MODEL_BUFFERS };

struct model_case {
    const char *name;
    const char *what;    /* who does what, in a few words: for the report */
    void (*setup)(void); /* makes the threads; nothing else runs yet */
    void (*check)(void); /* all threads have ended, or idle */
    unsigned flags;
    /* MODEL_IN_ORDER, MODEL_BUFFERS: so there are too many orders for the quick run, or for any,
     * which then looks at some, chosen by chance. */
    unsigned larger, endless;
};

/* From setup. The threads begin in any order. */
void model_thread(const char *name, void (*fn)(void *), void *arg);

/* Fail this execution; prints its steps. */
void model_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define model_assert(cond)                                                                         \
    do {                                                                                           \
        if (!(cond))                                                                               \
            model_fail("%s:%d: %s", __FILE__, __LINE__, #cond);                                    \
    } while (0)

/* The object's memory goes back to where it came from: no access may come any more, nor be
 * unordered with this moment. */
void model_gone(const void *object, size_t bytes);

/* So many things have to happen before the end; who waits when they have not has lost a wake. */
void model_owe(unsigned n);
void model_pay(void);

/* The time that the sources are told. */
int64_t model_now(void);
void model_clock_advance(int64_t to_ns);

/* Wait until all the others have ended, or wait. For one thread at a time. */
void model_await_quiet(void);

/* The sources count up and down there and never look at the results in the case: the order of doing
 * so makes no difference, and orders nothing else. */
void model_counter(const volatile void *counter);

/* membarrier(2), for what is not the sources. */
void model_barrier_everywhere(void);

/* For the report. */
void model_name(const void *object, size_t bytes, const char *name);

/* A note among the steps that are printed when the execution fails. */
void model_note(const char *note);

/* What was seen in this execution, for cases that compare whole explorations. */
void model_outcome(uint64_t outcome);

#endif
