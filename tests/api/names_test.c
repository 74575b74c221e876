/* tests/api/names_test.c - coir_getaddrinfo and coir_getnameinfo, with a name service that does as
 * it is told.
 * SPDX-License-Identifier: MIT */
#include "../sched/kit.h"
#include "support/expect.h"
#include "support/fail_alloc.h"
#include "support/fake_names.h"

enum { ASKERS = 40, THREADS_MAX = 32 };

static const struct fake_name known[] = {
    { "one.test", 0, { "192.0.2.1", NULL } },
    { "two.test", 0, { "2001:db8::1", "192.0.2.2", NULL } },
    { "again.test", EAI_AGAIN, { NULL } },
    { "broken.test", EAI_SYSTEM, { NULL } },
    { NULL, 0, { NULL } },
};

static const struct addrinfo stream = { .ai_socktype = SOCK_STREAM };

static void begin(bool silent)
{
    fake_names = known;
    fake.asked = fake.most_at_once = 0;
    fake.silent = silent;
}

struct asker {
    const char *node, *service;
    const struct addrinfo *hints;
    int64_t limit_ns;
    struct addrinfo *list;
    int error, err;
    _Atomic bool done;
};

static void *ask(void *arg)
{
    struct asker *a = arg;
    COIR_TIMEOUT(a->limit_ns ? a->limit_ns : COIR_SEC(KIT_PATIENCE_S)) {
        a->error = coir_getaddrinfo(a->node, a->service, a->hints, &a->list);
        a->err = errno;
    }
    a->done = true;
    return NULL;
}

static bool is_parked(coir_fiber *handle)
{
    struct coir__fiber *f = coir__fiber_of(handle);
    return f && coir__fiber_state(f) == COIR__PARKED;
}

static void join(coir_fiber *f)
{
    EXPECT_EQ(coir_join(f, NULL), 0);
}

static int length(const struct addrinfo *list)
{
    int n = 0;
    for (; list; list = list->ai_next)
        n++;
    return n;
}

static void answers(void *arg)
{
    struct addrinfo *list = NULL, named = { .ai_flags = AI_CANONNAME };
    (void)arg;
    begin(false);
    EXPECT_EQ(coir_getaddrinfo("two.test", "80", &stream, &list), 0);
    EXPECT_EQ(length(list), 2);
    EXPECT_EQ(list->ai_family, AF_INET6);
    EXPECT_EQ(list->ai_socktype, SOCK_STREAM);
    EXPECT_EQ(ntohs(((struct sockaddr_in *)list->ai_next->ai_addr)->sin_port), 80);
    freeaddrinfo(list);
    EXPECT_EQ(coir_getaddrinfo("one.test", NULL, &named, &list), 0);
    EXPECT_EQ(strcmp(list->ai_canonname, "one.test"), 0);
    freeaddrinfo(list);
    EXPECT_EQ(coir_getaddrinfo("none.test", NULL, NULL, &list), EAI_NONAME);
    EXPECT_EQ(coir_getaddrinfo(NULL, NULL, NULL, &list), EAI_NONAME);
    EXPECT_EQ(coir_getaddrinfo("again.test", NULL, NULL, &list), EAI_AGAIN);
    EXPECT_EQ(coir_getaddrinfo("broken.test", NULL, NULL, &list), EAI_SYSTEM);
    EXPECT_EQ(errno, EIO);
    EXPECT_EQ(fake.entries, 0);
}

/* What nobody needs to be asked for does not wait behind those that are asked. */
static void numbers(void *arg)
{
    static const struct addrinfo numeric = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
    struct addrinfo *list;
    char host[8];
    struct sockaddr_in addr = { .sin_family = AF_INET };
    (void)arg;
    begin(false);
    pthread_t here = pthread_self();
    fake.asker = here;
    EXPECT_EQ(coir_getaddrinfo("192.0.2.7", "80", NULL, &list), EAI_NONAME);
    EXPECT(pthread_equal(fake.asker, here));
    EXPECT_EQ(coir_getaddrinfo("2001:db8::7", NULL, NULL, &list), EAI_NONAME);
    EXPECT(pthread_equal(fake.asker, here));
    EXPECT_EQ(coir_getaddrinfo("x", "y", &numeric, &list), EAI_NONAME);
    EXPECT(pthread_equal(fake.asker, here));
    EXPECT_EQ(coir_getnameinfo((struct sockaddr *)&addr, sizeof addr, host, sizeof host, NULL, 0,
                               NI_NUMERICHOST | NI_NUMERICSERV),
              0);
    EXPECT(pthread_equal(fake.asker, here));
    EXPECT_EQ(coir_getaddrinfo("192.0.2.7", "http", NULL, &list), EAI_NONAME);
    EXPECT(!pthread_equal(fake.asker, here));
}

/* Those that ask the same while it is being asked; each gets a list of his own. */
static void share(void *arg)
{
    static struct asker a[ASKERS];
    coir_fiber *f[ASKERS];
    struct addrinfo named = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_CANONNAME };
    (void)arg;
    begin(true);
    for (int i = 0; i < ASKERS; i++) {
        a[i] = (struct asker){ "two.test", "80", &named, 0, NULL, -1, 0, false };
        f[i] = coir_spawn(ask, &a[i]);
    }
    for (int i = 0; i < ASKERS; i++)
        EXPECT(KIT_UNTIL(is_parked(f[i])));
    EXPECT(KIT_UNTIL(fake.asked));
    fake.silent = false;
    for (int i = 0; i < ASKERS; i++)
        join(f[i]);
    EXPECT_EQ(fake.asked, 1);
    EXPECT_EQ(fake.entries, 2); /* the original; the fake counts what it has made */
    for (int i = 0; i < ASKERS; i++) {
        EXPECT_EQ(a[i].error, 0);
        EXPECT_EQ(length(a[i].list), 2);
        EXPECT_EQ(strcmp(a[i].list->ai_canonname, "two.test"), 0);
        EXPECT_EQ(ntohs(((struct sockaddr_in6 *)a[i].list->ai_addr)->sin6_port), 80);
        for (int k = 0; k < i; k++)
            EXPECT(a[i].list != a[k].list);
    }
    fake.entries += 2 * (ASKERS - 1);
    for (int i = 0; i < ASKERS; i++)
        freeaddrinfo(a[i].list);
    EXPECT_EQ(coir_getaddrinfo("two.test", "80", &named, &a[0].list), 0);
    EXPECT_EQ(fake.asked, 2); /* it is not remembered */
    freeaddrinfo(a[0].list);
}

static void differ(void *arg)
{
    static const struct addrinfo v4 = { .ai_family = AF_INET }, v6 = { .ai_family = AF_INET6 };
    struct asker a[] = {
        { "one.test", "80", &v4, 0, NULL, -1, 0, false },
        { "one.test", "80", &v6, 0, NULL, -1, 0, false },
        { "one.test", "81", &v4, 0, NULL, -1, 0, false },
        { "one.test", NULL, &v4, 0, NULL, -1, 0, false },
        { "one.test", "80", NULL, 0, NULL, -1, 0, false },
        { "two.test", "80", &v4, 0, NULL, -1, 0, false },
        { "one.test8", "0", &v4, 0, NULL, -1, 0, false },
    };
    enum { N = sizeof a / sizeof *a };
    coir_fiber *f[N];
    (void)arg;
    begin(true);
    for (int i = 0; i < N; i++)
        f[i] = coir_spawn(ask, &a[i]);
    EXPECT(KIT_UNTIL(fake.asked == N));
    fake.silent = false;
    for (int i = 0; i < N; i++) {
        join(f[i]);
        EXPECT_EQ(a[i].error, i == N - 1 ? EAI_NONAME : 0);
        if (!a[i].error)
            freeaddrinfo(a[i].list);
    }
}

/* Who stops waiting leaves a question behind, which others may still take up. */
static void abandon(void *arg)
{
    struct asker late = { "one.test", NULL, NULL, COIR_MS(3), NULL, -1, 0, false };
    struct asker stopped = { "one.test", NULL, NULL, 0, NULL, -1, 0, false };
    struct asker patient = stopped;
    (void)arg;
    begin(true);
    coir_fiber *f[] = { coir_spawn(ask, &late), coir_spawn(ask, &stopped) };
    EXPECT(KIT_UNTIL(is_parked(f[1])));
    coir_cancel(f[1]);
    join(f[0]);
    join(f[1]);
    EXPECT_EQ(late.error, EAI_SYSTEM);
    EXPECT_EQ(late.err, ETIMEDOUT);
    EXPECT_EQ(stopped.error, EAI_SYSTEM);
    EXPECT_EQ(stopped.err, ECANCELED);
    f[0] = coir_spawn(ask, &patient);
    EXPECT(KIT_UNTIL(is_parked(f[0])));
    fake.silent = false;
    join(f[0]);
    EXPECT_EQ(patient.error, 0);
    EXPECT_EQ(fake.asked, 1);
    freeaddrinfo(patient.list);
    COIR_TIMEOUT(-1)
        EXPECT_EQ(coir_getaddrinfo("one.test", NULL, NULL, &late.list), EAI_SYSTEM);
    EXPECT_EQ(errno, ETIMEDOUT);
    EXPECT_EQ(fake.asked, 1);
}

/* More than there are threads: what waits for one and is not wanted any more is never asked. */
static void too_many(void *arg)
{
    static struct asker a[ASKERS];
    static char names[ASKERS][16];
    coir_fiber *f[ASKERS];
    (void)arg;
    begin(true);
    for (int i = 0; i < ASKERS; i++) {
        sprintf(names[i], "n%d.test", i);
        a[i] = (struct asker){ names[i], NULL, NULL, 0, NULL, 0, 0, false };
        f[i] = coir_spawn(ask, &a[i]);
    }
    for (int i = 0; i < ASKERS; i++)
        EXPECT(KIT_UNTIL(is_parked(f[i])));
    EXPECT(KIT_UNTIL(fake.asked == THREADS_MAX));
    for (int i = 0; i < ASKERS; i++)
        coir_cancel(f[i]);
    for (int i = 0; i < ASKERS; i++) {
        join(f[i]);
        EXPECT_EQ(a[i].error, EAI_SYSTEM);
        EXPECT_EQ(a[i].err, ECANCELED);
    }
    fake.silent = false;
    EXPECT(KIT_UNTIL(fake.at_once == 0));
    EXPECT_EQ(fake.asked, THREADS_MAX);
    EXPECT_EQ(fake.most_at_once, THREADS_MAX);
}

static struct sockaddr_in address = { .sin_family = AF_INET };

static void names(void *arg)
{
    char host[NI_MAXHOST] = "", service[NI_MAXSERV] = "";
    const struct sockaddr *addr = (const struct sockaddr *)&address;
    (void)arg;
    begin(false);
    EXPECT_EQ(coir_getnameinfo(addr, sizeof address, host, sizeof host, service, sizeof service, 0),
              0);
    EXPECT_EQ(strcmp(host, "host-2"), 0);
    EXPECT_EQ(strcmp(service, "service"), 0);
    EXPECT_EQ(coir_getnameinfo(addr, sizeof address, host, 6, NULL, 0, 0), EAI_OVERFLOW);
    EXPECT_EQ(coir_getnameinfo(addr, sizeof address, host, 7, NULL, 0, 0), 0);
    EXPECT_EQ(coir_getnameinfo(addr, sizeof address, NULL, 0, service, 8, 0), 0);
    EXPECT_EQ(coir_getnameinfo(addr, sizeof address, host, 7, NULL, 0, NI_NAMEREQD), EAI_NONAME);
    EXPECT_EQ(coir_getnameinfo(addr, 100000, host, 7, NULL, 0, 0), 0);
    EXPECT_EQ(coir_getnameinfo(NULL, 0, host, 7, NULL, 0, 0), EAI_FAMILY);
    fake.silent = true;
    COIR_TIMEOUT(COIR_MS(2)) {
        EXPECT_EQ(coir_getnameinfo(addr, sizeof address, host, 7, NULL, 0, 0), EAI_SYSTEM);
        EXPECT_EQ(errno, ETIMEDOUT);
    }
    fake.silent = false;
}

static void on_each(void (*fn)(void *))
{
    for (const unsigned *w = test_workers; *w; w++) {
        assert_int_equal(fiber_test_run(*w, fn, NULL), 0);
        assert_no_findings();
        assert_true(kit_threads_become(1));
        assert_int_equal(fake.entries, 0);
    }
}

#define BODY_TEST(name, body)                                                                      \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        on_each(body);                                                                             \
    }

BODY_TEST(answers_are_those_of_the_c_library, answers)
BODY_TEST(numbers_are_read_at_once, numbers)
BODY_TEST(other_questions_are_asked_by_themselves, differ)
BODY_TEST(no_more_are_asked_at_once_than_there_may_be, too_many)
BODY_TEST(names_of_addresses_are_found, names)

/* What src/api/names.c says of lists: they cannot be copied but for glibc. */
static void on_each_that_shares(void (*fn)(void *))
{
    if (!TEST_GLIBC)
        skip();
    on_each(fn);
}

static void who_asks_the_same_shares_the_answer(void **state)
{
    (void)state;
    on_each_that_shares(share);
}

static void a_deadline_or_cancel_leaves_the_question_behind(void **state)
{
    (void)state;
    on_each_that_shares(abandon);
}

static void ask_and_leave(void *arg)
{
    struct asker *a = arg;
    ask(a);
}

/* Nobody waits for a silent name service; not at the end either. */
static void a_run_ends_without_its_answers(void **state)
{
    struct asker a = { "one.test", NULL, NULL, COIR_MS(1), NULL, 0, 0, false };
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        /* The thread that asks may not be there so soon; then the question is taken back. */
        do {
            begin(true);
            assert_int_equal(fiber_test_run(*w, ask_and_leave, &a), 0);
            a.limit_ns *= 2;
        } while (!fake.at_once);
        assert_int_equal(fiber_test_run(*w, ask_and_leave, &a), 0); /* beside what is left of it */
        assert_int_equal(a.error, EAI_SYSTEM);
        assert_int_equal(a.err, ETIMEDOUT);
        assert_int_equal(fake.at_once, TEST_GLIBC ? 1 : 2); /* the second joins the question */
        fake.silent = false;
        assert_true(kit_threads_become(1));
        assert_int_equal(fake.entries, 0);
    }
}

static void a_plain_thread_asks_too(void **state)
{
    struct addrinfo *list = NULL;
    int threads = test_threads();
    (void)state;
    begin(false);
    assert_int_equal(coir_getaddrinfo("one.test", NULL, NULL, &list), 0);
    freeaddrinfo(list);
    if (!TEST_SANITIZED) /* which have threads that come and go */
        assert_int_equal(test_threads(), threads);
    fake.silent = true;
    COIR_TIMEOUT(COIR_MS(2)) {
        assert_int_equal(coir_getaddrinfo("one.test", NULL, NULL, &list), EAI_SYSTEM);
        assert_int_equal(errno, ETIMEDOUT);
    }
    fake.silent = false;
    assert_true(kit_threads_become(threads));
    COIR_TIMEOUT(COIR_SEC(KIT_PATIENCE_S))
        assert_int_equal(coir_getaddrinfo("one.test", NULL, NULL, &list), 0);
    freeaddrinfo(list);
    assert_true(kit_threads_become(threads));
    assert_int_equal(fake.entries, 0);
}

static void run_short_of_memory(void *arg)
{
    struct addrinfo *list = NULL;
    char host[8];
    (void)arg;
    begin(false);
    fail_alloc = 1;
    EXPECT_EQ(coir_getaddrinfo("one.test", NULL, NULL, &list), EAI_MEMORY);
    for (int i = 1; i <= 2; i++) {
        fail_alloc = i;
        EXPECT_EQ(coir_getnameinfo((struct sockaddr *)&address, sizeof address, host, sizeof host,
                                   NULL, 0, 0),
                  EAI_MEMORY);
    }
    EXPECT_EQ(fail_alloc, 0);
}

static void without_memory_it_says_so(void **state)
{
    (void)state;
    if (!FAIL_ALLOC_WORKS)
        skip();
    assert_int_equal(fiber_test_run(1, run_short_of_memory, NULL), 0);
    assert_no_findings();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_those_of_the_c_library),
        cmocka_unit_test(numbers_are_read_at_once),
        cmocka_unit_test(who_asks_the_same_shares_the_answer),
        cmocka_unit_test(other_questions_are_asked_by_themselves),
        cmocka_unit_test(a_deadline_or_cancel_leaves_the_question_behind),
        cmocka_unit_test(no_more_are_asked_at_once_than_there_may_be),
        cmocka_unit_test(names_of_addresses_are_found),
        cmocka_unit_test(a_run_ends_without_its_answers),
        cmocka_unit_test(a_plain_thread_asks_too),
        cmocka_unit_test(without_memory_it_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
