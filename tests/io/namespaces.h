/* tests/io/namespaces.h - a machine of one's own: mounts, or a network, that nobody else sees.
 * SPDX-License-Identifier: MIT
 *
 * For the rest of the process's life: only in children. */
#ifndef TESTS_IO_NAMESPACES_H
#define TESTS_IO_NAMESPACES_H

#include "kit.h"

#include <sched.h>

/* What a child that could not get them ends with. */
enum { NO_NAMESPACES = 77 };

static inline void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        EXPECT_EQ(write(fd, text, strlen(text)), strlen(text));
        close(fd);
    }
}

/* As root, or as one's own root. */
static inline bool own_namespaces(int which)
{
    char map[64];
    uid_t uid = getuid();
    gid_t gid = getgid();
    if (unshare(which) == 0)
        return true;
    if (unshare(CLONE_NEWUSER | which) < 0)
        return false;
    put("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %u 1", (unsigned)uid);
    put("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "0 %u 1", (unsigned)gid);
    put("/proc/self/gid_map", map);
    return true;
}

#endif
