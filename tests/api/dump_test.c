/* tests/api/dump_test.c - coir_dump: every fiber is shown, rightly, and none of them notices.
 * SPDX-License-Identifier: MIT
 *
 * Method: fibers with names wait in known ways; the text is searched for their blocks. What
 * interrupts a worker is not tried under ThreadSanitizer, which puts handlers off. */
#include "../sched/kit.h"
#include "dump_kit.h"

#include "sched/stack.h"

#include <fcntl.h>

#define KEEP __attribute__((noinline, used, visibility("default")))
#define NO_TAIL_CALL() __asm__ volatile("" ::: "memory")

/* What the fibers of a scene share. */
struct scene {
    char *text;
    int err;
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
        char head[100];
        assert_int_equal(fiber_test_run(*w, wait_in_all_ways, &s), 0);
        assert_non_null(s.text);
        snprintf(head, sizeof head, "coir: %d fibers: 0 running, 0 ready, %d parked, 0 not "
                                    "started; %u worker%s\n",
                 WAITS + 1, WAITS + 1, *w, *w == 1 ? "" : "s");
        dump_assert(s.text, head);
        dump_assert(s.text, "fiber 0x* \"main\" on worker 0, parked for * ms: coir_dump\n");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fiber_is_shown_with_what_it_waits_for_and_where),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
