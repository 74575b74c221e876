/* api/cpus.h - how many CPUs this process may use.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_API_CPUS_H
#define COIR_API_CPUS_H

#include "arch/arch.h"

/* The CPUs of the process's affinity mask, or fewer when its control group has a quota: then as
 * many as it takes to use that up. At least 1. */
COIR_HIDDEN unsigned coir__cpus(void);

/* The quota alone, rounded up; 0: none. root is put before the paths of /proc and of the control
 * group's mount: "" but in tests. */
COIR_HIDDEN unsigned coir__cpus_by_quota(const char *root);

#endif
