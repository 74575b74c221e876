/* tests/support/fake_engine.h - an engine without I/O: its wait is a futex. For tests of sched
 * alone.
 * SPDX-License-Identifier: MIT */
#ifndef FAKE_ENGINE_H
#define FAKE_ENGINE_H

#include "sched/engine.h"

extern const struct coir__engine fake_engine;

/* What init of worker `index` shall return from now on; -1: every worker. */
void fake_engine_fail_init(int index, int err);

#endif
