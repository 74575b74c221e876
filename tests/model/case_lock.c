/* tests/model/case_lock.c - the locks that cost their home worker nothing: exclusion, for all.
 * SPDX-License-Identifier: MIT */
#include "cases.h"
#include "kit.h"
#include "sched/bias.h"
#include "sched/record.h"

static struct coir__bias bias;
static struct coir__fiber *record;
static struct kit_guarded guarded;
static struct coir__slot *slot;

static void use_bias(void)
{
    coir__bias_lock(&bias);
    kit_enter(&guarded);
    kit_leave(&guarded);
    coir__bias_unlock(&bias);
    model_pay();
}

static void bias_at_home(void *arg)
{
    kit_be_worker(0);
    for (uintptr_t i = 0; i < (uintptr_t)arg; i++)
        use_bias();
}

static void bias_elsewhere(void *arg)
{
    if (arg)
        kit_be_worker((unsigned)(uintptr_t)arg);
    use_bias();
}

static void bias_revoke(void *arg)
{
    (void)arg;
    coir__bias_revoke(&bias);
    use_bias();
}

static void bias_begin(void)
{
    kit_begin(3, 0);
    kit_be_worker(0);
    coir__bias_init(&bias);
    model_assert(bias.home != NULL);
    kit_be_worker(0);
    slot = bias.home;
    model_name(&bias, sizeof bias, "the lock");
    model_name(slot, sizeof *slot, "home's slot");
}

static void bias_two(void)
{
    bias_begin();
    model_thread("home", bias_at_home, (void *)2);
    model_thread("other", bias_elsewhere, NULL);
    model_owe(3);
}

static void bias_three(void)
{
    bias_begin();
    model_thread("home", bias_at_home, (void *)1);
    model_thread("worker", bias_elsewhere, (void *)1);
    model_thread("other", bias_elsewhere, NULL);
    model_owe(3);
}

static void bias_revoked(void)
{
    bias_begin();
    model_thread("home", bias_at_home, (void *)2);
    model_thread("other", bias_revoke, NULL);
    model_owe(3);
}

static void bias_and_free(void *arg)
{
    if (arg)
        kit_be_worker(0);
    coir__bias_lock(&bias);
    bool last = ++guarded.count == 2;
    coir__bias_unlock(&bias);
    if (last)
        model_gone(&bias, sizeof bias);
    model_pay();
}

static void bias_gone(void)
{
    bias_begin();
    model_thread("home", bias_and_free, (void *)1);
    model_thread("other", bias_and_free, NULL);
    model_owe(2);
}

/* A record's lock. */
static void use_record(uint16_t generation)
{
    model_assert(coir__fiber_lock(record, generation));
    kit_enter(&guarded);
    kit_leave(&guarded);
    coir__fiber_unlock(record);
    model_pay();
}

static void record_at_home(void *arg)
{
    kit_be_worker(0);
    for (uintptr_t i = 0; i < (uintptr_t)arg; i++)
        use_record(1);
}

static void record_elsewhere(void *arg)
{
    if (arg)
        kit_be_worker((unsigned)(uintptr_t)arg);
    use_record(1);
}

static void record_begin(void)
{
    kit_begin(3, 0);
    record = kit_fresh(0, NULL, NULL);
}

static void record_two(void)
{
    record_begin();
    model_thread("home", record_at_home, (void *)2);
    model_thread("other", record_elsewhere, NULL);
    model_owe(3);
}

static void record_three(void)
{
    record_begin();
    model_thread("home", record_at_home, (void *)1);
    model_thread("worker", record_elsewhere, (void *)1);
    model_thread("other", record_elsewhere, NULL);
    model_owe(3);
}

/* Home frees the record and makes another fiber of it, while others come with the old handle: they
 * get in before it was freed, or find, locked or not, that their handle is stale. */
static void record_used_again(void *arg)
{
    (void)arg;
    kit_be_worker(0);
    struct coir__worker *w = &kit_workers[0];
    if (!coir__fiber_lock(record, 1))
        model_fail("home's own handle is stale");
    kit_enter(&guarded);
    kit_leave(&guarded);
    coir__record_free(w, record);
    coir__fiber_unlock(record);
    struct coir__fiber *again = coir__record_alloc(w);
    model_assert(again == record);
    coir__fiber_state_set(again, COIR__FRESH);
    use_record(2);
}

static void record_stale(void *arg)
{
    (void)arg;
    if (coir__fiber_lock(record, 1)) {
        atomic_thread_fence(memory_order_acquire); /* as still(), in spawn.c */
        if (coir__fiber_generation(record) == 1) {
            kit_enter(&guarded);
            kit_leave(&guarded);
        }
        coir__fiber_unlock(record);
    }
    model_pay();
}

static void record_again(void)
{
    record_begin();
    model_thread("home", record_used_again, NULL);
    model_thread("stale", record_stale, NULL);
    model_owe(2);
}

static void record_again_three(void)
{
    record_again();
    model_thread("stale too", record_stale, NULL);
    model_owe(1);
}

const struct model_case cases_lock[] = {
    { "bias, 2 threads", "home locks twice, another thread once", bias_two, NULL, MODEL_BARRIERS,
      0 },
    { "bias, 3 threads", "home, another worker and a plain thread lock once", bias_three, NULL,
      MODEL_BARRIERS, MODEL_ALWAYS },
    { "bias, revoked", "home locks twice, another thread revokes, then locks", bias_revoked, NULL,
      MODEL_BARRIERS, 0 },
    { "bias, freed by the last", "home and another thread lock once, the last frees it", bias_gone,
      NULL, MODEL_BARRIERS, 0 },
    { "record's lock, 2 threads", "home locks twice, another thread once", record_two, NULL,
      MODEL_BARRIERS, 0 },
    { "record's lock, 3 threads", "home, another worker and a plain thread lock once", record_three,
      NULL, MODEL_BARRIERS, MODEL_BUFFERS },
    { "record's lock, used again",
      "home frees the record and locks its next fiber; one with a stale handle", record_again, NULL,
      MODEL_BARRIERS, 0 },
    { "record's lock, used again, 3 threads", "the same, two with a stale handle",
      record_again_three, NULL, MODEL_BARRIERS, MODEL_BUFFERS },
    { 0 },
};
