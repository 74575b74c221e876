/* tests/model/kit.c - see kit.h. Compiled like the sources, so that what it sets up is put back.
 * SPDX-License-Identifier: MIT */
#include "kit.h"

#include "inside.h"
#include "sched/lock.h"
#include "sched/record.h"
#include "sched/bias.h"
#include "sched/stack.h"

#include <errno.h>

struct coir__worker kit_workers[KIT_WORKERS];
struct coir__runtime kit_rt;
int64_t kit_thread_deadline_ns = COIR__NEVER;
bool kit_told_rest;
_Atomic uint32_t coir__knockers;

static struct coir__fiber slab[2 * COIR__RECORD_SLAB_BYTES / 2 / sizeof(struct coir__fiber)]
    __attribute__((aligned(COIR__CACHE_LINE)));
static unsigned stacks_len;
unsigned kit_records_len, kit_records_freed_outside;

static const char *const worker_names[] = { "worker 0", "worker 1", "worker 2" };
static const char *const record_names[] = { "fiber 0", "fiber 1", "fiber 2", "fiber 3",
                                            "fiber 4", "fiber 5", "fiber 6", "fiber 7" };

void kit_be_worker(unsigned i)
{
    coir__arch_self_set(&kit_workers[i]);
}

static void run_loop(void *arg)
{
    struct coir__worker *w = arg;
    kit_be_worker(w->index);
    coir__worker_loop(w);
}

static void begin_worker(struct coir__worker *w, unsigned i)
{
    w->self = w;
    w->rt = &kit_rt;
    w->index = i;
    w->slot = coir__slot_of(true, i);
    w->current = &w->loop;
    w->fresh.asked = !coir__lock_biased;
    w->loop.home = w;
    w->loop.deadline_ns = COIR__NEVER;
    w->trim_ns = COIR__NEVER;
    model_name(w, sizeof *w, worker_names[i]);
    model_name(&w->fresh, sizeof w->fresh, i ? "worker 1's fresh" : "worker 0's fresh");
    model_name((void *)&w->inbox, sizeof w->inbox, i ? "worker 1's inbox" : "worker 0's inbox");
    model_name((void *)&w->holding, sizeof w->holding,
               i ? "worker 1's holding" : "worker 0's holding");
    model_name((void *)&w->sleeping, sizeof w->sleeping,
               i ? "worker 1's sleeping" : "worker 0's sleeping");
}

void kit_begin(unsigned n, unsigned loops)
{
    coir__lock_init();
    kit_rt.config = (struct coir__config){ .engine = &kit_engine, .workers = n };
    kit_rt.workers = kit_workers;
    model_counter(&coir__knockers);
    model_counter(&kit_rt.visitors);
    model_counter(&kit_rt.joining);
    for (unsigned i = 0; i < n; i++) {
        model_counter(&kit_workers[i].kickers);
        model_counter(&kit_workers[i].fresh.coming);
    }
    kit_rt.watching = KIT_WORKERS + 1; /* somebody who is not there: nobody steals */
    kit_rt.rest = COIR__REST_TOLD; /* so that nobody looks for it */
    for (unsigned i = 0; i < n; i++)
        begin_worker(&kit_workers[i], i);
    for (unsigned i = 0; i < loops; i++)
        model_thread(worker_names[i], run_loop, &kit_workers[i]);
}

struct coir__fiber *kit_fresh(unsigned i, void *(*fn)(void *), void *arg)
{
    struct coir__fiber *f = &slab[kit_records_len];
    model_name(f, sizeof *f, record_names[kit_records_len++]);
    f->ident = 1;
    f->home = &kit_workers[i];
    f->fn = fn;
    f->arg = arg;
    f->deadline_ns = COIR__NEVER;
    coir__fiber_state_set(f, COIR__FRESH);
    if (!coir__lock_biased)
        coir__fiber_unbias(f);
    return f;
}

/* As park.c binds a stack. */
struct coir__fiber *kit_fiber(unsigned i, void *(*fn)(void *), void *arg)
{
    struct coir__fiber *f = kit_fresh(i, fn, arg);
    struct coir__stack *s = coir__stack_alloc(&kit_workers[i], 0);
    s->fn = fn;
    s->arg = arg;
    f->stack = s;
    f->sp = coir__arch_init(coir__stack_top(s), coir__fiber_main);
    coir__fiber_state_set(f, COIR__READY);
    coir__runq_push(&kit_workers[i].ready, f);
    return f;
}

void kit_enter(struct kit_guarded *g)
{
    model_assert(g->inside == 0);
    g->inside = 1;
    g->count++;
}

void kit_leave(struct kit_guarded *g)
{
    model_assert(g->inside == 1);
    g->inside = 0;
}

/* The rest of sched, as far as the cases need it. Stacks are the model's. */
struct coir__stack *coir__stack_alloc(struct coir__worker *w, unsigned class)
{
    (void)w, (void)class;
    unsigned i = MODEL_THREADS_MAX + stacks_len++;
    if (i >= STACKS)
        model_fail("no stack is left");
    memory_stack_clean(i);
    struct coir__stack *s = (struct coir__stack *)(memory_stack_low(i) + (1 << STACK_SHIFT)) - 1;
    *s = (struct coir__stack){ 0 };
    return s;
}

void coir__stack_free(struct coir__worker *w, struct coir__stack *s)
{
    (void)w, (void)s;
}

int64_t coir__stack_trim(struct coir__worker *w, int64_t now_ns)
{
    (void)w, (void)now_ns;
    return COIR__NEVER;
}

bool coir__record_reload(struct coir__worker *w)
{
    struct coir__fiber *f = &slab[kit_records_len];
    model_name(f, sizeof *f, record_names[kit_records_len++]);
    f->ident = 1;
    w->records = f;
    w->records_len = 1;
    return true;
}

void coir__record_unload(struct coir__worker *w)
{
    (void)w;
    model_fail("a magazine is full");
}

struct coir__fiber *coir__record_alloc_outside(void)
{
    model_fail("a plain thread spawns");
    return NULL;
}

void coir__record_free_outside(struct coir__fiber *f)
{
    coir__record_expire(f);
    kit_records_freed_outside++;
}

bool coir__runtime_quiet(struct coir__runtime *rt, bool detached_too)
{
    (void)rt, (void)detached_too;
    return false;
}

void coir__runtime_wind_down(struct coir__runtime *rt, struct coir__worker *w, int64_t now_ns)
{
    (void)rt, (void)w, (void)now_ns;
}
