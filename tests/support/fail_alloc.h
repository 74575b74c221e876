/* tests/support/fail_alloc.h - malloc and its kin fail when they are told to. To be included by one
 * file of a test. Not where a sanitizer or valgrind has its own, nor in a static program, as they
 * are for other CPUs, with a cmocka of their own.
 * SPDX-License-Identifier: MIT */
#ifndef FAIL_ALLOC_H
#define FAIL_ALLOC_H

#include "fiber_test.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#ifdef COIR_TESTS_CMOCKA_H
#define FAIL_ALLOC_WORKS 0
#else
#define FAIL_ALLOC_WORKS (!TEST_SANITIZED && !TEST_VALGRIND)
#endif

/* Of this thread: the so-manieth allocation from now on fails; 0: none. */
static _Thread_local int fail_alloc;

#if FAIL_ALLOC_WORKS
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t n, size_t bytes);
extern void *__libc_realloc(void *old, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);

static bool fails(void)
{
    if (fail_alloc == 0 || --fail_alloc > 0)
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t bytes)
{
    return fails() ? NULL : __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    return fails() ? NULL : __libc_calloc(n, bytes);
}

void *realloc(void *old, size_t bytes)
{
    return fails() ? NULL : __libc_realloc(old, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    return fails() ? NULL : __libc_memalign(alignment, bytes);
}
#endif

#endif
