/* api/watchdog.c - COIR_WATCHDOG: who holds a worker for too long is named.
 * SPDX-License-Identifier: MIT
 *
 * A thread looks at the workers now and then: has one been in the same fiber ever since the last
 * look? What counts is the time in which its thread has computed, or slept in a system call; not
 * that in which it would have run, had it had a CPU. The fiber is told once, and again each time
 * that has doubled, with the backtrace that a signal to its thread brings.
 * While all workers sleep this thread does, too: a worker that wakes up wakes it. */
#include "dump.h"

#include "edge.h"
#include "helper.h"
#include "poke.h"
#include "sched/memory.h"
#include "sched/sanitize.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_NS = 100 * 1000 * 1000, PERIOD_MIN_NS = 1000 * 1000 };

/* The helper's word. */
enum { ASLEEP, AWAKE };

/* What was seen of one worker. */
struct watch {
    struct coir__progress progress;
    int64_t cpu_ns;  /* its thread's, at the last look */
    int64_t held_ns; /* by the fiber of progress, so far */
    int64_t tell_ns; /* when held_ns comes to this */
};

static struct {
    struct coir__helper helper;
    int64_t limit_ns, period_ns;
    int64_t looked_ns;
    struct watch *watches; /* of the workers of all runtimes */
} dog;

static size_t watches_bytes(void)
{
    return (size_t)COIR__RUNTIMES * COIR__WORKERS_MAX * sizeof(struct watch);
}

static int64_t cpu_ns(struct coir__worker *w)
{
    enum { PER_THREAD = 4, SCHED = 2 };
    struct timespec t;
    clockid_t clock = (clockid_t)(~w->tid << 3 | PER_THREAD | SCHED);
    return clock_gettime(clock, &t) < 0 ? 0 : (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* In a system call that sleeps. */
static bool sleeps(struct coir__worker *w)
{
    char path[64], stat[256];
    snprintf(path, sizeof path, "/proc/self/task/%u/stat", w->tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, stat, sizeof stat - 1);
    if (fd >= 0)
        close(fd);
    if (len <= 0)
        return false;
    stat[len] = 0;
    const char *name_end = strrchr(stat, ')');
    return name_end && (name_end[2] == 'S' || name_end[2] == 'D');
}

/* How much longer it holds its worker than at the last look, wall_ns ago. If this thread was late
 * itself, so perhaps was the machine. */
static int64_t held_since(struct coir__worker *w, struct watch *watch, int64_t wall_ns)
{
    int64_t now_ns = cpu_ns(w), used_ns = now_ns - watch->cpu_ns;
    watch->cpu_ns = now_ns;
    if (used_ns < wall_ns / 2 && sleeps(w))
        used_ns = wall_ns;
    return used_ns < 2 * dog.period_ns ? used_ns : 2 * dog.period_ns;
}

/* False: not now. Its runtime is held: who asks may be a fiber that it has given up, and only its
 * end says so. */
static bool tell(struct coir__worker *w, struct watch *watch)
{
    struct coir__sights sights;
    struct coir__sight_place place = { 0 };
    struct coir__text text;
    if (!coir__ask_try_lock())
        return false;
    coir__sights_init(&sights, w, true);
    coir__look_begin(&sights.look);
    coir__poke(w);
    int64_t until_ns = coir__host_now() + ANSWER_NS;
    while (!atomic_load(&sights.look.done) && coir__host_now() < until_ns)
        coir__ask_pause(PERIOD_MIN_NS);
    coir__look_end(&sights.look);
    coir__poke_over();
    coir__ask_unlock();
    bool answered = atomic_load(&sights.look.done);
    struct coir__sight *s = coir__sights_next(&sights, &place);
    struct coir__progress now = answered ? sights.progress : coir__progress_of(w);
    bool same = coir__progress_same(&now, &watch->progress);
    if (same && coir__text_begin(&text, STDERR_FILENO) == 0) {
        coir__text_add(&text, "coir: ");
        if (s)
            coir__dump_who(&text, s->handle, s->name);
        else
            coir__text_add(&text, "a fiber");
        coir__text_add(&text, " has held worker %u for %lld ms%s\n", w->index,
                       (long long)watch->held_ns / 1000000, s ? "" : ", and does not answer");
        for (int i = 0; s && i < s->frames_len; i++)
            coir__text_add_frame(&text, s->frames[i]);
        coir__text_end(&text);
    }
    coir__sights_free(&sights);
    return true;
}

static void look_at(struct coir__worker *w, struct watch *watch, int64_t wall_ns)
{
    struct coir__progress now = coir__progress_of(w);
    if (!now.fiber || !coir__progress_same(&now, &watch->progress)) {
        *watch = (struct watch){ .progress = now, .tell_ns = dog.limit_ns };
        watch->cpu_ns = now.fiber ? cpu_ns(w) : 0;
        return;
    }
    watch->held_ns += held_since(w, watch, wall_ns);
    if (watch->held_ns < watch->tell_ns)
        return;
    if (tell(w, watch))
        watch->tell_ns = 2 * watch->held_ns;
}

/* True: some worker is awake. */
static bool look_at_all(void)
{
    int64_t now_ns = coir__host_now(), wall_ns = now_ns - dog.looked_ns;
    bool awake = false;
    dog.looked_ns = now_ns;
    for (unsigned r = 0; r < COIR__RUNTIMES; r++) {
        struct coir__runtime *rt = coir__runtimes[r];
        if (!coir__runtime_hold(rt))
            continue;
        for (unsigned i = 0; i < rt->config.workers; i++) {
            look_at(&rt->workers[i], &dog.watches[r * COIR__WORKERS_MAX + i], wall_ns);
            awake = awake || !atomic_load(&rt->workers[i].sleeping);
        }
        coir__runtime_let_go(rt);
    }
    return awake;
}

static void watch_on(void *arg)
{
    struct coir__helper *h = arg;
    while (!atomic_load(&h->ends)) {
        if (look_at_all()) {
            coir__helper_sleep(h, AWAKE, coir__host_now() + dog.period_ns);
            continue;
        }
        atomic_store(&h->word, ASLEEP); /* pairs with coir__host_woke() */
        if (!look_at_all() && !atomic_load(&h->ends))
            coir__helper_sleep(h, ASLEEP, COIR__NEVER);
        atomic_store(&h->word, AWAKE);
    }
}

void coir__host_woke(void)
{
    atomic_thread_fence(memory_order_seq_cst); /* pairs with watch_on(): it sees us, or we it */
    if (atomic_load(&dog.helper.word) == ASLEEP)
        coir__helper_wake(&dog.helper, AWAKE);
}

void coir__watchdog_begin(int64_t limit_ns)
{
    dog.limit_ns = limit_ns;
    dog.period_ns = limit_ns / 4 > PERIOD_MIN_NS ? limit_ns / 4 : PERIOD_MIN_NS;
    dog.watches = coir__map(watches_bytes());
    int err = dog.watches ? coir__helper_start(&dog.helper, watch_on) : -ENOMEM;
    if (err == 0)
        return;
    fprintf(stderr, "coir: no watchdog: %s\n", strerror(-err));
    coir__watchdog_end();
}

bool coir__watchdog_runs(void)
{
    return dog.helper.runs;
}

void coir__watchdog_end(void)
{
    coir__helper_stop(&dog.helper);
    if (dog.watches)
        coir__unmap(dog.watches, watches_bytes());
    dog.watches = NULL;
}
