/* sched/steal.c - stealing fresh fibers, and placing them.
 * SPDX-License-Identifier: MIT
 *
 * A record's lock is biased to its home (lock.h), and its mail goes there: both have to be settled
 * before the home changes. Mail is sent under the record's lock; who has that lock and finds no
 * mail may change the home. A fiber with mail stays. */
#include "steal.h"

#include "freshq.h"
#include "lock.h"
#include "runtime.h"

enum {
    BATCH_MAX = 256,             /* stolen at once */
    PERIOD_MIN_NS = 100 * 1000,  /* between two looks of the watcher, at first */
    PERIOD_MAX_NS = 1000 * 1000, /* and at last */
    WATCH_NS = 10 * 1000 * 1000, /* it watches for so long when there is nothing */
    WAIT_MAX_NS = 500 * 1000,    /* a queue that takes longer is worth stealing from */
    WORTH_NS = 50 * 1000,        /* a catch that kept the thief busy for so long, */
    WORTH_EACH_NS = 500,         /* and for so long with each of it, was worth it */
    REVIEW_MIN_NS = 1000 * 1000, /* between two comparisons of loads, while placing helps */
    PLACED_MAX = 256,            /* between two comparisons */
    EXCESS_MIN = 8,              /* started fibers more than another has, */
    EXCESS_SHARE = 16            /* and this part of both together: an uneven load */
};
static const int64_t REVIEW_MAX_NS = 1000 * 1000 * 1000;

/* Pairs with the release of end_watch(), by way of whoever has appointed w. */
static bool watches(struct coir__worker *w)
{
    return atomic_load_explicit(&w->rt->watching, memory_order_acquire) == w->index + 1;
}

static bool begin_watch(struct coir__worker *w)
{
    uint32_t none = 0;
    return atomic_compare_exchange_strong_explicit(&w->rt->watching, &none, w->index + 1,
                                                   memory_order_acq_rel, memory_order_relaxed);
}

static void end_watch(struct coir__worker *w)
{
    w->steal.looks = 0;
    w->steal.look_ns = 0;
    atomic_store_explicit(&w->rt->watching, 0, memory_order_release);
}

/* Make a sleeping worker the watcher. The queue was written before; whoever is about to sleep sets
 * `sleeping` and looks at the queues then. */
static void appoint(struct coir__worker *w)
{
    struct coir__runtime *rt = w->rt;
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in sleep_until(): worker.c */
    for (unsigned i = 1; i < rt->config.workers; i++) {
        struct coir__worker *v = &rt->workers[(w->index + i) % rt->config.workers];
        if (!atomic_load_explicit(&v->sleeping, memory_order_relaxed))
            continue;
        if (begin_watch(v)) /* in its name */
            coir__worker_kick(v);
        return;
    }
}

void coir__steal_invite(struct coir__worker *w)
{
    if (!atomic_load_explicit(&w->rt->watching, memory_order_relaxed))
        appoint(w);
}

/* Fresh fibers wait on a worker other than w. */
static bool some_wait(const struct coir__worker *w)
{
    const struct coir__runtime *rt = w->rt;
    for (unsigned i = 0; i < rt->config.workers; i++)
        if (i != w->index && coir__freshq_len(&rt->workers[i]))
            return true;
    return false;
}

/* Also when it has been appointed since it decided to sleep: whoever did that saw it sleep before,
 * but may not have found it asleep again for the kick. A watch that it knows of has had a look. */
bool coir__steal_must_look(struct coir__worker *w)
{
    if (w->rt->config.workers == 1)
        return false;
    uint32_t watching = atomic_load_explicit(&w->rt->watching, memory_order_relaxed);
    if (watching == w->index + 1)
        return !w->steal.looks && !w->starved;
    return !watching && some_wait(w);
}

void coir__steal_when_busy(struct coir__worker *w)
{
    if (__builtin_expect(!watches(w), 1))
        return;
    end_watch(w);
    if (some_wait(w))
        appoint(w);
}

static void lock_queue(struct coir__worker *victim)
{
    uint32_t turns = 0;
    coir__spin_lock(&victim->fresh.lock);
    if (!atomic_exchange(&victim->fresh.asked, 1))
        coir__barrier_everywhere(); /* pairs with the fence in coir__freshq_enter() */
    while (atomic_load_explicit(&victim->in_fresh, memory_order_acquire))
        coir__spin(&turns);
}

static void unlock_queue(struct coir__worker *victim)
{
    bool biased = atomic_load_explicit(&coir__lock_biased, memory_order_relaxed);
    atomic_store_explicit(&victim->fresh.asked, !biased, memory_order_release);
    coir__spin_unlock(&victim->fresh.lock);
}

/* As a thief gives back. Whoever sleeps, or is about to, finds it there. */
static void put_from_outside(struct coir__worker *home, struct coir__fiber *f)
{
    lock_queue(home);
    coir__freshq_put(home, f);
    unlock_queue(home);
    coir__worker_kick(home);
    coir__steal_invite(home);
}

/* A worker reads its mail when the fiber that it runs lets it, which may be never; and in the mail
 * no thief looks. The fibers of a runtime send each other mail all the same, for its price. */
void coir__freshq_send(struct coir__fiber *f)
{
    struct coir__worker *home = f->home;
    if (home->rt->config.workers > 1 && !coir__worker_is_sibling(home) &&
        !atomic_load_explicit(&home->sleeping, memory_order_relaxed)) {
        put_from_outside(home, f);
        return;
    }
    atomic_fetch_add_explicit(&home->fresh.coming, 1, memory_order_relaxed);
    coir__worker_mail_fiber(f, COIR__MAIL_START);
}

static void count_strays(struct coir__worker *w, uint32_t n)
{
    atomic_fetch_add_explicit(&w->fresh.strays, n, memory_order_relaxed); /* owner and thieves */
}

/* Take up to half of the victim's queue, the oldest. */
static uint32_t take(struct coir__worker *victim, struct coir__fiber **batch)
{
    struct coir__runq *q = &victim->fresh.q;
    uint32_t n = 0;
    lock_queue(victim);
    uint32_t wanted = (coir__runq_len(q) - victim->fresh.holes + 1) / 2;
    while (n < wanted && n < BATCH_MAX && (batch[n] = coir__freshq_take_oldest(victim)))
        n++;
    count_strays(victim, n);
    unlock_queue(victim);
    return n;
}

static void give_back(struct coir__worker *victim, struct coir__fiber **batch, uint32_t n)
{
    lock_queue(victim);
    for (uint32_t i = 0; i < n; i++)
        coir__freshq_put(victim, batch[i]);
    unlock_queue(victim);
    coir__worker_kick(victim);
}

/* f, which is in no queue and locked, goes to another worker and is unlocked. */
static bool change_home(struct coir__fiber *f, struct coir__worker *to)
{
    bool free = !atomic_load_explicit(&f->mail, memory_order_acquire);
    if (f->flags & COIR__STAYS)
        free = false;
    if (free)
        __atomic_store_n(&f->home, to, __ATOMIC_RELAXED);
    coir__spin_unlock(&f->lock);
    return free;
}

/* f is the victim's. Its lock is biased to nobody. */
static void lock_stolen(struct coir__fiber *f, const struct coir__worker *victim)
{
    uint32_t turns = 0;
    coir__spin_lock(&f->lock);
    while (atomic_load_explicit(&victim->holding, memory_order_acquire) == f)
        coir__spin(&turns);
}

static uint32_t steal_from(struct coir__worker *w, struct coir__worker *victim)
{
    struct coir__fiber *batch[BATCH_MAX];
    uint32_t taken = take(victim, batch), stolen = 0, stay = 0;
    coir__fibers_unbias(batch, taken);
    for (uint32_t i = 0; i < taken; i++) {
        lock_stolen(batch[i], victim);
        if (change_home(batch[i], w)) {
            coir__freshq_push(w, batch[i]);
            stolen++;
        } else {
            batch[stay++] = batch[i];
        }
    }
    if (stay)
        give_back(victim, batch, stay);
    coir__count(&w->counters.steals, stolen);
    return stolen;
}

/* A look at a queue: would what waits there wait too long? pace: how many were started since the
 * last look, in their turn: while a tree is walked depth first what is older waits for its end. */
static bool waits_long(struct coir__worker *v, int64_t since_ns, bool first_look)
{
    uint32_t head = coir__runq_get(&v->fresh.q.head), pace = head - v->steal.seen_head;
    uint64_t len = coir__freshq_len(v);
    v->steal.seen_head = head;
    if (first_look || !len)
        return false;
    return !pace || len * (uint64_t)since_ns > (uint64_t)WAIT_MAX_NS * pace;
}

/* How many were stolen. at_once: the last catch was worth it. */
static uint32_t look(struct coir__worker *w, int64_t now_ns, bool at_once)
{
    struct coir__runtime *rt = w->rt;
    bool first = w->steal.looks++ == 0;
    for (unsigned i = 1; i < rt->config.workers; i++) {
        struct coir__worker *v = &rt->workers[(w->index + i) % rt->config.workers];
        uint32_t stolen = 0;
        if (coir__freshq_len(v))
            w->steal.seen_ns = now_ns;
        if (waits_long(v, w->steal.period_ns, first) || (at_once && coir__freshq_len(v)))
            stolen = steal_from(w, v);
        if (stolen)
            return stolen;
    }
    return 0;
}

/* Nothing has waited for a while. Whoever queues a fresh fiber from now on finds no watcher; what
 * was queued before is seen here. */
static bool may_leave(struct coir__worker *w)
{
    end_watch(w);
    coir__barrier_everywhere(); /* instead of a fence in coir__steal_invite() */
    return !some_wait(w) || !begin_watch(w);
}

static int64_t worth_ns(int64_t stolen)
{
    return stolen * WORTH_EACH_NS > WORTH_NS ? stolen * WORTH_EACH_NS : WORTH_NS;
}

static int64_t longer(int64_t period_ns)
{
    return period_ns < PERIOD_MAX_NS / 2 ? 2 * period_ns : PERIOD_MAX_NS;
}

int64_t coir__steal_when_idle(struct coir__worker *w, int64_t now_ns)
{
    struct coir__steal *s = &w->steal;
    if (w->starved) /* it could not start what it stole */
        return watches(w) ? now_ns + PERIOD_MAX_NS : COIR__NEVER;
    if (!watches(w) && (!some_wait(w) || !begin_watch(w)))
        return COIR__NEVER;
    bool at_once = s->stole_ns && now_ns - s->stole_ns >= worth_ns(s->stolen);
    if (s->looks == 0) { /* the watch begins */
        bool in_vain = s->stole_ns && !at_once && s->period_ns;
        s->period_ns = in_vain ? longer(s->period_ns) : PERIOD_MIN_NS;
        s->seen_ns = now_ns;
        s->look_ns = now_ns;
    }
    s->stole_ns = 0;
    if (now_ns < s->look_ns && !at_once)
        return s->look_ns;
    s->stolen = look(w, now_ns, at_once);
    if (s->stolen) {
        s->stole_ns = now_ns;
        end_watch(w);
        appoint(w); /* the next one, if what was stolen is too much for one */
        return 0;
    }
    if (now_ns - s->seen_ns >= WATCH_NS && may_leave(w))
        return COIR__NEVER;
    if (s->looks > 2)
        s->period_ns = longer(s->period_ns);
    return s->look_ns = now_ns + s->period_ns;
}

/* Started and not ended, as far as w knows. */
static int32_t started_on(const struct coir__worker *w)
{
    uint64_t ended = atomic_load_explicit(&w->counters.ended, memory_order_relaxed) +
                     atomic_load_explicit(&w->counters.ended_detached, memory_order_relaxed);
    return (int32_t)(coir__freshq_taken(w) - coir__runq_get(&w->fresh.strays) - (uint32_t)ended);
}

/* What another worker has started, or is about to. */
static int32_t load_of(const struct coir__worker *v)
{
    return started_on(v) + (int32_t)(coir__freshq_len(v) + coir__runq_get(&v->fresh.coming));
}

/* The least loaded of w's peers, and its load. */
static struct coir__worker *least_loaded(struct coir__worker *w, int32_t *load)
{
    struct coir__runtime *rt = w->rt;
    struct coir__worker *least = NULL;
    for (unsigned i = 1; i < rt->config.workers; i++) {
        struct coir__worker *v = &rt->workers[(w->index + i) % rt->config.workers];
        int32_t theirs = load_of(v);
        if (!least || theirs < *load) {
            *load = theirs;
            least = v;
        }
    }
    return least;
}

/* Did those that were placed since the last review stay there? */
static bool placed_stayed(const struct coir__steal *s)
{
    return load_of(s->place_to) - s->place_to_load >= (int32_t)s->placed / 2;
}

void coir__place_review(struct coir__worker *w, int64_t now_ns)
{
    struct coir__steal *s = &w->steal;
    uint32_t head = coir__freshq_taken(w);
    if (now_ns < s->review_ns || head == s->reviewed_head)
        return;
    bool in_vain = s->placed && !placed_stayed(s), goes_on = s->placed && !in_vain;
    s->review_period_ns = in_vain ? 2 * s->review_period_ns : REVIEW_MIN_NS;
    if (s->review_period_ns > REVIEW_MAX_NS)
        s->review_period_ns = REVIEW_MAX_NS;
    s->review_ns = now_ns + s->review_period_ns;
    s->reviewed_head = head;
    s->placed = 0;

    bool before = s->uneven;
    int32_t mine = started_on(w);
    s->place_to = least_loaded(w, &s->place_to_load);
    s->excess = mine - s->place_to_load;
    s->uneven = s->excess > EXCESS_MIN + (mine + s->place_to_load) / EXCESS_SHARE;
    /* Twice in a row is no burst; and what helps keeps the loads even. */
    w->place_left = goes_on || (before && s->uneven) ? PLACED_MAX : 0;
    s->uneven |= goes_on;
}

/* w may be on its way out of a fiber that waits for f, or for another, and keeps the lock of that
 * one until it has left (lock.h). So nothing is waited for here: who is locked stays. */
bool coir__place_away(struct coir__worker *w, struct coir__fiber *f)
{
    struct coir__steal *s = &w->steal;
    if (s->excess <= 0) { /* one here, one there */
        s->excess++;
        return false;
    }
    w->place_left--;
    if (atomic_load_explicit(&w->holding, memory_order_relaxed) == f ||
        !coir__spin_try_lock(&f->lock))
        return false;
    coir__fiber_unbias_at_home(f);
    if (!change_home(f, s->place_to))
        return false;
    s->placed++;
    s->excess--;
    count_strays(w, 1);
    coir__freshq_send(f);
    return true;
}
