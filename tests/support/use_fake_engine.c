/* tests/support/use_fake_engine.c - makes the fake engine the process's engine in the tests that
 * are linked with it: io/engine.c, which defines the same name in the library, is not needed then.
 * SPDX-License-Identifier: MIT */
#include "fake_engine.h"
#include "io/io.h"

const struct coir__engine *coir__engine_choose(enum coir__engine_wish wish)
{
    (void)wish;
    return &fake_engine;
}

int coir__engine_refused(void)
{
    return 0;
}
