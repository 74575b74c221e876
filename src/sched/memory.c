/* sched/memory.c - see memory.h.
 * SPDX-License-Identifier: MIT */
#include "memory.h"

char coir__memory_sync;
