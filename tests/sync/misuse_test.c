/* tests/sync/misuse_test.c - a build with DEBUG=1 names a mistake, and ends.
 * SPDX-License-Identifier: MIT
 *
 * Method: sync is linked here as DEBUG=1 builds it. Each mistake is made in a child, on a fiber and
 * on a plain thread; the child has to die by SIGABRT, and its last words have to name the call. */
#include "crowd.h"

#include "sync/chan.h"

#include <sys/resource.h>

static coir_mutex mutex;
static coir_rwlock rwlock;

static void *lock_all(void *arg)
{
    coir_mutex_lock(&mutex);
    coir_rwlock_wrlock(&rwlock);
    return arg;
}

/* Another thread has everything. */
static void let_a_stranger_lock(void)
{
    pthread_t stranger;
    pthread_create(&stranger, NULL, lock_all, NULL);
    pthread_join(stranger, NULL);
}

static void unlock_what_is_free(void)
{
    coir_mutex_unlock(&mutex);
}

static void unlock_what_is_a_strangers(void)
{
    let_a_stranger_lock();
    coir_mutex_unlock(&mutex);
}

static void lock_twice(void)
{
    coir_mutex_lock(&mutex);
    coir_mutex_lock(&mutex);
}

static void timedlock_twice(void)
{
    coir_mutex_lock(&mutex);
    crowd_ignore(coir_mutex_timedlock(&mutex, 0));
}

static void wait_without_mutex(void)
{
    coir_cond cond = COIR_COND_INIT;
    crowd_ignore(coir_cond_wait(&cond, &mutex));
}

static void wait_with_a_strangers_mutex(void)
{
    coir_cond cond = COIR_COND_INIT;
    let_a_stranger_lock();
    crowd_ignore(coir_cond_timedwait(&cond, &mutex, 0));
}

static void rwlock_unlock_what_is_free(void)
{
    coir_rwlock_unlock(&rwlock);
}

static void rwlock_unlock_what_is_a_strangers(void)
{
    let_a_stranger_lock();
    coir_rwlock_unlock(&rwlock);
}

static void write_twice(void)
{
    coir_rwlock_wrlock(&rwlock);
    coir_rwlock_wrlock(&rwlock);
}

static void read_what_one_writes(void)
{
    coir_rwlock_wrlock(&rwlock);
    coir_rwlock_rdlock(&rwlock);
}

static void be_done_too_often(void)
{
    coir_waitgroup wg = COIR_WAITGROUP_INIT;
    coir_waitgroup_add(&wg, 1);
    coir_waitgroup_done(&wg);
    coir_waitgroup_done(&wg);
}

static void wait_at_no_barrier(void)
{
    coir_barrier barrier = COIR_ZERO_ARRAY_;
    crowd_ignore(coir_barrier_wait(&barrier));
}

static coir_scope scope;

static void *open_scope(void *arg)
{
    coir_scope_open(&scope);
    return arg;
}

static void close_a_strangers_scope(void)
{
    pthread_t stranger;
    pthread_create(&stranger, NULL, open_scope, NULL);
    pthread_join(stranger, NULL);
    coir_scope_close(&scope);
}

static void *receive(void *arg)
{
    crowd_ignore(coir_chan_recv(arg, NULL));
    return NULL;
}

static bool is_waited_for(struct coir__chan *chan)
{
    coir__bias_lock(&chan->bias);
    bool waits = chan->receivers;
    coir__bias_unlock(&chan->bias);
    return waits;
}

static void free_what_is_waited_for(void)
{
    coir_chan *chan = coir_chan_new(0, 0);
    pthread_t stranger;
    pthread_create(&stranger, NULL, receive, chan);
    while (!is_waited_for((struct coir__chan *)chan))
        sched_yield();
    coir_chan_free(chan);
}

static void make_no_mistake(void)
{
    coir_chan_free(coir_chan_new(0, 0));
    lock_all(NULL);
    crowd_ignore(coir_mutex_trylock(&mutex));
    crowd_ignore(coir_rwlock_tryrdlock(&rwlock));
    coir_rwlock_unlock(&rwlock);
    coir_mutex_unlock(&mutex);
    open_scope(NULL);
    coir_scope_close(&scope);
}

static const struct mistake {
    void (*make)(void);
    const char *said;
} mistakes[] = {
    { unlock_what_is_free, "coir_mutex_unlock" },
    { unlock_what_is_a_strangers, "coir_mutex_unlock" },
    { lock_twice, "coir_mutex_lock" },
    { timedlock_twice, "coir_mutex_lock" },
    { wait_without_mutex, "coir_cond_wait" },
    { wait_with_a_strangers_mutex, "coir_cond_wait" },
    { rwlock_unlock_what_is_free, "coir_rwlock_unlock" },
    { rwlock_unlock_what_is_a_strangers, "coir_rwlock_unlock" },
    { write_twice, "coir_rwlock" },
    { read_what_one_writes, "coir_rwlock" },
    { be_done_too_often, "coir_waitgroup_done" },
    { wait_at_no_barrier, "coir_barrier_wait" },
    { close_a_strangers_scope, "coir_scope_close" },
    { free_what_is_waited_for, "coir_chan_free" },
};

enum { MISTAKES = sizeof mistakes / sizeof *mistakes };

static void make_as_fiber(void *arg)
{
    const struct mistake *m = arg;
    m->make();
}

static void leave_no_core(void)
{
    const struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
}

static int in_fiber(void *arg)
{
    leave_no_core();
    return fiber_test_run(1, make_as_fiber, arg);
}

static int in_thread(void *arg)
{
    leave_no_core();
    make_as_fiber(arg);
    return 0;
}

static void a_mistake_is_named_and_ends_the_program(void **state)
{
    char text[512];
    (void)state;
    for (int i = 0; i < MISTAKES; i++)
        for (int fiber = 0; fiber < 2; fiber++) {
            int status =
                test_child(fiber ? in_fiber : in_thread, (void *)&mistakes[i], text, sizeof text);
            if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT ||
                !strstr(text, mistakes[i].said))
                fail_msg("%s (%s): status %x, \"%s\"", mistakes[i].said, fiber ? "fiber" : "thread",
                         (unsigned)status, text);
        }
}

static void what_is_no_mistake_is_not_one(void **state)
{
    const struct mistake none = { make_no_mistake, "" };
    char text[512];
    (void)state;
    assert_int_equal(test_child(in_fiber, (void *)&none, text, sizeof text), 0);
    assert_int_equal(test_child(in_thread, (void *)&none, text, sizeof text), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mistake_is_named_and_ends_the_program),
        cmocka_unit_test(what_is_no_mistake_is_not_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
