/* supervisor/output.c - the lines of a child, with its name before them.
 * SPDX-License-Identifier: MIT
 *
 * A child that writes faster than we can waits for its pipe, as it would without us. */
#include "super.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 4096 /* longer ones are cut into pieces */
#define OUT_BYTES  16384

static struct {
    coir_mutex lock; /* lines of two children do not get into one another */
    bool broken;     /* children go on without anyone who listens */
} out;

/* Lines that are ready, on the stack of the child's fiber. */
struct batch {
    const struct output *from;
    size_t len;
    char text[OUT_BYTES];
};

static void batch_write(struct batch *batch)
{
    coir_mutex_lock(&out.lock);
    if (!out.broken && batch->len > 0 &&
        coir_write_all(STDOUT_FILENO, batch->text, batch->len) < 0 && errno != ECANCELED) {
        out.broken = true;
        say("cannot write what the children say: %s", strerror(errno));
    }
    coir_mutex_unlock(&out.lock);
    batch->len = 0;
}

static void batch_add(struct batch *batch, const char *line, size_t len)
{
    if (sizeof batch->text - batch->len < NAME_BYTES + 3 + len + 1)
        batch_write(batch);
    char *end = batch->text + batch->len;
    end += sprintf(end, "%-*s | ", super.name_width, batch->from->name);
    memcpy(end, line, len);
    end[len] = '\n';
    batch->len = (size_t)(end - batch->text) + len + 1;
}

void *output_copy(void *arg)
{
    struct batch batch = { .from = arg };
    char in[LINE_BYTES], *end;
    size_t len = 0;
    ssize_t n;
    while ((n = coir_read(batch.from->fd, in + len, sizeof in - len)) > 0) {
        char *line = in;
        for (len += (size_t)n; (end = memchr(line, '\n', len)); line = end + 1) {
            batch_add(&batch, line, (size_t)(end - line));
            len -= (size_t)(end - line) + 1;
        }
        if (len == sizeof in) {
            batch_add(&batch, line, len);
            len = 0;
        }
        memmove(in, line, len);
        batch_write(&batch);
    }
    if (len > 0)
        batch_add(&batch, in, len);
    batch_write(&batch);
    return NULL;
}

void say(const char *format, ...)
{
    char text[512];
    va_list args;
    size_t len = (size_t)snprintf(text, sizeof text, "%s: ", program_invocation_short_name);
    va_start(args, format);
    len += (size_t)vsnprintf(text + len, sizeof text - len, format, args);
    va_end(args);
    if (len > sizeof text - 1)
        len = sizeof text - 1;
    text[len++] = '\n';
    COIR_SHIELD(COIR_SEC(1))
        coir_write_all(STDERR_FILENO, text, len);
}
