/* tests/api/dump_test.c - coir_dump: every fiber is shown, rightly, and none of them notices.
 * SPDX-License-Identifier: MIT
 *
 * Method: fibers with names wait in known ways; the text is searched for their blocks. What
 * interrupts a worker is not tried under ThreadSanitizer, which puts handlers off. */
#include "../sched/kit.h"
#include "dump_kit.h"

#include "sched/stack.h"

#include <fcntl.h>

#define KEEP           __attribute__((noinline, used, visibility("default")))
#define NO_TAIL_CALL() __asm__ volatile("" ::: "memory")

/* What the fibers of a scene share. */
struct scene {
    char *text;
    int err;
    bool thieves; /* other workers, which would steal a fresh fiber */
    coir_mutex held, held_by_thread;
    int pipe[2];
    _Atomic int waiting, go, stop, locked;
    coir_fiber *sleeper;
};

/* Functions with a name, for backtraces: not static. */
KEEP void *sleeps_for_long(void *arg)
{
    struct scene *s = arg;
    s->waiting++;
    coir_sleep(COIR_SEC(3600));
    NO_TAIL_CALL();
    return NULL;
}

KEEP void *joins_the_sleeper(void *arg)
{
    struct scene *s = arg;
    s->waiting++;
    coir_join(s->sleeper, NULL);
    NO_TAIL_CALL();
    return NULL;
}

KEEP void *reads_a_pipe(void *arg)
{
    struct scene *s = arg;
    char c;
    s->waiting++;
    coir_read(s->pipe[0], &c, 1);
    NO_TAIL_CALL();
    return NULL;
}

KEEP void *polls_a_pipe(void *arg)
{
    struct scene *s = arg;
    struct pollfd fds[2] = { { .fd = -1 }, { .fd = s->pipe[0], .events = POLLIN } };
    s->waiting++;
    coir_poll(fds, 2, -1);
    NO_TAIL_CALL();
    return NULL;
}

KEEP void *holds_a_mutex(void *arg)
{
    struct scene *s = arg;
    coir_mutex_lock(&s->held);
    s->locked++;
    sleeps_for_long(s);
    coir_mutex_unlock(&s->held);
    return NULL;
}

KEEP void *wants_the_mutex(void *arg)
{
    struct scene *s = arg;
    KIT_UNTIL(s->locked == 2);
    s->waiting++;
    coir_mutex_lock(&s->held);
    coir_mutex_unlock(&s->held);
    return NULL;
}

KEEP void *awaits_a_future(void *arg)
{
    coir_attr attr = { .name = "computer" };
    coir_future *f = coir_async_with(&attr, sleeps_for_long, arg);
    coir_await(f, NULL);
    coir_future_free(f);
    return NULL;
}

KEEP void *wants_the_threads_mutex(void *arg)
{
    struct scene *s = arg;
    KIT_UNTIL(s->locked == 2);
    s->waiting++;
    coir_mutex_lock(&s->held_by_thread);
    coir_mutex_unlock(&s->held_by_thread);
    return NULL;
}

static const struct {
    const char *name, *waits_for, *function;
    void *(*fn)(void *);
} waits[] = {
    { "sleeper", ": sleep", "sleeps_for_long", sleeps_for_long },
    { "joiner", ": join of fiber * \"sleeper\"", "joins_the_sleeper", joins_the_sleeper },
    { "reader", ": read on fd ", "reads_a_pipe", reads_a_pipe },
    { "poller", ": poll of 2 descriptors, one of them ", "polls_a_pipe", polls_a_pipe },
    { "holder", ": sleep", "holds_a_mutex", holds_a_mutex },
    { "waiter", ": mutex 0x* held by fiber * \"holder\"", "wants_the_mutex", wants_the_mutex },
    { "awaiter", ": future 0x* of fiber * \"computer\"", "awaits_a_future", awaits_a_future },
    { "outsider", ": mutex 0x* held by thread ", "wants_the_threads_mutex",
      wants_the_threads_mutex },
};
enum { WAITS = sizeof waits / sizeof *waits };

static void *lock_as_thread(void *arg)
{
    struct scene *s = arg;
    coir_mutex_lock(&s->held_by_thread);
    s->locked++;
    while (!s->stop)
        sched_yield();
    coir_mutex_unlock(&s->held_by_thread);
    return NULL;
}

static int all_parked(coir_fiber **fibers, int n)
{
    for (int i = 0; i < n; i++)
        if (coir__fiber_state(kit_record(fibers[i])) != COIR__PARKED)
            return 0;
    return 1;
}

static void wait_in_all_ways(void *arg)
{
    struct scene *s = arg;
    coir_fiber *fibers[WAITS];
    pthread_t thread;
    s->err = pipe(s->pipe);
    pthread_create(&thread, NULL, lock_as_thread, s);
    for (int i = 0; i < WAITS; i++) {
        coir_attr attr = { .name = waits[i].name, .flags = COIR_SPREAD };
        fibers[i] = coir_spawn_with(&attr, waits[i].fn, s);
        if (i == 0)
            s->sleeper = fibers[0];
    }
    KIT_UNTIL(s->waiting == WAITS && all_parked(fibers, WAITS));
    coir_sleep(COIR_MS(2)); /* into their waits proper: wants_* have yielded before */
    s->text = dump_text();
    s->stop = 1;
    for (int i = 0; i < WAITS; i++)
        coir_cancel(fibers[i]);
    for (int i = WAITS - 1; i >= 0; i--)
        coir_join(fibers[i], NULL);
    pthread_join(thread, NULL);
    close(s->pipe[0]);
    close(s->pipe[1]);
}

static void each_fiber_is_shown_with_what_it_waits_for_and_where(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct scene s = { 0 };
        char head[100]; /* with main, and with the one that is awaited */
        assert_int_equal(fiber_test_run(*w, wait_in_all_ways, &s), 0);
        assert_non_null(s.text);
        snprintf(head, sizeof head,
                 "coir: %d fibers: 1 running, 0 ready, %d parked, 0 not "
                 "started; %u worker%s\n",
                 WAITS + 2, WAITS + 1, *w, *w == 1 ? "" : "s");
        dump_assert(s.text, head);
        dump_assert(s.text, "fiber 0x* \"main\" on worker *, running\n");
        for (int i = 0; i < WAITS; i++) {
            const char *block = dump_block(s.text, waits[i].name);
            dump_assert(block, "\" on worker *, parked for * ms");
            dump_assert(block, waits[i].waits_for);
            if (dump_has_backtraces())
                dump_assert(block, waits[i].function);
        }
        dump_assert_not(s.text, "deadlock");
        dump_assert_not(s.text, "did not answer");
        free(s.text);
    }
}

/* A worker whose fiber computes while a plain thread has it dumped. */
KEEP void *computes(void *arg)
{
    struct scene *s = arg;
    double sum = 0;
    s->go = 1;
    while (!s->stop)
        sum += 1.0 / (1 + (double)s->go);
    return sum > 0 ? s : NULL;
}

KEEP void *has_not_begun(void *arg)
{
    return arg;
}

KEEP void *yields(void *arg)
{
    struct scene *s = arg;
    s->waiting++;
    while (!s->go)
        coir_yield();
    NO_TAIL_CALL();
    return NULL;
}

static void *dump_while_it_computes(void *arg)
{
    struct scene *s = arg;
    KIT_UNTIL(s->go);
    s->text = dump_text();
    s->stop = 1;
    return NULL;
}

static void compute_beside_others(void *arg)
{
    struct scene *s = arg;
    pthread_t thread;
    coir_attr attr = { .name = "sleeper" };
    coir_fiber *sleeper = coir_spawn_with(&attr, sleeps_for_long, s);
    attr.name = "yielder";
    coir_fiber *yielder = coir_spawn_with(&attr, yields, s);
    KIT_UNTIL(s->waiting == 2);
    attr = (coir_attr){ .name = "fresh", .flags = COIR_DETACHED };
    if (!s->thieves)
        coir_spawn_with(&attr, has_not_begun, s);
    pthread_create(&thread, NULL, dump_while_it_computes, s);
    s->err = computes(s) != s;
    pthread_join(thread, NULL);
    coir_cancel(sleeper);
    coir_join(sleeper, NULL);
    coir_join(yielder, NULL);
}

static void a_worker_that_computes_is_interrupted(void **state)
{
    (void)state;
    if (TEST_TSAN)
        skip();
    for (const unsigned *w = test_workers; *w; w++) {
        struct scene s = { .thieves = *w > 1 };
        assert_int_equal(fiber_test_run(*w, compute_beside_others, &s), 0);
        assert_int_equal(s.err, 0);
        assert_non_null(s.text);
        dump_assert(dump_block(s.text, "main"), "\" on worker *, running\n    computes+0x");
        dump_assert(dump_block(s.text, "sleeper"), "parked for * ms: sleep\n");
        if (dump_has_backtraces())
            dump_assert(dump_block(s.text, "sleeper"), "sleeps_for_long");
        if (!s.thieves) {
            dump_assert(s.text, "coir: 4 fibers: 1 running, 1 ready, 1 parked, 1 not started; ");
            dump_assert(dump_block(s.text, "fresh"), ": has_not_begun+0x0 *, detached\n");
            dump_assert(dump_block(s.text, "yielder"), "\" on worker 0, ready\n");
            if (dump_has_backtraces())
                dump_assert(dump_block(s.text, "yielder"), "yields");
        }
        struct sigaction now;
        sigaction(SIGURG, NULL, &now);
        assert_true(now.sa_handler == SIG_DFL);
        free(s.text);
    }
}

/* Blocks the signal: such a worker cannot answer. */
static void compute_deaf(void *arg)
{
    struct scene *s = arg;
    sigset_t sigurg;
    sigemptyset(&sigurg);
    sigaddset(&sigurg, SIGURG);
    pthread_sigmask(SIG_BLOCK, &sigurg, NULL);
    compute_beside_others(s);
    pthread_sigmask(SIG_UNBLOCK, &sigurg, NULL);
}

static void a_worker_that_does_not_answer_is_told_of(void **state)
{
    struct scene s = { 0 };
    (void)state;
    assert_int_equal(fiber_test_run(1, compute_deaf, &s), 0);
    assert_non_null(s.text);
    dump_assert(s.text, "coir: 4 fibers: 1 running, 1 ready, 1 parked, 1 not started; 1 worker\n"
                        "worker 0 did not answer\n");
    dump_assert(dump_block(s.text, "main"), ", running\n");
    dump_assert(dump_block(s.text, "sleeper"), ", parked: not known\n");
    free(s.text);
}

static _Atomic int urgent;

static void on_urgent(int sig)
{
    (void)sig;
    urgent++;
}

/* The program's own SIGURG comes while a dump has its handler there. */
static void *send_urgent(void *arg)
{
    struct scene *s = arg;
    while (!s->stop) {
        kill(getpid(), SIGURG);
        sched_yield();
    }
    return NULL;
}

static void the_programs_own_handler_gets_its_signals(void **state)
{
    struct sigaction own = { .sa_handler = on_urgent }, before, now;
    struct scene s = { 0 };
    pthread_t thread;
    (void)state;
    if (TEST_TSAN)
        skip();
    sigaction(SIGURG, &own, &before);
    pthread_create(&thread, NULL, send_urgent, &s);
    assert_int_equal(fiber_test_run(1, compute_beside_others, &s), 0);
    pthread_join(thread, NULL);
    sigaction(SIGURG, &before, &now);
    dump_assert(s.text, "1 running");
    assert_true(urgent > 0);
    assert_true(now.sa_handler == on_urgent);
    free(s.text);
}

/* Dumped by a thread over and over; what it counts must come out right. */
enum { WORKERS_OF_IT = 16 };

struct unharmed {
    _Atomic int stop, dumps, failed;
    long rounds;
    uint64_t sums[WORKERS_OF_IT];
};

struct one {
    struct unharmed *all;
    uint64_t *sum;
};

static uint64_t mix(uint64_t a, uint64_t b)
{
    return (a ^ b) * 0x9e3779b97f4a7c15u + (a >> 7);
}

/* Many locals, in registers and on the stack, and a sum of doubles, over parks of two kinds. */
static void *work(void *arg)
{
    struct one *one = arg;
    uint64_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, buf[8] = { 7 };
    double x = 1.5;
    for (long i = 0; i < one->all->rounds; i++) {
        a = mix(a, f), b = mix(b, a), c = mix(c, b), d = mix(d, c), e = mix(e, d), f = mix(f, e);
        buf[i % 8] = mix(buf[(i + 3) % 8], f);
        if (i % 64 == 0)
            coir_sleep(1);
        else
            coir_yield();
        x = x * 1.0000001 + (double)(buf[i % 8] & 1);
    }
    for (int i = 0; i < 8; i++)
        a = mix(a, buf[i]);
    *one->sum = mix(mix(a, b) ^ mix(c, d), mix(e, f) ^ (uint64_t)(x * 1000));
    return NULL;
}

static void *dump_on_and_on(void *arg)
{
    struct unharmed *u = arg;
    while (!u->stop) {
        char *text = dump_text();
        u->failed += text == NULL || !dump_says(text, "coir: * fiber");
        u->dumps++;
        free(text);
    }
    return NULL;
}

static void work_while_dumped(void *arg)
{
    struct unharmed *u = arg;
    struct one ones[WORKERS_OF_IT];
    coir_fiber *fibers[WORKERS_OF_IT];
    pthread_t thread;
    pthread_create(&thread, NULL, dump_on_and_on, u);
    coir_fiber *dumper = coir_spawn(dump_on_and_on, u);
    for (int i = 0; i < WORKERS_OF_IT; i++) {
        coir_attr attr = { .flags = COIR_SPREAD | (i % 2 ? COIR_SAVE_FPU : 0) };
        ones[i] = (struct one){ u, &u->sums[i] };
        fibers[i] = coir_spawn_with(&attr, work, &ones[i]);
    }
    for (int i = 0; i < WORKERS_OF_IT; i++)
        coir_join(fibers[i], NULL);
    KIT_UNTIL(u->dumps > 3);
    u->stop = 1;
    coir_join(dumper, NULL);
    pthread_join(thread, NULL);
}

static void fibers_go_on_unharmed(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct unharmed u = { .rounds = test_scaled(20000, 500) };
        assert_int_equal(fiber_test_run(*w, work_while_dumped, &u), 0);
        assert_int_equal(u.failed, 0);
        for (int i = 1; i < WORKERS_OF_IT; i++)
            assert_true(u.sums[i] == u.sums[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fiber_is_shown_with_what_it_waits_for_and_where),
        cmocka_unit_test(a_worker_that_computes_is_interrupted),
        cmocka_unit_test(a_worker_that_does_not_answer_is_told_of),
        cmocka_unit_test(the_programs_own_handler_gets_its_signals),
        cmocka_unit_test(fibers_go_on_unharmed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
