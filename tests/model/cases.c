/* tests/model/cases.c - all cases, in the order in which they are run.
 * SPDX-License-Identifier: MIT */
#include "cases.h"

extern const struct model_case cases_mutex[], cases_lock[], cases_fiber[], cases_sync[],
    cases_chan[], cases_scope[], cases_steal[];

const struct model_case *const cases[] = {
    cases_mutex, cases_lock, cases_fiber, cases_sync, cases_chan, cases_scope, cases_steal, 0,
};
