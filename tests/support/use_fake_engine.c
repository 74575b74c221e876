/* tests/support/use_fake_engine.c - linked into a test, it makes the fake engine the process's engine: io/uring.c, which
 * defines the same name in the library, is then not needed.
 * SPDX-License-Identifier: MIT */
#include "fake_engine.h"
#include "io/io.h"

const struct coir__engine *coir__engine_choose(void)
{
    return &fake_engine;
}
