/* tests/model/litmus.h - the test of the model itself.
 * SPDX-License-Identifier: MIT */
#ifndef MODEL_LITMUS_H
#define MODEL_LITMUS_H

#include "inside.h"

/* Known programs, and so many random ones. */
void litmus_run(unsigned random, unsigned *passed, unsigned *failed);

#endif
