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
    X(mutex_three_fibers)                                                                          \
    X(bias_two)                                                                                    \
    X(bias_three)                                                                                  \
    X(bias_revoked)                                                                                \
    X(bias_gone)                                                                                   \
    X(record_two)                                                                                  \
    X(record_three)                                                                                \
    X(record_again)                                                                                \
    X(record_again_three) X(steal_pops) X(steal_pushes) X(steal_cancel) X(steal_whole)

#define DECLARE(name) extern const struct model_case case_##name;
CASES(DECLARE)

#define POINT(name) &case_##name,
const struct model_case *const cases[] = { CASES(POINT) 0 };
