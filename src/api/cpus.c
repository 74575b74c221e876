/* api/cpus.c - see cpus.h.
 * SPDX-License-Identifier: MIT
 *
 * /proc/self/mountinfo tells where the hierarchy with the cpu controller is mounted, and which part
 * of it; /proc/self/cgroup, where in it this process is. The quota of every group from there up to
 * the mount counts. What is missing or unreadable sets no limit. */
#include "cpus.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES = 2 * PATH_MAX };

/* Where one of the two kinds of hierarchies is. */
struct hierarchy {
    bool unified;         /* cgroup2; else the cpu controller's own */
    char part[PATH_MAX];  /* of the hierarchy: what is mounted there */
    char mount[PATH_MAX]; /* as a path */
    char group[PATH_MAX]; /* this process's, from the top of the hierarchy */
};

static FILE *open_under(const char *root, const char *path)
{
    char full[PATH_MAX];
    int n = snprintf(full, sizeof full, "%s%s", root, path);
    return n < (int)sizeof full ? fopen(full, "re") : NULL;
}

/* Is word one of those in a list with commas? */
static bool listed(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += n)
        if ((at == list || at[-1] == ',') && (!at[n] || at[n] == ',' || at[n] == '\n'))
            return true;
    return false;
}

static bool find_mount(const char *root, struct hierarchy *h)
{
    char line[LINE_BYTES], type[32], options[512];
    FILE *f = open_under(root, "/proc/self/mountinfo");
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        const char *rest = strstr(line, " - ");
        found = rest && sscanf(line, "%*s %*s %*s %4095s %4095s", h->part, h->mount) == 2 &&
                sscanf(rest, " - %31s %*s %511s", type, options) == 2 &&
                (h->unified ? strcmp(type, "cgroup2") == 0
                            : strcmp(type, "cgroup") == 0 && listed(options, "cpu"));
    }
    if (f)
        fclose(f);
    return found;
}

static bool find_group(const char *root, struct hierarchy *h)
{
    char line[LINE_BYTES];
    FILE *f = open_under(root, "/proc/self/cgroup");
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = 0;
        group[strcspn(group, "\n")] = 0;
        found = h->unified ? !controllers[1] : listed(controllers + 1, "cpu");
        if (found)
            snprintf(h->group, sizeof h->group, "%.*s", PATH_MAX - 1, group);
    }
    if (f)
        fclose(f);
    return found;
}

/* A file with one or two numbers, or "max". */
static bool numbers(const char *root, const char *folder, const char *file, long long *one,
                    long long *two)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", folder, file) >= (int)sizeof path)
        return false;
    FILE *f = open_under(root, path);
    int n = f ? fscanf(f, "%lld %lld", one, two) : 0;
    if (f)
        fclose(f);
    return n == (two ? 2 : 1);
}

static unsigned quota_in(const char *root, const struct hierarchy *h, const char *folder)
{
    long long quota, period;
    bool limited = h->unified ? numbers(root, folder, "cpu.max", &quota, &period)
                              : numbers(root, folder, "cpu.cfs_quota_us", &quota, NULL) &&
                                    numbers(root, folder, "cpu.cfs_period_us", &period, NULL);
    if (!limited || quota <= 0 || period <= 0)
        return 0;
    long long cpus = (quota - 1) / period + 1;
    return cpus < UINT_MAX ? (unsigned)cpus : 0;
}

/* The least of the groups from this process's up to the mount. */
static unsigned least_quota(const char *root, struct hierarchy *h)
{
    size_t part = strcmp(h->part, "/") == 0 ? 0 : strlen(h->part);
    const char *below = strncmp(h->group, h->part, part) == 0 ? h->group + part : "";
    char folder[2 * PATH_MAX];
    snprintf(folder, sizeof folder, "%s%s", h->mount, below);
    unsigned least = 0;
    for (;;) {
        unsigned cpus = quota_in(root, h, folder);
        if (cpus && (!least || cpus < least))
            least = cpus;
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < strlen(h->mount))
            return least;
        *slash = 0;
    }
}

unsigned coir__cpus_by_quota(const char *root)
{
    unsigned least = 0;
    for (int unified = 0; unified < 2; unified++) {
        struct hierarchy h = { .unified = unified };
        unsigned cpus = find_mount(root, &h) && find_group(root, &h) ? least_quota(root, &h) : 0;
        if (cpus && (!least || cpus < least))
            least = cpus;
    }
    return least;
}

static unsigned by_affinity(void)
{
    for (int max = CPU_SETSIZE; max <= CPU_SETSIZE * 64; max *= 2) {
        cpu_set_t *set = CPU_ALLOC(max);
        size_t bytes = CPU_ALLOC_SIZE(max);
        if (!set)
            return 1;
        int n = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (n > 0)
            return (unsigned)n;
    }
    return 1;
}

unsigned coir__cpus(void)
{
    unsigned cpus = by_affinity(), quota = coir__cpus_by_quota("");
    return quota && quota < cpus ? quota : cpus;
}
