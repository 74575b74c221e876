/* tests/io/scope_test.c - scopes over operations in flight: a failing child, or a cancel, ends the
 * opener's read and the children's, and what was written meanwhile is still there to be read.
 * SPDX-License-Identifier: MIT */
#include "../sync/scope_kit.h"

enum { READERS = 4 };

static int ends[READERS + 1][2];

static int read_or_fail(void *arg)
{
    int n = atomic_fetch_add((_Atomic int *)arg, 1);
    char c;
    return coir_read(ends[n][0], &c, 1) < 0 ? -1 : 0;
}

/* Every pipe gives the one byte that is written into it now, and nothing was taken before. */
static void check_pipes(void)
{
    for (int i = 0; i <= READERS; i++) {
        char c = 0;
        CHECK(write(ends[i][1], "x", 1) == 1);
        CHECK(coir_read(ends[i][0], &c, 1) == 1 && c == 'x');
    }
}

struct reading {
    bool fails;
    _Atomic int began;
    _Atomic bool parked_soon;
};

static void *open_and_read(void *arg)
{
    struct reading *r = arg;
    coir_scope scope;
    char c;
    coir_scope_open(&scope);
    for (int i = 0; i < READERS; i++)
        CHECK(coir_scope_spawn_with(&scope, &spread, read_or_fail, &r->began) == 0);
    CHECK(KIT_UNTIL(r->began == READERS));
    if (r->fails)
        CHECK(coir_scope_spawn_with(&scope, &spread, fail_with, ERR(ENOENT)) == 0);
    r->parked_soon = true;
    CHECK_SAYS(coir_read(ends[READERS][0], &c, 1), ECANCELED);
    CHECK_SAYS(coir_scope_wait(&scope), r->fails ? ENOENT : ECANCELED);
    CHECK(r->fails ? coir_check() == 0 : coir_check() < 0);
    return NULL;
}

static void reads(void *arg)
{
    int rounds = test_scaled(50, 4);
    (void)arg;
    for (int i = 0; i <= READERS; i++)
        CHECK(pipe(ends[i]) == 0);
    for (int i = 0; i < rounds; i++) {
        struct reading r = { .fails = i % 2 };
        coir_fiber *opener = coir_spawn(open_and_read, &r);
        if (!r.fails) {
            CHECK(KIT_UNTIL(r.parked_soon && (i % 4 || parked(opener, COIR__WHY_IO))));
            coir_cancel(opener);
        }
        coir_join(opener, NULL);
        check_pipes();
    }
    for (int i = 0; i <= READERS; i++) {
        coir_close(ends[i][0]);
        coir_close(ends[i][1]);
    }
}

static void failure_and_cancel_end_reads_and_lose_nothing(void **state)
{
    (void)state;
    run_checks(reads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failure_and_cancel_end_reads_and_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
