/* api/lookup.c - see lookup.h.
 * SPDX-License-Identifier: MIT
 *
 * One lock for all that changes: who asks what, and who still needs an answer. An asker is claimed
 * with the answer under it, and counted as a taker; one who stops waiting finds under it whether it
 * is still listed. */
#include "lookup.h"

#include "edge.h"
#include "helper.h"
#include "io/op.h"

#include <stdlib.h>
#include <string.h>

struct coir__asker {
    struct coir__waiter waiter;  /* first */
    struct coir__lookup *lookup; /* asked; before that: the question */
    struct coir__asker *next;
    bool listed; /* as one who asks lookup, which is still there then */
};

static struct coir__pool pool = { .threads_max = 32, .foreign = true, .abandons = true };

static struct {
    _Atomic int32_t lock;
    struct coir__lookup *first;
} under_way;

void coir__lookups_begin(void)
{
    coir__pool_hold(&pool);
}

void coir__lookups_end(void)
{
    coir__pool_let_go(&pool);
}

static void destroy(struct coir__lookup *l)
{
    if (l->forget)
        l->forget(l);
    free(l);
}

struct coir__lookup *coir__lookup_new(void (*ask)(struct coir__lookup *l), size_t key_bytes)
{
    struct coir__lookup *l = calloc(1, sizeof *l + key_bytes);
    if (!l)
        return NULL;
    l->ask = ask;
    l->key_bytes = key_bytes;
    return l;
}

static struct coir__lookup *find_same(const struct coir__lookup *question)
{
    struct coir__lookup *l = question->shared ? under_way.first : NULL;
    while (l && (l->ask != question->ask || l->key_bytes != question->key_bytes ||
                 memcmp(l->key, question->key, l->key_bytes) != 0))
        l = l->next;
    return l;
}

static void take_out(struct coir__lookup *l)
{
    struct coir__lookup **at = &under_way.first;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
}

static void run(struct coir__job *job)
{
    struct coir__lookup *l = (struct coir__lookup *)job;
    l->ask(l);
}

static void done(struct coir__job *job)
{
    struct coir__lookup *l = (struct coir__lookup *)job;
    struct coir__asker *claimed = NULL, *next;
    coir__sleep_lock(&under_way.lock);
    take_out(l);
    for (struct coir__asker *a = l->askers; a; a = next) {
        next = a->next;
        a->listed = false;
        if (!coir__waiter_claim(&a->waiter, 0))
            continue;
        l->takers++;
        a->next = claimed;
        claimed = a;
    }
    bool unwanted = l->takers == 0;
    coir__sleep_unlock(&under_way.lock);
    if (unwanted)
        destroy(l);
    for (; claimed; claimed = next) {
        next = claimed->next;
        coir__waiter_release(&claimed->waiter);
    }
}

/* After-hook: from here on the asker can be woken. */
static void begin(void *arg)
{
    struct coir__asker *a = arg;
    struct coir__lookup *question = a->lookup;
    int err = 0;
    coir__sleep_lock(&under_way.lock);
    struct coir__lookup *l = find_same(question);
    if (!l) {
        question->job = (struct coir__job){ .run = run, .done = done };
        err = (int)coir__start_error(coir__pool_add(&pool, &question->job));
        if (err == 0) {
            l = question;
            l->next = under_way.first;
            under_way.first = l;
        }
    }
    if (l) {
        a->lookup = l;
        a->next = l->askers;
        l->askers = a;
        a->listed = true;
    }
    coir__sleep_unlock(&under_way.lock);
    if (l != question)
        destroy(question);
    if (err < 0) {
        coir__waiter_claim(&a->waiter, -err);
        coir__waiter_release(&a->waiter);
    }
}

/* Without the answer. A question that nobody asks any more, and no thread has begun with, is not
 * asked. */
static void leave(struct coir__asker *a)
{
    struct coir__lookup *l = a->lookup, *unwanted = NULL;
    coir__sleep_lock(&under_way.lock);
    if (a->listed) {
        struct coir__asker **at = &l->askers;
        while (*at != a)
            at = &(*at)->next;
        *at = a->next;
        if (!l->askers && coir__pool_stop(&pool, &l->job)) {
            take_out(l);
            unwanted = l;
        }
    }
    coir__sleep_unlock(&under_way.lock);
    if (unwanted)
        destroy(unwanted);
}

long coir__lookup_wait(struct coir__lookup *l, struct coir__lookup **answered)
{
    struct coir__fiber *f = coir__fiber_self();
    struct coir__asker a = { .lookup = l };
    coir__waiter_init(&a.waiter);
    if (!f)
        coir__lookups_begin();
    int err = coir__waiter_wait(&a.waiter, COIR__WHY_LOOKUP, coir__fiber_deadline(f), begin, &a);
    if (err)
        leave(&a);
    if (!f)
        coir__lookups_end();
    *answered = a.lookup;
    return -err;
}

bool coir__lookup_is_mine(struct coir__lookup *l)
{
    coir__sleep_lock(&under_way.lock);
    bool mine = l->takers == 1;
    coir__sleep_unlock(&under_way.lock);
    return mine;
}

void coir__lookup_done(struct coir__lookup *l)
{
    coir__sleep_lock(&under_way.lock);
    bool last = --l->takers == 0;
    coir__sleep_unlock(&under_way.lock);
    if (last)
        destroy(l);
}
