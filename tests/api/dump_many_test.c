/* tests/api/dump_many_test.c - dumps of many fibers, of fibers that come and go, and of none; and
 * what coir_dump returns.
 * SPDX-License-Identifier: MIT */
#include "../sched/kit.h"
#include "dump_kit.h"
#include "support/expect.h"

#include "sched/stack.h"

#include <fcntl.h>
#include <unistd.h>

struct many {
    int n, threads;
    coir_fiber **fibers;
    char *text;
    _Atomic int waiting, stop, dumps, failed;
    size_t pages_before, pages_after;
};

static void *wait_here(void *arg)
{
    struct many *m = arg;
    m->waiting++;
    coir_sleep(COIR_SEC(3600));
    return NULL;
}

static int count_of(const char *text, const char *what)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        n++;
    return n;
}

static void spawn_many(struct many *m)
{
    coir_attr attr = { .name = "one of them", .flags = COIR_SPREAD };
    m->fibers = calloc((size_t)m->n, sizeof *m->fibers);
    for (int i = 0; i < m->n; i++)
        m->fibers[i] = coir_spawn_with(&attr, wait_here, m);
    KIT_UNTIL(m->waiting == m->n);
}

static void end_many(struct many *m)
{
    for (int i = 0; i < m->n; i++)
        coir_cancel(m->fibers[i]);
    for (int i = 0; i < m->n; i++)
        coir_join(m->fibers[i], NULL);
    free(m->fibers);
}

static void dump_many(void *arg)
{
    struct many *m = arg;
    spawn_many(m);
    m->text = dump_text();
    end_many(m);
}

/* Goal: ten thousand are practical, each is there once, and a backtrace that many have is written
 * once. */
static void ten_thousand_fibers_are_shown_once_each(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct many m = { .n = test_scaled(10000, 200) };
        char head[100];
        assert_int_equal(fiber_test_run(*w, dump_many, &m), 0);
        assert_non_null(m.text);
        snprintf(head, sizeof head, "coir: %d fibers: ", m.n + 1);
        dump_assert(m.text, head);
        assert_int_equal(count_of(m.text, "\"one of them\" on worker "), m.n);
        assert_int_equal(count_of(m.text, "\nfiber "), m.n + 1);
        if (dump_has_backtraces())
            assert_true(count_of(m.text, "    backtrace as of fiber 0x") >= m.n - 4);
        free(m.text);
    }
}

/* Pages of the fibers' stacks that are in memory. */
static size_t pages_in_use(const struct many *m)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = 0;
    for (int i = 0; i < m->n; i++) {
        struct coir__stack *s = kit_record(m->fibers[i])->stack;
        unsigned char in[1024] = { 0 };
        size_t bytes = coir__stack_class_bytes(s->class), guard = coir__stack_guard_bytes(s->class);
        if ((bytes - guard) / page > sizeof in ||
            mincore(coir__stack_low(s) + guard, bytes - guard, in) < 0)
            return 0;
        for (size_t k = 0; k < (bytes - guard) / page; k++)
            n += in[k] & 1;
    }
    return n;
}

static void dump_and_count_pages(void *arg)
{
    struct many *m = arg;
    spawn_many(m);
    m->pages_before = pages_in_use(m);
    for (int i = 0; i < 3; i++) {
        m->text = dump_text();
        m->failed += m->text == NULL;
        free(m->text);
    }
    m->pages_after = pages_in_use(m);
    end_many(m);
}

static void a_dump_touches_no_fibers_stack(void **state)
{
    struct many m = { .n = test_scaled(500, 50) };
    (void)state;
    if (TEST_SANITIZED)
        skip();
    assert_int_equal(fiber_test_run(2, dump_and_count_pages, &m), 0);
    assert_int_equal(m.failed, 0);
    assert_in_range(m.pages_before, (size_t)m.n, (size_t)m.n * 2);
    assert_int_equal(m.pages_after, m.pages_before);
}

static void *nothing(void *arg)
{
    return arg;
}

/* Spawns, joins, detaches, parks and yields at random. */
static void *come_and_go(void *arg)
{
    struct many *m = arg;
    unsigned random = (unsigned)(uintptr_t)coir_self();
    while (!m->stop) {
        random = random * 1103515245 + 12345;
        coir_attr attr = { .name = random & 256 ? "guest" : NULL,
                           .flags = random & 512 ? COIR_SPREAD : 0 };
        coir_fiber *f = coir_spawn_with(&attr, nothing, m);
        switch (random >> 16 & 3) {
        case 0:
            coir_detach(f);
            coir_yield();
            continue;
        case 1:
            coir_yield();
            break;
        case 2:
            coir_sleep(COIR_US(random >> 20 & 63));
            break;
        default:
            break;
        }
        coir_join(f, NULL);
    }
    return NULL;
}

static void *dump_often(void *arg)
{
    struct many *m = arg;
    while (m->dumps < m->n) {
        char *text = dump_text();
        m->failed += text == NULL || !dump_says(text, "coir: * fiber");
        m->dumps++;
        free(text);
    }
    return NULL;
}

static void dump_a_crowd(void *arg)
{
    struct many *m = arg;
    coir_fiber *crowd[16];
    pthread_t thread;
    coir_attr attr = { .flags = COIR_SPREAD };
    for (int i = 0; i < 16; i++)
        crowd[i] = coir_spawn_with(&attr, come_and_go, m);
    pthread_create(&thread, NULL, dump_often, m);
    coir_fiber *one = coir_spawn(dump_often, m), *other = coir_spawn_with(&attr, dump_often, m);
    coir_join(one, NULL);
    coir_join(other, NULL);
    m->stop = 1;
    for (int i = 0; i < 16; i++)
        coir_join(crowd[i], NULL);
    pthread_join(thread, NULL);
}

static void fibers_may_come_and_go_meanwhile(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct many m = { .n = test_scaled(300, 10) };
        assert_int_equal(fiber_test_run(*w, dump_a_crowd, &m), 0);
        assert_int_equal(m.failed, 0);
    }
}

/* A thread dumps while runtimes start and end. */
static void runtimes_may_come_and_go_meanwhile(void **state)
{
    struct many m = { .n = test_scaled(300, 10) };
    pthread_t thread;
    (void)state;
    pthread_create(&thread, NULL, dump_often, &m);
    unsigned runs = 0;
    while (m.dumps < m.n)
        assert_int_equal(fiber_test_run(runs++ % 3 + 1, kit_empty, NULL), 0);
    pthread_join(thread, NULL);
    assert_int_equal(m.failed, 0);
}

static int hold_the_worker(void *arg)
{
    struct many *m = arg;
    m->waiting = 1;
    while (!m->stop)
        ;
    return 0;
}

static void *dump_once(void *arg)
{
    struct many *m = arg;
    char *text = dump_text();
    m->failed += text == NULL;
    m->dumps++;
    free(text);
    return NULL;
}

/* What the worker finds in its inbox is a look, and behind it a cancel of who has just ended. */
static void dump_who_holds_a_worker(void *arg)
{
    struct many *m = arg;
    coir_attr attr = { .flags = COIR_SPREAD };
    coir_scope scope = COIR_SCOPE_INIT;
    EXPECT_EQ(coir_scope_open(&scope), 0);
    coir__worker_self()->rt->next_worker = 1;
    EXPECT_EQ(coir_scope_spawn_with(&scope, &attr, hold_the_worker, m), 0);
    EXPECT(KIT_UNTIL(m->waiting));
    coir_fiber *dumper = coir_spawn(dump_once, m);
    coir_sleep(COIR_MS(5)); /* not yet so long that the worker is interrupted */
    coir_scope_cancel(&scope);
    m->stop = 1;
    EXPECT_EQ(coir_scope_wait(&scope), 0);
    coir_join(dumper, NULL);
}

static void who_has_ended_with_mail_unread_is_no_fiber_any_more(void **state)
{
    (void)state;
    for (int i = 0; i < test_scaled(20, 4); i++) {
        struct many m = { .n = 1 };
        assert_int_equal(fiber_test_run(2, dump_who_holds_a_worker, &m), 0);
        assert_int_equal(m.dumps, 1);
        assert_int_equal(m.failed, 0);
    }
    assert_no_findings();
}

static void without_a_runtime_there_are_no_fibers(void **state)
{
    (void)state;
    char *text = dump_text();
    assert_string_equal(
        text, "coir: 0 fibers: 0 running, 0 ready, 0 parked, 0 not started; 0 workers\n");
    free(text);
}

struct fds {
    struct kit_said closed, only_read, gone, after_cancel, after_deadline;
    int pipe[2];
};

static void try_fds(struct fds *f)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int ends[2];
    f->closed = KIT_SAID(coir_dump(-1));
    f->only_read = KIT_SAID(coir_dump(null));
    close(null);
    if (pipe(ends) < 0)
        return;
    close(ends[0]);
    f->gone = KIT_SAID(coir_dump(ends[1]));
    close(ends[1]);
}

static void *dump_cancelled(void *arg)
{
    struct fds *f = arg;
    coir_cancel(coir_self());
    f->after_cancel = KIT_SAID(coir_dump(f->pipe[1]));
    return NULL;
}

static void try_fds_as_fiber(void *arg)
{
    struct fds *f = arg;
    try_fds(f);
    coir_join(coir_spawn(dump_cancelled, f), NULL);
    coir_deadline_set(1);
    f->after_deadline = KIT_SAID(coir_dump(f->pipe[1]));
}

static void what_cannot_be_written_is_an_error(void **state)
{
    struct fds thread = { 0 }, fiber = { 0 };
    (void)state;
    try_fds(&thread);
    assert_int_equal(pipe(fiber.pipe), 0);
    assert_int_equal(fiber_test_run(1, try_fds_as_fiber, &fiber), 0);
    close(fiber.pipe[0]);
    close(fiber.pipe[1]);
    const struct fds *both[] = { &thread, &fiber };
    for (int i = 0; i < 2; i++) {
        kit_assert_said(both[i]->closed, -1, EBADF);
        kit_assert_said(both[i]->only_read, -1, EBADF);
        kit_assert_said(both[i]->gone, -1, EPIPE);
    }
    kit_assert_said(fiber.after_cancel, 0, 0);
    kit_assert_said(fiber.after_deadline, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_runtime_there_are_no_fibers),
        cmocka_unit_test(what_cannot_be_written_is_an_error),
        cmocka_unit_test(ten_thousand_fibers_are_shown_once_each),
        cmocka_unit_test(a_dump_touches_no_fibers_stack),
        cmocka_unit_test(fibers_may_come_and_go_meanwhile),
        cmocka_unit_test(runtimes_may_come_and_go_meanwhile),
        cmocka_unit_test(who_has_ended_with_mail_unread_is_no_fiber_any_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
