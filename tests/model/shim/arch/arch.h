/* tests/model/shim/arch/arch.h - src/arch/arch.h for the sources under the model: the same, but
 * what leaves the thread, and what says who is running, is the model's.
 * SPDX-License-Identifier: MIT */
#ifndef MODEL_SHIM_ARCH_H
#define MODEL_SHIM_ARCH_H

#define coir__syscall       model_port_syscall
#define coir__arch_pause    model_port_pause
#define coir__arch_self     model_port_self
#define coir__arch_self_set model_port_self_set
#include_next "arch/arch.h"
#undef coir__syscall
#undef coir__arch_pause
#undef coir__arch_self
#undef coir__arch_self_set

long coir__syscall(long nr, long a, long b, long c, long d, long e, long f);
void coir__arch_pause(void);
void *coir__arch_self(void);
void coir__arch_self_set(void *self);

#endif
