/* tests/model/cases.h - all cases.
 * SPDX-License-Identifier: MIT */
#ifndef MODEL_CASES_H
#define MODEL_CASES_H

#include "model.h"

/* A list for each file, that ends with a case without a name; NULL after the last. */
extern const struct model_case *const cases[];

#endif
