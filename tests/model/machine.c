/* tests/model/machine.c - threads that take steps, and their store buffers.
 * SPDX-License-Identifier: MIT
 *
 * All threads of the model are stacks of one thread of the system. Whoever is about to take a step
 * says which, and lets the exploration choose who goes on; what he does between two steps no other
 * sees.
 *
 * With buffers this is x86: a store that is not locked goes into its thread's buffer and from there
 * to memory, in order, whenever it likes; the thread itself reads its own newest store from the
 * buffer; locked instructions, fences and system calls come after the buffer is empty. Other memory
 * models let loads pass loads, and are not modelled. */
#include "inside.h"

#include "arch/arch.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { PLACES = 1 << 12, COUNTERS_MAX = 32 };

struct machine machine;
static struct place places[PLACES];
static enum result result;
static void *nowhere;

static uintptr_t counters[COUNTERS_MAX];
static unsigned counters_len;

static bool is_counter(uintptr_t key)
{
    for (unsigned i = 0; i < counters_len; i++)
        if (counters[i] == key)
            return true;
    return false;
}

void model_counter(const volatile void *counter)
{
    if (is_counter((uintptr_t)counter))
        return;
    if (counters_len == COUNTERS_MAX)
        model_fail("more counters than there is room for");
    counters[counters_len++] = (uintptr_t)counter;
}

struct place *place_of(const void *object)
{
    uintptr_t key = (uintptr_t)object;
    for (uint32_t i = (uint32_t)(key * 0x9e3779b97f4a7c15u >> 40);; i++) {
        struct place *p = &places[i % PLACES];
        if (p->execution != machine.execution) {
            *p = (struct place){ .key = key,
                                 .execution = machine.execution,
                                 .owner = -1,
                                 .is_counter = is_counter(key) };
            return p;
        }
        if (p->key == key)
            return p;
    }
}

struct place *place_in_kernel(const void *object)
{
    return place_of((void *)((uintptr_t)object | (uintptr_t)1 << 63));
}

void place_write(struct place *place, void *to, unsigned bytes, uint64_t value)
{
    uint64_t old = 0;
    memory_will_write(to, bytes);
    memcpy(&old, to, bytes);
    memcpy(to, &value, bytes);
    place->version += memcmp(&old, to, bytes) != 0;
}

void seen_join(struct seen *to, const struct seen *from)
{
    for (int i = 0; i < THREADS; i++)
        if (to->of[i] < from->of[i])
            to->of[i] = from->of[i];
}

void place_store_released(struct place *place, int thread, const struct seen *released)
{
    if (place->owner != thread)
        place->own = (struct seen){ 0 };
    place->owner = (int8_t)thread;
    seen_join(&place->own, released);
    place->released = place->own;
}

void place_change_released(struct place *place, int thread, const struct seen *released)
{
    seen_join(&place->released, released);
    if (place->owner == thread)
        seen_join(&place->own, released);
}

static bool is_empty(const struct thread *t)
{
    return t->first == t->last;
}

static bool is_quiet(int but);

static bool is_ready(int i)
{
    struct thread *t = &machine.threads[i];
    if (t->state != THREAD_READY || (t->step.drained && !is_empty(t)))
        return false;
    if (t->step.kind == STEP_BARRIER && !is_empty(&machine.threads[t->step.barrier_of]))
        return false;
    if (t->step.kind == STEP_QUIET && !is_quiet(i))
        return false;
    return !t->step.ready || t->step.ready(t->step.arg);
}

static bool is_quiet(int but)
{
    for (int i = 0; i < (int)machine.threads_len; i++)
        if (!is_empty(&machine.threads[i]) || (i != but && is_ready(i)))
            return false;
    return true;
}

unsigned machine_enabled(void)
{
    unsigned enabled = 0;
    for (unsigned i = 0; i < machine.threads_len; i++) {
        enabled |= (unsigned)is_ready((int)i) << i;
        enabled |= (unsigned)!is_empty(&machine.threads[i]) << (i + THREADS);
    }
    return enabled;
}

/* A failed compare-and-exchange, or an exchange of what is there already, is a read. */
static bool writes_now(const struct step *step)
{
    uint64_t value = 0;
    memcpy(&value, step->compared, step->bytes);
    return (value == step->expected) != step->unequal;
}

const struct step *machine_step_of(int proc, struct step *drain)
{
    struct thread *t = &machine.threads[proc % THREADS];
    if ((unsigned)proc % THREADS >= machine.threads_len)
        return NULL;
    if (proc < THREADS) {
        if (t->step.bytes)
            t->step.accesses[0].how = writes_now(&t->step) ? WRITES : READS;
        return t->state == THREAD_READY ? &t->step : NULL;
    }
    if (is_empty(t))
        return NULL;
    struct store *s = &t->buffer[t->first % BUFFER_MAX];
    *drain = (struct step){
        .kind = STEP_DRAIN, .accesses_len = 1, .accesses = { { s->place, WRITES } }, .code = s->code
    };
    return drain;
}

static void drain(struct thread *t)
{
    struct store *s = &t->buffer[t->first++ % BUFFER_MAX];
    if (!s->bytes)
        return;
    memory_drained(s->to, s->code);
    place_write(s->place, s->to, s->bytes, s->value);
    place_store_released(s->place, (int)(t - machine.threads), &s->released);
}

static void begin_thread(void)
{
    struct thread *t = &machine.threads[machine.current];
    t->fn(t->arg);
    t->state = THREAD_ENDED;
    machine_take(NULL);
}

/* Until somebody chooses the thread that calls it. */
static void let_go_on(void)
{
    for (;;) {
        int proc = explore_choose();
        if (proc < 0)
            machine_stop(RESULT_ENDED);
        if (proc >= THREADS) {
            drain(&machine.threads[proc - THREADS]);
            continue;
        }
        struct thread *from = &machine.threads[machine.current];
        if (proc == machine.current)
            return;
        machine.current = proc;
        coir__arch_switch(&from->sp, &machine.threads[proc].sp, 0);
        return;
    }
}

void machine_take(const struct step *step)
{
    if (!machine.running)
        return;
    if (step)
        machine.threads[machine.current].step = *step;
    let_go_on();
}

void machine_stop(enum result why)
{
    result = why;
    machine.running = false;
    coir__arch_switch(&nowhere, &machine.main_sp, 0);
    __builtin_unreachable();
}

void machine_buffer(struct place *place, void *to, unsigned bytes, uint64_t value,
                    const struct seen *released, uintptr_t code)
{
    struct thread *t = &machine.threads[machine.current];
    if (t->last - t->first == BUFFER_MAX)
        model_fail("the store buffer is full");
    t->buffer[t->last++ % BUFFER_MAX] =
        (struct store){ place,    to, value, (uint8_t)bytes, code, machine.orders[machine.current],
                        *released };
    explore_buffered();
    t->buffer[(t->last - 1) % BUFFER_MAX].order = machine.orders[machine.current];
}

void machine_void(uintptr_t from, uintptr_t to)
{
    struct thread *t = &machine.threads[machine.current];
    for (unsigned i = t->first; i != t->last; i++) {
        struct store *s = &t->buffer[i % BUFFER_MAX];
        if ((uintptr_t)s->to + s->bytes > from && (uintptr_t)s->to < to)
            s->bytes = 0;
    }
}

void machine_note_read(struct place *place)
{
    struct thread *t = &machine.threads[machine.current];
    unsigned most = machine.test->flags & MODEL_SPINS ? LOOP_READS_MAX : 1;
    unsigned i = 0;
    while (i < t->reads_len && t->reads[i].place != place)
        i++;
    if (i == most) { /* the oldest makes room */
        memmove(t->reads, t->reads + 1, (most - 1) * sizeof t->reads[0]);
        i = most - 1;
    }
    if (i < t->reads_len && t->reads[i].place == place)
        return;
    t->reads_len = i < t->reads_len ? t->reads_len : i + 1;
    t->reads[i].place = place;
    t->reads[i].version = place->version;
}

const struct store *machine_forwarded(const void *from)
{
    const struct thread *t = &machine.threads[machine.current];
    for (unsigned i = t->last; i != t->first; i--)
        if (t->buffer[(i - 1) % BUFFER_MAX].to == from && t->buffer[(i - 1) % BUFFER_MAX].bytes)
            return &t->buffer[(i - 1) % BUFFER_MAX];
    return NULL;
}

void model_thread(const char *name, void (*fn)(void *), void *arg)
{
    struct thread *t = &machine.threads[machine.threads_len++];
    unsigned i = machine.threads_len - 1;
    t->name = name;
    t->fn = fn;
    t->arg = arg;
    t->worker = NULL;
    t->state = THREAD_READY;
    t->step = (struct step){ .kind = STEP_START };
    t->first = t->last = 0;
    t->reads_len = 0;
    t->clock_version = 0;
    t->turns = 0;
    t->seen = t->to_acquire = t->released_by_fence = (struct seen){ 0 };
    t->seen.of[i] = 1;
    memory_stack_clean(i);
    t->sp = coir__arch_init(memory_stack_low(i) + (1 << STACK_SHIFT), begin_thread);
}

void machine_begin(const struct model_case *test, bool buffers)
{
    if (++machine.execution == 0) {
        memset(places, 0, sizeof places);
        machine.execution = 1;
    }
    machine.test = test;
    machine.buffers = buffers;
    machine.threads_len = 0;
    machine.current = 0;
    machine.owed = 0;
    machine.failed = false;
    memset(machine.orders, 0, sizeof machine.orders);
    memory_begin();
    world_begin();
    test->setup();
}

static void start(void)
{
    machine.running = true;
    int proc = explore_choose();
    machine.current = proc;
    result = RESULT_GOES_ON;
    coir__arch_switch(&machine.main_sp, &machine.threads[proc].sp, 0);
}

static void check_end(void)
{
    char waiting[256] = "";
    int len = 0;
    for (unsigned i = 0; i < machine.threads_len; i++)
        if (machine.threads[i].state != THREAD_ENDED)
            len += snprintf(waiting + len, sizeof waiting - (size_t)len, "  %s waits: %s",
                            machine.threads[i].name,
                            machine.threads[i].step.what ? machine.threads[i].step.what : "a loop");
    if (machine.owed)
        model_fail("%u things never happened.%s", machine.owed, waiting);
    else if (machine.test->check)
        machine.test->check();
}

enum result machine_run(void)
{
    start();
    if (result == RESULT_ENDED)
        check_end();
    memory_end();
    return machine.failed ? RESULT_FAILED : result;
}

void model_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!machine.failed) {
        printf("FAILED: ");
        vprintf(format, args);
        printf("\n");
        explore_print();
        fflush(stdout);
    }
    va_end(args);
    machine.failed = true;
    if (machine.running)
        machine_stop(RESULT_FAILED);
}

void model_await_quiet(void)
{
    machine_take(&(struct step){ .kind = STEP_QUIET, .what = "until nobody goes on" });
}

void model_owe(unsigned n)
{
    machine.owed += n;
}

void model_pay(void)
{
    if (!machine.owed)
        model_fail("more was done than there was to do");
    machine.owed--;
}
