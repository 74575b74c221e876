/* tests/support/namespaces.h - a machine of one's own: mounts, or a network, that nobody else sees.
 * SPDX-License-Identifier: MIT
 *
 * For the rest of the process's life: only in children. */
#ifndef NAMESPACES_H
#define NAMESPACES_H

#include "expect.h"

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

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

/* A network of one's own begins without it. */
static inline void loopback_up(void)
{
    struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
    close(fd);
}

#endif
