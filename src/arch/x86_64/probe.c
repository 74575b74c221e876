/* arch/x86_64/probe.c - what the CPU can do. Part of every build for this CPU, boost/ too.
 * SPDX-License-Identifier: MIT */
#include "../arch.h"

#include <elf.h>

unsigned char coir__arch_fsgsbase;

/* The kernel says in AT_HWCAP2 whether user space may use the FSGSBASE instructions. The auxiliary
 * vector is read from /proc, since the freestanding build has no getauxval. */
void coir__arch_probe(void)
{
    enum { NR_READ = 0, NR_OPEN = 2, NR_CLOSE = 3, HWCAP2_FSGSBASE = 2 };
    Elf64_auxv_t aux[32];
    long fd = coir__sys(NR_OPEN, "/proc/self/auxv", 0x80000 /* O_RDONLY | O_CLOEXEC */);
    if (fd < 0)
        return;
    long bytes = coir__sys(NR_READ, fd, aux, sizeof aux);
    coir__sys(NR_CLOSE, fd);
    for (long i = 0; (i + 1) * (long)sizeof aux[0] <= bytes; i++)
        if (aux[i].a_type == AT_HWCAP2)
            coir__arch_fsgsbase = (aux[i].a_un.a_val & HWCAP2_FSGSBASE) != 0;
}
