/* tests/model/cases.h - all cases.
 * SPDX-License-Identifier: MIT */
#ifndef MODEL_CASES_H
#define MODEL_CASES_H

#include "model.h"

extern const struct model_case *const cases[]; /* NULL at its end */

#endif
