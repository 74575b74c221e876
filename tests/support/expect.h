/* tests/support/expect.h - what fibers and plain threads find, for the test's own thread to assert.
 * SPDX-License-Identifier: MIT */
#ifndef EXPECT_H
#define EXPECT_H

#include "fiber_test.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

/* What fibers and plain threads find wrong. They only note it; the test's own thread asserts. */
struct findings {
    _Atomic int n;
    const char *file, *what;
    int line;
    long got, wanted;
};
static struct findings findings;

static inline void note(const char *file, int line, const char *what, long got, long wanted)
{
    if (atomic_fetch_add(&findings.n, 1) == 0) {
        findings.file = file;
        findings.line = line;
        findings.what = what;
        findings.got = got;
        findings.wanted = wanted;
    }
}

static inline int matches(const char *file, int line, const char *what, long got, long wanted)
{
    if (got != wanted)
        note(file, line, what, got, wanted);
    return got == wanted;
}

/* 1 when as expected. EXPECT_FAILS: call is -1 with that errno. */
#define EXPECT(cond)            matches(__FILE__, __LINE__, #cond, (cond) != 0, 1)
#define EXPECT_EQ(got, wanted)  matches(__FILE__, __LINE__, #got, (long)(got), (long)(wanted))
#define EXPECT_FAILS(call, err) EXPECT_EQ(minus_errno((long)(call)), -(long)(err))

/* The result of a POSIX-like call in one number: -1 becomes -errno. */
static inline long minus_errno(long res)
{
    return res == -1 ? -(long)errno : res;
}

/* A child's exit status; on stderr, what it has found. */
static inline int no_findings_status(void)
{
    int n = atomic_load(&findings.n);
    if (n)
        fprintf(stderr, "%s:%d: %s is %ld, not %ld (and %d more)\n", findings.file, findings.line,
                findings.what, findings.got, findings.wanted, n - 1);
    return n != 0;
}

static inline void assert_no_findings(void)
{
    int n = atomic_exchange(&findings.n, 0);
    if (n)
        fail_msg("%s:%d: %s is %ld, not %ld (and %d more)", findings.file, findings.line,
                 findings.what, findings.got, findings.wanted, n - 1);
}

#endif
