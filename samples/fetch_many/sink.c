/* fetch_many/sink.c - where a body goes: into a checksum, and, with -o, into a file.
 * SPDX-License-Identifier: MIT
 *
 * http://1.2.3.4:80/a/b?c becomes 1.2.3.4/a/b?c below the directory, http://1.2.3.4/a/
 * becomes 1.2.3.4/a/index.html. Names never leave it: the text of the URL is used as it stands, %2e
 * is not decoded, the segments "." and ".." are written as %2E and %2E%2E, and no symbolic link is
 * followed on the way. */
#include "fetch.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Polynomial 0x04c11db7, most significant bit first, as POSIX defines it for cksum. */
static uint32_t crc_table[256];

__attribute__((constructor)) static void crc_table_fill(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i << 24;
        for (int bit = 0; bit < 8; bit++)
            c = c << 1 ^ (c & 0x80000000 ? 0x04c11db7 : 0);
        crc_table[i] = c;
    }
}

static uint32_t crc_step(uint32_t crc, unsigned char byte)
{
    return crc << 8 ^ crc_table[crc >> 24 ^ byte];
}

uint32_t sink_sum(const struct sink *sink)
{
    uint32_t crc = sink->crc;
    for (uint64_t len = (uint64_t)sink->bytes; len; len >>= 8)
        crc = crc_step(crc, (unsigned char)len);
    return ~crc;
}

/* Copy a path segment to out as a file name. Returns false when it does not fit. */
static bool name_make(char *out, size_t cap, const char *text, size_t len)
{
    size_t n = 0;
    bool dots = (len == 1 && text[0] == '.') || (len == 2 && memcmp(text, "..", 2) == 0);
    for (size_t i = 0; i < len; i++) {
        if (n + 4 > cap)
            return false;
        if (dots || text[i] == '/') {
            memcpy(out + n, dots ? "%2E" : "%2F", 3);
            n += 3;
        } else {
            out[n++] = text[i];
        }
    }
    out[n] = 0;
    return true;
}

/* Replace the directory *dir by its child name, which is made when it is missing. */
static int enter(int *dir, const char *name, int root)
{
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int child = coir_openat(*dir, name, flags);
    if (child < 0 && errno == ENOENT && (mkdirat(*dir, name, 0777) == 0 || errno == EEXIST))
        child = coir_openat(*dir, name, flags);
    int err = errno;
    if (*dir != root)
        coir_close(*dir);
    *dir = child;
    errno = err;
    return child < 0 ? -1 : 0;
}

/* Walk down to the last directory and leave its descriptor in sink->dir, and the file's name in
 * sink->name. */
static int descend(struct sink *sink, int root, const struct url *url)
{
    const char *at = url->target, *end = at + url->target_len;
    const char *query = memchr(at, '?', url->target_len);
    const char *path_end = query ? query : end, *slash;

    sink->dir = root;
    if (enter(&sink->dir, url->authority, root) < 0)
        return -1;
    for (; (slash = memchr(at, '/', (size_t)(path_end - at))); at = slash + 1) {
        if (slash == at)
            continue;
        if (!name_make(sink->name, sizeof sink->name, at, (size_t)(slash - at))) {
            errno = ENAMETOOLONG;
            return -1;
        }
        if (enter(&sink->dir, sink->name, root) < 0)
            return -1;
    }
    char last[URL_MAX + 16];
    int len = snprintf(last, sizeof last, "%.*s%.*s", at == path_end ? 10 : (int)(path_end - at),
                       at == path_end ? "index.html" : at, (int)(end - path_end), path_end);
    if (!name_make(sink->name, sizeof sink->name, last, (size_t)len)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return 0;
}

int sink_open(struct sink *sink, int root, const struct url *url, size_t index, struct fault *fault)
{
    sink->crc = 0;
    sink->bytes = 0;
    sink->dir = sink->file = -1;
    if (root < 0)
        return 0;
    if (descend(sink, root, url) == 0) {
        snprintf(sink->part, sizeof sink->part, ".part-%zu", index);
        sink->file = coir_openat(sink->dir, sink->part,
                                 O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    }
    if (sink->file >= 0)
        return 0;
    fault_errno(fault, PHASE_STORE, errno);
    if (sink->dir >= 0)
        coir_close(sink->dir);
    sink->dir = -1;
    return -1;
}

int sink_put(struct sink *sink, const char *data, size_t len, struct fault *fault)
{
    uint32_t crc = sink->crc;
    for (size_t i = 0; i < len; i++)
        crc = crc_step(crc, (unsigned char)data[i]);
    sink->crc = crc;
    sink->bytes += (int64_t)len;
    atomic_fetch_add_explicit(sink->live, (int64_t)len, memory_order_relaxed);
    if (sink->file >= 0 && len > 0 && coir_write_all(sink->file, data, len) < 0)
        return fault_errno(fault, PHASE_STORE, errno);
    return 0;
}

int sink_close(struct sink *sink, bool complete, struct fault *fault)
{
    int err = 0;
    if (sink->file < 0)
        return 0;
    if (coir_close(sink->file) < 0 && complete)
        err = errno;
    if (complete && !err && renameat(sink->dir, sink->part, sink->dir, sink->name) < 0)
        err = errno;
    if (!complete || err)
        unlinkat(sink->dir, sink->part, 0);
    coir_close(sink->dir);
    sink->dir = sink->file = -1;
    return err ? fault_errno(fault, PHASE_STORE, err) : 0;
}
