/* checksum_files/walk.c - the files below a directory, in order.
 * SPDX-License-Identifier: MIT
 *
 * There is no readdir that parks: each directory is read by coir_blocking, all of it. A directory
 * sorts as if its name ended in a slash; so the paths come in the order of their bytes. */
#include "sums.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct list {
    const char *path;
    char **names; /* a directory's ends in a slash */
    size_t count;
};

static bool is_directory(int dir, const struct dirent *entry)
{
    struct stat st;
    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_DIR;
    return fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static bool is_regular(int dir, const struct dirent *entry)
{
    struct stat st;
    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_REG;
    return fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static int add(struct list *list, const char *name, bool directory)
{
    if ((list->count & (list->count - 1)) == 0) { /* full: the capacity is 1, 2, 4, 8, ... */
        size_t cap = list->count ? 2 * list->count : 1;
        char **names = realloc(list->names, cap * sizeof *names);
        if (!names)
            return -1;
        list->names = names;
    }
    if (asprintf(&list->names[list->count], directory ? "%s/" : "%s", name) < 0)
        return -1;
    list->count++;
    return 0;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* On a thread of its own. What is neither a directory nor a regular file is passed over. */
static void *read_directory(void *arg)
{
    struct list *list = arg;
    DIR *dir = opendir(list->path);
    struct dirent *entry;
    if (!dir)
        return COIR_FAILED;
    while (errno = 0, (entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        bool directory = is_directory(dirfd(dir), entry);
        if ((directory || is_regular(dirfd(dir), entry)) && add(list, entry->d_name, directory) < 0)
            break;
    }
    int err = errno;
    closedir(dir);
    if (list->count > 1)
        qsort(list->names, list->count, sizeof *list->names, by_bytes);
    return err ? coir_fail(err) : NULL;
}

int walk(const char *path, int (*found)(const char *path, int err, void *arg), void *arg)
{
    struct list list = { .path = path };
    size_t len = strlen(path);
    const char *slash = len > 0 && path[len - 1] == '/' ? "" : "/";
    int result = 0;
    if (coir_blocking(read_directory, &list, NULL) < 0) {
        int err = errno;
        result = coir_check() < 0 ? -1 : found(path, err, arg);
    }
    for (size_t i = 0; i < list.count; i++) {
        char *child = NULL, *name = list.names[i];
        size_t name_len = strlen(name);
        bool directory = name_len > 0 && name[name_len - 1] == '/';
        if (directory)
            name[name_len - 1] = 0;
        if (result == 0)
            result = asprintf(&child, "%s%s%s", path, slash, name) < 0 ? -1
                     : directory                                       ? walk(child, found, arg)
                                                                       : found(child, 0, arg);
        free(child);
        free(name);
    }
    free(list.names);
    return result;
}
