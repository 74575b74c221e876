/* tests/model/explore.c - which orders of steps are still to be seen.
 * SPDX-License-Identifier: MIT
 *
 * Depth first, each execution from its beginning. Two steps depend on each other when they access
 * one place and one of them writes; orders that differ only in independent steps are one. This is
 * dynamic partial-order reduction with source sets and sleep sets (Abdulla, Aronis, Jonsson and
 * Sagonas, 2014): when a step is taken, the earlier ones are found that it depends on and that did
 * not have to come before, and the other way round is noted where they were chosen (`wanted`). What
 * was chosen there before sleeps until something comes that it depends on.
 *
 * A store buffer takes steps like a thread. A store only enters it, which nobody sees: that is no
 * step. Only membarrier(2) can come too early for it: explore_buffered(). */
#include "inside.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct choice {
    uint8_t chosen;
    uint8_t enabled, wanted, done, asleep; /* bits: procs */
    struct order order;                    /* of the step that was taken */
    struct step step;
    const char *note;
};

static struct {
    enum how how;
    struct choice choices[STEPS_MAX + 1];
    unsigned depth, replay; /* steps taken; so many of them are to be as in the last execution */
    uint8_t asleep;         /* at depth */
    uint8_t last;
    uint64_t random;
    struct exploration *result;
} ex;

static void join(struct order *to, const struct order *from)
{
    for (int i = 0; i < PROCS; i++)
        if (to->of[i] < from->of[i])
            to->of[i] = from->of[i];
}

static int buffer_of(int proc)
{
    return proc < THREADS ? proc + THREADS : proc - THREADS;
}

/* Reads do, and so do steps of a counter that nobody looks at meanwhile. */
static bool commute(enum how_accessed a, enum how_accessed b)
{
    return a == b && a != WRITES;
}

static bool accesses_meet(const struct step *a, const struct step *b)
{
    for (unsigned i = 0; i < a->accesses_len; i++)
        for (unsigned k = 0; k < b->accesses_len; k++)
            if (a->accesses[i].place == b->accesses[k].place &&
                !commute(a->accesses[i].how, b->accesses[k].how))
                return true;
    return false;
}

static bool depend(int p, const struct step *a, int q, const struct step *b)
{
    if (a->kind == STEP_BARRIER && a->barrier_of == q % THREADS)
        return true;
    if (b->kind == STEP_BARRIER && b->barrier_of == p % THREADS)
        return true;
    return buffer_of(p) != q && accesses_meet(a, b);
}

/* Has a step that has seen `order` seen none of q's from number `at` on, whoever q is but `but`? */
static bool seen_none_since(const struct order *order, tick at, int but)
{
    for (int q = 0; q < PROCS; q++)
        if (q != but && order->of[q] >= at)
            return false;
    return true;
}

/* Step number `at` and this one of p, which has seen `order`, depend on each other, and could have
 * come the other way round: after what came since and did not have to come after `at`. Where that
 * was chosen, somebody must be tried whose step could be the first of these. */
static void want_before(tick at, int p, const struct step *step, const struct order *order)
{
    struct choice *c = &ex.choices[at - 1];
    unsigned first = 0, met = 1u << c->chosen;
    bool p_first = seen_none_since(order, at, p);
    for (unsigned i = at; i < ex.depth; i++) {
        const struct choice *since = &ex.choices[i];
        int q = since->chosen;
        if (since->order.of[c->chosen] >= at)
            continue;
        if (!(met & 1u << q) && seen_none_since(&since->order, at, q))
            first |= 1u << q;
        met |= 1u << q;
        p_first &= q != p && !depend(p, step, q, &since->step);
    }
    first |= (unsigned)p_first << p;
    first &= c->enabled;
    if (!first)
        c->wanted |= c->enabled;
    else if (!(first & c->wanted))
        c->wanted |= p_first ? 1u << p : first & -first;
}

/* The last step of q that such an access depends on; 0: none. */
static tick last_dependent(const struct access *a, int q)
{
    tick last = a->place->last_write[q];
    if (a->how != READS && last < a->place->last_read[q])
        last = a->place->last_read[q];
    if (a->how != COUNTS && last < a->place->last_count[q])
        last = a->place->last_count[q];
    return last;
}

/* Each one's last step that depends on this access of p and did not have to come before. */
static void note_reversal(int p, const struct step *step, const struct access *a,
                          const struct order *order)
{
    for (int q = 0; q < PROCS; q++) {
        tick at = last_dependent(a, q);
        if (q != p && q != buffer_of(p) && at > order->of[q])
            want_before(at, p, step, order);
    }
}

static void note_reversals(int p, const struct step *step)
{
    for (unsigned i = 0; step && i < step->accesses_len; i++)
        note_reversal(p, step, &step->accesses[i], &machine.orders[p]);
}

static void join_dependent(struct order *order, const struct access *a, int p)
{
    for (int q = 0; q < PROCS; q++) {
        tick at = last_dependent(a, q);
        if (at && q != p && q != buffer_of(p))
            join(order, &ex.choices[at - 1].order);
    }
}

/* p takes its step, as number ex.depth + 1. */
static void take(int p, const struct step *step)
{
    struct choice *c = &ex.choices[ex.depth];
    tick now = (tick)(ex.depth + 1);
    struct order order;
    c->step = *step;
    c->note = NULL;
    if (p >= THREADS) { /* after the store entered the buffer */
        struct thread *t = &machine.threads[p - THREADS];
        join(&machine.orders[p], &t->buffer[t->first % BUFFER_MAX].order);
    }
    if (step->drained)
        join(&machine.orders[p], &machine.orders[buffer_of(p)]);
    if (ex.how == EXPLORE_ALL && ex.depth + 1 >= ex.replay)
        note_reversals(p, step);
    order = machine.orders[p];
    if (step->kind == STEP_BARRIER)
        join(&order, &machine.orders[step->barrier_of + THREADS]);
    for (int q = 0; q < PROCS && step->kind == STEP_QUIET; q++)
        join(&order, &machine.orders[q]);
    for (unsigned i = 0; i < step->accesses_len; i++)
        join_dependent(&order, &step->accesses[i], p);
    order.of[p] = now;
    for (unsigned i = 0; i < step->accesses_len; i++) {
        struct place *place = step->accesses[i].place;
        enum how_accessed how = step->accesses[i].how;
        (how == WRITES   ? place->last_write
         : how == COUNTS ? place->last_count
                         : place->last_read)[p] = now;
    }
    machine.orders[p] = order;
    c->order = order;
}

/* The store is part of the thread's last step: with regard to those who wait until its buffer is
 * empty that step writes. */
void explore_buffered(void)
{
    int p = machine.current;
    tick now = machine.orders[p].of[p];
    struct place *buffer = place_in_kernel(&machine.threads[p]);
    if (!(machine.test->flags & MODEL_BARRIERS) || !now || buffer->last_write[p] == now)
        return;
    struct access a = { buffer, WRITES };
    struct choice *c = &ex.choices[now - 1];
    struct step step = { .kind = c->step.kind, .accesses_len = 1, .accesses = { a } };
    if (ex.how == EXPLORE_ALL)
        note_reversal(p, &step, &a, &c->order);
    join_dependent(&c->order, &a, p);
    buffer->last_write[p] = now;
    machine.orders[p] = c->order;
}

static uint64_t chance(void)
{
    ex.random ^= ex.random << 13;
    ex.random ^= ex.random >> 7;
    ex.random ^= ex.random << 17;
    return ex.random;
}

static int any_of(unsigned procs)
{
    unsigned n = (unsigned)(chance() % (unsigned)__builtin_popcount(procs));
    while (n--)
        procs &= procs - 1;
    return __builtin_ctz(procs);
}

static int prefer(unsigned procs)
{
    bool stay = procs & 1u << ex.last;
    if (ex.how == EXPLORE_SAMPLE)
        return stay && chance() % 4 ? ex.last : any_of(procs);
    return stay ? ex.last : __builtin_ctz(procs);
}

/* Those who wait for ever could have come earlier, too. */
static void note_reversals_of_all(void)
{
    struct step drain;
    for (int p = 0; p < PROCS && ex.how == EXPLORE_ALL; p++)
        note_reversals(p, machine_step_of(p, &drain));
}

int explore_choose(void)
{
    struct choice *c = &ex.choices[ex.depth];
    struct step drain, other;
    unsigned enabled = machine_enabled();
    if (ex.depth >= STEPS_MAX)
        model_fail("it takes more than %d steps: does it ever end?", STEPS_MAX);
    if (ex.depth < ex.replay) {
        if (enabled != c->enabled)
            model_fail("the model itself: the same choices lead elsewhere");
    } else {
        *c = (struct choice){ .enabled = (uint8_t)enabled, .asleep = ex.asleep };
        if (!(enabled & ~ex.asleep)) {
            note_reversals_of_all();
            if (!enabled)
                return -1;
            machine_stop(RESULT_REDUNDANT);
        }
        c->chosen = (uint8_t)prefer(enabled & ~ex.asleep);
        c->wanted = (uint8_t)(ex.how == EXPLORE_BLINDLY ? enabled : 1u << c->chosen);
    }
    int p = c->chosen;
    const struct step *step = machine_step_of(p, &drain);
    unsigned others = (c->asleep | c->done) & ~(1u << p);
    ex.asleep = 0;
    for (int q = 0; q < PROCS && ex.how == EXPLORE_ALL; q++)
        if (others & 1u << q && !depend(p, step, q, machine_step_of(q, &other)))
            ex.asleep |= (uint8_t)(1u << q);
    take(p, step);
    ex.depth++;
    ex.last = (uint8_t)p;
    return p;
}

/* The next execution's choices; false: all has been seen. */
static bool step_back(void)
{
    while (ex.depth) {
        struct choice *c = &ex.choices[ex.depth - 1];
        c->done |= (uint8_t)(1u << c->chosen);
        unsigned left = c->wanted & c->enabled & ~(c->done | c->asleep);
        if (left) {
            c->chosen = (uint8_t)__builtin_ctz(left);
            ex.replay = ex.depth;
            return true;
        }
        ex.depth--;
    }
    return false;
}

double explore_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void model_outcome(uint64_t outcome)
{
    struct exploration *r = ex.result;
    for (unsigned i = 0; i < r->outcomes_len; i++)
        if (r->outcomes[i] == outcome)
            return;
    if (r->outcomes_len == sizeof r->outcomes / sizeof r->outcomes[0])
        model_fail("more outcomes than there is room for");
    r->outcomes[r->outcomes_len++] = outcome;
}

void model_note(const char *note)
{
    if (ex.depth)
        ex.choices[ex.depth - 1].note = note;
}

static bool too_much(const struct exploration *r, uint64_t executions_max, double start,
                     double seconds_max)
{
    if (r->executions >= executions_max)
        return true;
    return !((r->executions + r->redundant) % 256) && seconds_max &&
           explore_seconds() - start > seconds_max;
}

struct exploration explore(const struct model_case *test, bool buffers, enum how how,
                           uint64_t executions_max, double seconds_max)
{
    struct exploration r = { 0 };
    double start = explore_seconds();
    ex.how = how;
    ex.random = 88172645463325252u;
    ex.replay = 0;
    ex.result = &r;
    do {
        ex.depth = 0;
        ex.asleep = 0;
        ex.last = 0;
        machine_begin(test, buffers);
        enum result result = machine_run();
        r.failed = result == RESULT_FAILED;
        if (result == RESULT_REDUNDANT)
            r.redundant++;
        else
            r.executions++;
        if (ex.depth > r.steps_most)
            r.steps_most = ex.depth;
        if (how != EXPLORE_SAMPLE && !r.failed && !step_back())
            r.complete = true;
    } while (!r.failed && !r.complete && !too_much(&r, executions_max, start, seconds_max));
    r.seconds = explore_seconds() - start;
    return r;
}

static void print_accesses(const struct step *step)
{
    char text[128];
    for (unsigned i = 0; i < step->accesses_len; i++) {
        memory_describe(text, sizeof text, step->accesses[i].place->key);
        printf(" %s", text);
    }
}

/* Where the steps are in the sources: addr2line prints a line for each. */
static FILE *open_code(void)
{
    static char command[STEPS_MAX * 24];
    int len = snprintf(command, sizeof command, "addr2line -spfe /proc/%d/exe", (int)getpid());
    for (unsigned i = 0; i < ex.depth; i++)
        len += snprintf(command + len, sizeof command - (size_t)len, " %#lx",
                        (unsigned long)ex.choices[i].step.code - 1);
    return popen(command, "r");
}

static const char *next_code(FILE *pipe)
{
    static char line[256];
    if (!pipe || !fgets(line, sizeof line, pipe) || line[0] == '?')
        return "";
    line[strcspn(line, "\n")] = 0;
    return line;
}

void explore_print(void)
{
    static const char *const kinds[] = {
        [STEP_START] = "starts",    [STEP_READ] = "reads",   [STEP_WRITE] = "writes",
        [STEP_CHANGE] = "changes",  [STEP_FENCE] = "fences", [STEP_AWAIT] = "awaits",
        [STEP_BARRIER] = "barrier", [STEP_CALL] = "calls",   [STEP_QUIET] = "waits",
        [STEP_DRAIN] = "drains",
    };
    FILE *code = open_code();
    for (unsigned i = 0; i < ex.depth; i++) {
        const struct choice *c = &ex.choices[i];
        const struct thread *t = &machine.threads[c->chosen % THREADS];
        printf("%5u  %s%s %s", i + 1, t->name, c->chosen >= THREADS ? "'s buffer" : "",
               kinds[c->step.kind]);
        if (c->step.what)
            printf(" %s", c->step.what);
        print_accesses(&c->step);
        printf("  %s%s%s\n", next_code(code), c->note ? "   -- " : "", c->note ? c->note : "");
    }
    if (code)
        pclose(code);
}
