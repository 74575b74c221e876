/* tests/api/cpus_test.c - the number of workers by default: affinity and control groups' quotas.
 * SPDX-License-Identifier: MIT
 *
 * Method: a made-up /proc and /sys/fs/cgroup in a directory of our own. */
#include "support/fiber_test.h"

#include "api/cpus.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[64];

static void put(const char *path, const char *text)
{
    char full[PATH_MAX];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *f = fopen(full, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int begin(void **state)
{
    (void)state;
    strcpy(root, "/tmp/coir-cpus-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int end(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

#define UNIFIED "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

static void the_least_quota_from_the_group_upwards_counts(void **state)
{
    (void)state;
    put("/proc/self/mountinfo", "22 27 0:21 / /proc rw - proc proc rw\n" UNIFIED);
    put("/proc/self/cgroup", "0::/pod/app\n");
    assert_int_equal(coir__cpus_by_quota(root), 0);
    put("/sys/fs/cgroup/pod/app/cpu.max", "max 100000\n");
    assert_int_equal(coir__cpus_by_quota(root), 0);
    put("/sys/fs/cgroup/pod/cpu.max", "250000 100000\n");
    assert_int_equal(coir__cpus_by_quota(root), 3);
    put("/sys/fs/cgroup/pod/app/cpu.max", "20000 100000\n");
    assert_int_equal(coir__cpus_by_quota(root), 1);
    put("/sys/fs/cgroup/pod/app/cpu.max", "400000 100000\n");
    assert_int_equal(coir__cpus_by_quota(root), 3);
}

static void a_part_of_a_hierarchy_may_be_mounted(void **state)
{
    (void)state;
    put("/proc/self/mountinfo",
        "30 25 0:26 /pod /sys/fs/cgroup ro shared:4 - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "0::/pod/app\n");
    put("/sys/fs/cgroup/app/cpu.max", "150000 100000\n");
    assert_int_equal(coir__cpus_by_quota(root), 2);
}

static void the_old_hierarchy_of_the_cpu_controller_counts_too(void **state)
{
    (void)state;
    put("/proc/self/mountinfo",
        "40 25 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
        "41 25 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n");
    put("/proc/self/cgroup", "4:cpuset:/other\n3:cpu,cpuacct:/job\n0::/\n");
    assert_int_equal(coir__cpus_by_quota(root), 0);
    put("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
    assert_int_equal(coir__cpus_by_quota(root), 0);
    put("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "400000\n");
    assert_int_equal(coir__cpus_by_quota(root), 4);
}

static void nonsense_sets_no_limit(void **state)
{
    static const char *const quotas[] = {
        "", "0 100000", "-5 100000", "100000", "100000 0", "x y", "99999999999999999999 1"
    };
    (void)state;
    assert_int_equal(coir__cpus_by_quota(root), 0);
    put("/proc/self/mountinfo", "nonsense\n - \n" UNIFIED);
    put("/proc/self/cgroup", ":\n::\n0::/\n");
    for (size_t i = 0; i < sizeof quotas / sizeof *quotas; i++) {
        put("/sys/fs/cgroup/cpu.max", quotas[i]);
        assert_int_equal(coir__cpus_by_quota(root), 0);
    }
}

static void count_workers(void *arg)
{
    *(int *)arg = test_threads();
}

static int with_one_cpu(void *arg)
{
    int threads = 0;
    cpu_set_t one;
    (void)arg;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
    unsetenv("COIR_WORKERS");
    return coir_run(count_workers, &threads, NULL) == 0 && (TEST_TSAN || threads == 1) ? 0 : 1;
}

static void affinity_limits_the_workers(void **state)
{
    char text[200];
    (void)state;
    assert_int_equal(test_child(with_one_cpu, NULL, text, sizeof text), 0);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_least_quota_from_the_group_upwards_counts, begin, end),
        cmocka_unit_test_setup_teardown(a_part_of_a_hierarchy_may_be_mounted, begin, end),
        cmocka_unit_test_setup_teardown(the_old_hierarchy_of_the_cpu_controller_counts_too, begin,
                                        end),
        cmocka_unit_test_setup_teardown(nonsense_sets_no_limit, begin, end),
        cmocka_unit_test(affinity_limits_the_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
