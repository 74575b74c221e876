/* api/dump_text.c - what was seen, in words.
 * SPDX-License-Identifier: MIT */
#include "dump.h"

#include "sched/memory.h"
#include "sched/stack.h"
#include "sync/waitq.h"

#include <string.h>

/* What a fiber waits for; %p is the object. Where there is more to say, none. */
static const char *const whys[] = {
    [COIR__WHY_SLEEP] = "sleep",
    [COIR__WHY_CLOSE] = "close, while others are still on the descriptor",
    [COIR__WHY_COND] = "cond %p",
    [COIR__WHY_RWLOCK_READ] = "rwlock %p (to read)",
    [COIR__WHY_RWLOCK_WRITE] = "rwlock %p (to write)",
    [COIR__WHY_SEM] = "sem %p",
    [COIR__WHY_BARRIER] = "barrier %p",
    [COIR__WHY_ONCE] = "once %p",
    [COIR__WHY_WAITGROUP] = "waitgroup %p",
    [COIR__WHY_SEND] = "send to %p",
    [COIR__WHY_RECV] = "receive from %p",
    [COIR__WHY_SELECT] = "select",
    [COIR__WHY_FUTURE] = "future %p",
    [COIR__WHY_FUTURES] = "any of several futures",
    [COIR__WHY_SCOPE] = "scope %p",
    [COIR__WHY_DUMP] = "coir_dump",
    [COIR__WHY_BLOCKING] = "coir_blocking",
    [COIR__WHY_LOOKUP] = "the name service",
};

static const char *const ops[] = {
    [COIR__OP_READ] = "read",       [COIR__OP_WRITE] = "write",     [COIR__OP_READV] = "readv",
    [COIR__OP_WRITEV] = "writev",   [COIR__OP_RECV] = "recv",       [COIR__OP_SEND] = "send",
    [COIR__OP_RECVMSG] = "recvmsg", [COIR__OP_SENDMSG] = "sendmsg", [COIR__OP_ACCEPT] = "accept",
    [COIR__OP_CONNECT] = "connect", [COIR__OP_OPENAT] = "open",     [COIR__OP_FSYNC] = "fsync",
    [COIR__OP_POLL] = "poll",       [COIR__OP_CALL] = "a thread",
};

void coir__dump_who(struct coir__text *t, const void *handle, const char *name)
{
    char plain[COIR__NAME_BYTES + 1];
    int i = 0;
    for (; i < COIR__NAME_BYTES && name[i]; i++) /* one line, and no commands to the terminal */
        plain[i] = name[i] > 0 && name[i] < ' ' ? '?' : name[i];
    plain[i] = 0;
    coir__text_add(t, "fiber %p", handle);
    if (*name)
        coir__text_add(t, " \"%s\"", plain);
}

/* A fiber that may have been seen. handle NULL: it is not known. */
static void add_other(struct coir__text *t, const struct coir__ask *ask,
                      const struct coir__fiber *f, const void *handle)
{
    const struct coir__sight *s = coir__ask_find(ask, f);
    if (s)
        coir__dump_who(t, s->handle, s->name);
    else if (handle)
        coir__text_add(t, "fiber %p, which is gone", handle);
    else
        coir__text_add(t, "a fiber that is gone");
}

static void add_owner(struct coir__text *t, const struct coir__ask *ask, uint64_t owner)
{
    if (!owner)
        return;
    coir__text_add(t, " held by ");
    if (owner & COIR__OWNER_THREAD)
        coir__text_add(t, "thread %u", (unsigned)(owner >> COIR__OWNER_THREAD_SHIFT));
    else
        add_other(t, ask, (struct coir__fiber *)(uintptr_t)owner, NULL);
}

static void add_op(struct coir__text *t, const struct coir__op_view *op)
{
    const char *name = op->code < sizeof ops / sizeof *ops ? ops[op->code] : "I/O";
    if (op->n == 0)
        coir__text_add(t, "I/O, to try again");
    else if (op->n > 1)
        coir__text_add(t, "%s of %u descriptors, one of them %d", name, op->n, op->fd);
    else if (op->fd < 0)
        coir__text_add(t, "%s", name);
    else
        coir__text_add(t, "%s on fd %d", name, op->fd);
}

static void add_join(struct coir__text *t, const struct coir__ask *ask, const void *handle)
{
    coir__text_add(t, "join of ");
    add_other(t, ask, coir__fiber_of(handle), handle);
}

/* With on in the place of the %p. */
static void add_object(struct coir__text *t, enum coir__why why, const void *on)
{
    const char *text = whys[why];
    size_t words = strcspn(text, "%");
    coir__text_add(t, "%.*s%p%s", (int)words, text, on, text + words + 2);
}

static void add_case(struct coir__text *t, const struct coir__ask *ask,
                     const struct coir__case_view *c)
{
    switch ((enum coir__case_kind)c->kind) {
    case COIR__CASE_SEND:
        add_object(t, COIR__WHY_SEND, c->on);
        break;
    case COIR__CASE_RECV:
        add_object(t, COIR__WHY_RECV, c->on);
        break;
    case COIR__CASE_FD:
        coir__text_add(t, "fd %d", c->fd);
        break;
    case COIR__CASE_JOIN:
        add_join(t, ask, c->on);
        break;
    case COIR__CASE_AWAIT:
        add_object(t, COIR__WHY_FUTURE, c->on);
        break;
    case COIR__CASE_TIMER:
        coir__text_add(t, "timer");
        break;
    default:
        coir__text_add(t, "case %d", c->kind);
    }
}

static void add_cases(struct coir__text *t, const struct coir__ask *ask,
                      const struct coir__sight *s)
{
    coir__text_add(t, "select of ");
    for (uint32_t i = 0; i < s->cases_len && i < COIR__CASES_SEEN; i++) {
        coir__text_add(t, i ? ", " : "");
        add_case(t, ask, &s->cases[i]);
    }
    if (s->cases_len > COIR__CASES_SEEN)
        coir__text_add(t, ", and %u more", s->cases_len - COIR__CASES_SEEN);
}

static void add_why(struct coir__text *t, const struct coir__ask *ask, const struct coir__sight *s)
{
    const char *why = s->why < sizeof whys / sizeof *whys ? whys[s->why] : NULL;
    if (s->why == COIR__WHY_JOIN && s->on) {
        add_join(t, ask, s->on);
    } else if (s->why == COIR__WHY_SELECT && s->cases_len) {
        add_cases(t, ask, s);
    } else if (s->why == COIR__WHY_IO && s->waiter) {
        add_op(t, &s->op);
    } else if (s->why == COIR__WHY_FUTURE && s->owner) {
        coir__text_add(t, "future %p of ", s->on);
        add_other(t, ask, (struct coir__fiber *)(uintptr_t)s->owner, NULL);
    } else if (s->why == COIR__WHY_MUTEX && s->on) {
        coir__text_add(t, "mutex %p", s->on);
        add_owner(t, ask, s->owner);
    } else if (why && strchr(why, '%')) {
        add_object(t, (enum coir__why)s->why, s->on);
        add_owner(t, ask, s->owner);
    } else if (why) {
        coir__text_add(t, "%s", why);
    } else {
        coir__text_add(t, "reason %d", s->why);
    }
    if (s->woken)
        coir__text_add(t, ", about to go on");
}

/* Stamps are of 2^20 ns. */
static uint64_t age_ms(const struct coir__sight *s)
{
    int32_t stamps = (int32_t)(s->now - s->since);
    return stamps > 0 ? ((uint64_t)stamps << 20) / 1000000 : 0;
}

static void add_state(struct coir__text *t, const struct coir__ask *ask,
                      const struct coir__sight *s)
{
    switch ((enum coir__state)s->state) {
    case COIR__FRESH:
        coir__text_add(t, "not started: ");
        if (s->fn)
            coir__text_add_function(t, s->fn);
        break;
    case COIR__READY:
        coir__text_add(t, "ready");
        break;
    case COIR__RUNNING:
        coir__text_add(t, "running");
        break;
    default:
        coir__text_add(t, "parked");
        if (s->waiter)
            coir__text_add(t, " for %llu ms", (unsigned long long)age_ms(s));
        coir__text_add(t, ": ");
        if (s->outside)
            coir__text_add(t, "not known");
        else
            add_why(t, ask, s);
    }
    if (s->scope)
        coir__text_add(t, ", of scope %p", s->scope);
    else if (s->detached)
        coir__text_add(t, ", detached");
    coir__text_add(t, "%s\n", s->cancelled ? ", cancelled" : "");
}

/* Backtraces that have been written, by their hash. */
struct seen {
    struct coir__sight **table;
    uint64_t len;
};

static bool same_frames(const struct coir__sight *a, const struct coir__sight *b)
{
    return a->frames_len == b->frames_len &&
           memcmp(a->frames, b->frames, a->frames_len * sizeof a->frames[0]) == 0;
}

/* The first one with the same backtrace, perhaps itself. */
static struct coir__sight *first_like(struct seen *seen, struct coir__sight *s)
{
    uint64_t at = s->frames_len;
    for (int i = 0; i < s->frames_len; i++)
        at = (at ^ s->frames[i]) * 0x9e3779b97f4a7c15u;
    at >>= 32;
    if (!seen->table)
        return s;
    while (seen->table[at % seen->len] && !same_frames(seen->table[at % seen->len], s))
        at++;
    if (!seen->table[at % seen->len])
        seen->table[at % seen->len] = s;
    return seen->table[at % seen->len];
}

static void add_frames(struct coir__text *t, struct seen *seen, struct coir__sight *s)
{
    struct coir__sight *first = s->frames_len ? first_like(seen, s) : s;
    if (first != s) {
        coir__text_add(t, "    backtrace as of fiber %p\n", first->handle);
        return;
    }
    for (int i = 0; i < s->frames_len; i++)
        coir__text_add_frame(t, s->frames[i]);
    if (s->cut)
        coir__text_add(t, "    ...\n");
}

static void tell_deadlock(void *arg, const struct coir__ask *ask, struct coir__sight *first)
{
    struct coir__text *t = arg;
    const struct coir__sight *s = first;
    bool bounded = false;
    do {
        bounded = bounded || s->bounded;
        s = coir__waits_for(ask, s);
    } while (s != first);
    coir__text_add(t, bounded ? "deadlock, unless a deadline ends it: " : "deadlock: ");
    do {
        coir__dump_who(t, s->handle, s->name);
        coir__text_add(t, " waits for ");
        add_why(t, ask, s);
        s = coir__waits_for(ask, s);
        coir__text_add(t, s == first ? "\n" : "; ");
    } while (s != first);
}

static void add_head(struct coir__text *t, const struct coir__ask *ask)
{
    uint64_t all = ask->fibers[COIR__FRESH] + ask->fibers[COIR__READY] +
                   ask->fibers[COIR__RUNNING] + ask->fibers[COIR__PARKED];
    coir__text_add(t, "coir: %llu fiber%s: %llu running, %llu ready, %llu parked, %llu not started",
                   (unsigned long long)all, all == 1 ? "" : "s",
                   (unsigned long long)ask->fibers[COIR__RUNNING],
                   (unsigned long long)ask->fibers[COIR__READY],
                   (unsigned long long)ask->fibers[COIR__PARKED],
                   (unsigned long long)ask->fibers[COIR__FRESH]);
    if (ask->fibers[COIR__ENDED])
        coir__text_add(t, "; %llu ended, not joined", (unsigned long long)ask->fibers[COIR__ENDED]);
    coir__text_add(t, "; %u worker%s\n", ask->len, ask->len == 1 ? "" : "s");
    if (ask->lost)
        coir__text_add(t, "no memory to show %llu of them\n", (unsigned long long)ask->lost);
    for (uint32_t i = 0; i < ask->len; i++)
        if (!atomic_load(&ask->sights[i].look.done))
            coir__text_add(t, "worker %u did not answer\n", ask->sights[i].index);
}

void coir__dump_text(struct coir__text *t, const struct coir__ask *before,
                     const struct coir__ask *ask)
{
    struct seen seen = { .len = ask->table_len };
    struct coir__ask_place at = { 0 };
    struct coir__sight *s;
    seen.table = coir__map(seen.len * sizeof *seen.table);
    add_head(t, ask);
    coir__deadlocks(before, ask, tell_deadlock, t);
    while ((s = coir__ask_next(ask, &at))) {
        coir__dump_who(t, s->handle, s->name);
        coir__text_add(t, " on worker %u, ", ask->sights[at.sights].index);
        add_state(t, ask, s);
        add_frames(t, &seen, s);
    }
    if (seen.table)
        coir__unmap(seen.table, seen.len * sizeof *seen.table);
}
