/* tests/model/world.c - the kernel and the host, as the sources see them.
 * SPDX-License-Identifier: MIT
 *
 * Futexes, membarrier(2), time that passes when a case says so, and an engine that knows kicks
 * only. A system call is a step, and comes after the store buffer is empty. membarrier's barriers
 * reach the other threads one after the other. */
#include "inside.h"

#include "kit.h"
#include "sched/runtime.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <linux/time_types.h>
#include <sys/syscall.h>

struct sleeper {
    _Atomic int32_t *word; /* NULL: does not sleep */
    bool woken;
    int64_t until_ns;
    unsigned number; /* the first come is the first to be woken */
};

static struct {
    struct sleeper sleepers[THREADS];
    unsigned number;
    int64_t now_ns, looks[THREADS];
    bool kicked[KIT_WORKERS];
    void *setup_worker;
} world;

void world_begin(void)
{
    world = (typeof(world)){ .now_ns = 1 };
}

void *coir__arch_self(void)
{
    return machine.running ? machine.threads[machine.current].worker : world.setup_worker;
}

void coir__arch_self_set(void *self)
{
    if (machine.running)
        machine.threads[machine.current].worker = self;
    else
        world.setup_worker = self;
}

static struct step call(const char *what, const void *object, uintptr_t code)
{
    return (struct step){ .kind = STEP_CALL,
                          .drained = machine.buffers,
                          .accesses_len = 1,
                          .accesses = { { place_in_kernel(object), WRITES } },
                          .what = what,
                          .code = code };
}

static void also_reads(struct step *step, struct place *place)
{
    step->accesses[step->accesses_len++] = (struct access){ place, READS };
}

#define CODE ((uintptr_t)__builtin_return_address(0))

/* What is read off the clock may change until it has come to until_ns. */
static void watch_clock(struct step *step, int64_t until_ns)
{
    if (until_ns != COIR__NEVER && machine.test->flags & MODEL_CLOCK)
        also_reads(step, place_in_kernel(&world.now_ns));
}

int64_t model_now(void)
{
    return world.now_ns;
}

void model_clock_advance(int64_t to_ns)
{
    struct step step = call("advance the clock", &world.now_ns, CODE);
    machine_take(&step);
    place_in_kernel(&world.now_ns)->version++;
    world.now_ns = to_ns;
}

/* Without a clock that the case advances, every look at it shows each thread that much time has
 * passed for it. */
int64_t coir__host_now(void)
{
    const int64_t much_ns = 1000 * 1000;
    if (!(machine.test->flags & MODEL_CLOCK))
        return ++world.looks[machine.current] * much_ns;
    struct place *clock = place_in_kernel(&world.now_ns);
    struct step step = { .kind = STEP_READ, .what = "now", .code = CODE };
    also_reads(&step, clock);
    machine_take(&step);
    machine.threads[machine.current].clock_version = clock->version;
    machine.threads[machine.current].turns = 0;
    return world.now_ns;
}

int64_t coir__host_now_roughly(void)
{
    return 0;
}

bool coir__host_thread_cancelled(void)
{
    return false;
}

int64_t coir__host_thread_deadline(void)
{
    return kit_thread_deadline_ns;
}

uint32_t coir__host_thread_id(void)
{
    return 100 + (uint32_t)machine.current;
}

int coir__host_errno(void)
{
    return 0;
}

bool coir__host_alone(struct coir__runtime *rt)
{
    (void)rt;
    return true;
}

void coir__host_at_rest(struct coir__runtime *rt)
{
    (void)rt;
    if (machine.owed)
        model_fail("the sources say that nothing will happen any more, and %u things will",
                   machine.owed);
    kit_told_rest = true;
}

void coir__host_woke(void)
{
}

void coir__host_starves(void)
{
}

void coir__host_fiber_values_end(struct coir__fiber *f)
{
    (void)f;
}

static bool sleep_is_over(void *arg)
{
    struct sleeper *s = arg;
    return s->woken || world.now_ns >= s->until_ns;
}

static long futex_wait(_Atomic int32_t *word, int32_t value, const struct __kernel_timespec *until,
                       uintptr_t code)
{
    struct sleeper *s = &world.sleepers[machine.current];
    struct step step = call("futex wait", word, code);
    also_reads(&step, place_of(word));
    machine_take(&step);
    memory_access(word, 4, ATOMIC_READ, code);
    if (*(int32_t *)word != value)
        return -EAGAIN;
    int64_t until_ns = until ? until->tv_sec * 1000000000 + until->tv_nsec : COIR__NEVER;
    *s = (struct sleeper){ word, false, until_ns, ++world.number };
    step = call("futex sleep", word, code);
    step.ready = sleep_is_over;
    step.arg = s;
    watch_clock(&step, until_ns);
    machine_take(&step);
    s->word = NULL;
    return s->woken ? 0 : -ETIMEDOUT;
}

static long futex_wake(_Atomic int32_t *word, long count, uintptr_t code)
{
    struct step step = call("futex wake", word, code);
    machine_take(&step);
    long n = 0;
    for (; n < count; n++) {
        struct sleeper *first = NULL;
        for (struct sleeper *s = world.sleepers; s < world.sleepers + THREADS; s++)
            if (s->word == word && !s->woken && (!first || s->number < first->number))
                first = s;
        if (!first)
            break;
        first->woken = true;
    }
    return n;
}

static long membarrier(long command, uintptr_t code)
{
    if (command != MEMBARRIER_CMD_PRIVATE_EXPEDITED || !machine.running || !machine.buffers)
        return 0;
    if (!(machine.test->flags & MODEL_BARRIERS))
        model_fail("a barrier in a case that does not say so");
    for (unsigned i = 0; i < machine.threads_len; i++) {
        struct step step = { .kind = STEP_BARRIER,
                             .drained = true,
                             .barrier_of = (uint8_t)i,
                             .accesses_len = 1,
                             .accesses = { { place_in_kernel(&machine.threads[i]), READS } },
                             .what = machine.threads[i].name,
                             .code = code };
        if ((int)i != machine.current)
            machine_take(&step);
    }
    return 0;
}

void model_barrier_everywhere(void)
{
    membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, CODE);
}

enum { TURNS_MAX = 64 };

static bool has_changed(void *arg)
{
    struct thread *t = arg;
    for (unsigned i = 0; i < t->reads_len; i++)
        if (t->reads[i].place->version != t->reads[i].version)
            return true;
    return !t->reads_len || (machine.test->flags & MODEL_SPINS && t->turns < TURNS_MAX &&
                             t->clock_version != place_in_kernel(&world.now_ns)->version);
}

/* A turn of a spin loop: the next one can only be different once what it reads has changed. With
 * MODEL_SPINS it may look at the clock after some turns. */
static void await_change(uintptr_t code)
{
    struct thread *t = &machine.threads[machine.current];
    if (!machine.running)
        model_fail("a spin loop, and nobody else runs");
    struct step step = {
        .kind = STEP_AWAIT, .ready = has_changed, .arg = t, .what = "a change of", .code = code
    };
    for (unsigned i = 0; i < t->reads_len; i++)
        also_reads(&step, t->reads[i].place);
    if (machine.test->flags & MODEL_SPINS)
        watch_clock(&step, 0);
    machine_take(&step);
    t->reads_len = 0;
    t->turns++;
}

void coir__arch_pause(void)
{
    await_change(CODE);
}

long coir__syscall(long nr, long a, long b, long c, long d, long e, long f)
{
    (void)e, (void)f;
    switch (nr) {
    case SYS_futex:
        if ((b & FUTEX_CMD_MASK) == FUTEX_WAKE)
            return futex_wake((_Atomic int32_t *)a, c, CODE);
        return futex_wait((_Atomic int32_t *)a, (int32_t)c, (void *)d, CODE);
    case SYS_membarrier:
        return membarrier(a, CODE);
    case SYS_sched_yield:
        await_change(CODE);
        return 0;
    default:
        model_fail("system call %ld is not modelled", nr);
        return -ENOSYS;
    }
}

/* The engine: w->io is not needed. */
static bool may_return(void *arg)
{
    struct sleeper *s = arg;
    return world.kicked[s->number] || world.now_ns >= s->until_ns;
}

static void engine_wait(struct coir__worker *w, int64_t until_ns)
{
    struct sleeper s = { .until_ns = until_ns, .number = w->index };
    struct step step = call("engine wait", &world.kicked[w->index], CODE);
    if (until_ns) {
        step.ready = may_return;
        step.arg = &s;
        watch_clock(&step, until_ns);
    }
    machine_take(&step);
    world.kicked[w->index] = false;
}

static void engine_kick(struct coir__worker *w)
{
    struct step step = call("engine kick", &world.kicked[w->index], CODE);
    machine_take(&step);
    world.kicked[w->index] = true;
}

static void engine_nothing(struct coir__worker *w)
{
    (void)w;
}

/* With an op in flight a worker neither spins for mail nor is at rest. */
static uint64_t engine_in_flight(struct coir__worker *w)
{
    (void)w;
    return !(machine.test->flags & MODEL_SPINS);
}

static bool engine_sees_nothing(struct coir__worker *w)
{
    (void)w;
    return false;
}

const struct coir__engine kit_engine = {
    .name = "model",
    .wait = engine_wait,
    .look = engine_sees_nothing,
    .kick = engine_kick,
    .stop_all = engine_nothing,
    .stop_closing = engine_nothing,
    .in_flight = engine_in_flight,
};
