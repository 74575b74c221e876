/* tests/model/cases.c - all cases, in the order in which they are run.
 * SPDX-License-Identifier: MIT */
#include "cases.h"

#define CASES(X)                                                                                   \
    X(mutex_once)                                                                                  \
    X(mutex_twice)                                                                                 \
    X(mutex_three)                                                                                 \
    X(mutex_gone)                                                                                  \
    X(mutex_order)                                                                                 \
    X(mutex_deadline)                                                                              \
    X(mutex_mixed)                                                                                 \
    X(mutex_fibers)                                                                                \
    X(mutex_fiber_deadline)                                                                        \
    X(mutex_three_fibers)

#define DECLARE(name) extern const struct model_case case_##name;
CASES(DECLARE)

#define POINT(name) &case_##name,
const struct model_case *const cases[] = { CASES(POINT) 0 };
