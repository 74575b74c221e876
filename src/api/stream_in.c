/* api/stream_in.c - streams that come from elsewhere: from a channel, or, as lines, from a file.
 * SPDX-License-Identifier: MIT */
#include "stream.h"

#include <coir/io.h>

#include <stdlib.h>
#include <string.h>

struct from_chan {
    coir_stream s;
    struct coir__chan *chan; /* the program's */
};

static int chan_pull(coir_stream *s, void *elem, coir_stream **lender)
{
    (void)lender;
    int err = coir__stream_receive(((struct from_chan *)s)->chan, elem);
    if (err == 0)
        return 1;
    return err == -EPIPE ? coir__stream_over(s, 0) : err;
}

/* It has left the channel, which would have dropped it. */
static void chan_discard(coir_stream *s, void *elem)
{
    struct coir__chan *chan = ((struct from_chan *)s)->chan;
    if (chan->drop)
        chan->drop(elem);
}

static const struct coir__stream_kind chan_kind = { sizeof(struct from_chan), .pull = chan_pull,
                                                    .discard = chan_discard };

coir_stream *coir_stream_from_chan(coir_chan *chan)
{
    struct coir__chan *c = (struct coir__chan *)chan;
    struct from_chan *f = c ? coir__stream_make(&chan_kind, 0, c->elem_bytes, NULL) : NULL;
    if (!f)
        return NULL;
    f->chan = c;
    return &f->s;
}

enum { LINE_BYTES_DEFAULT = 65536, BUF_BYTES_MIN = 4096 };

/* buf[start, end) has been read and not given out, and up to scanned there is no newline in it. */
struct lines {
    coir_stream s;
    int fd;
    size_t bytes_max;
    char *buf;
    size_t cap, start, scanned, end;
    bool at_end;   /* of the file */
    bool skipping; /* the rest of a line that was too long */
    bool leases;   /* the text */
};

/* Of what has not been given out. */
static char *find_newline(struct lines *l)
{
    char *newline = memchr(l->buf + l->scanned, '\n', l->end - l->scanned);
    l->scanned = newline ? (size_t)(newline - l->buf) : l->end;
    return newline;
}

/* Room for one byte at least, and for a 0 behind it. */
static bool make_room(struct lines *l)
{
    if (l->start == l->end) {
        l->start = l->scanned = l->end = 0;
    } else if (l->start && l->end + 1 >= l->cap) {
        memmove(l->buf, l->buf + l->start, l->end - l->start);
        l->scanned -= l->start;
        l->end -= l->start;
        l->start = 0;
    }
    if (l->end + 1 < l->cap)
        return true;
    size_t most = l->bytes_max + 2, cap = l->cap > most / 2 ? most : 2 * l->cap;
    char *buf = realloc(l->buf, cap);
    if (!buf)
        return false;
    l->buf = buf;
    l->cap = cap;
    return true;
}

/* 0, or -errno. */
static int read_more(struct lines *l)
{
    if (!make_room(l))
        return -ENOMEM;
    ssize_t n = coir_read(l->fd, l->buf + l->end, l->cap - 1 - l->end);
    if (n < 0) {
        int err = -errno;
        return coir__stream_is_own(err) ? err : coir__stream_over(&l->s, -err);
    }
    l->end += (size_t)n;
    l->at_end = n == 0;
    return 0;
}

/* The text up to `at`, and go on from `next`. */
static int give(struct lines *l, coir_line *line, coir_stream **lender, size_t at, size_t next)
{
    size_t len = at - l->start;
    char *text = l->buf + l->start;
    if (l->leases && lender) {
        char *copy = malloc(len + 1);
        if (!copy)
            return -ENOMEM;
        text = memcpy(copy, text, len);
        *lender = &l->s;
    }
    text[len] = 0;
    *line = (coir_line){ text, len };
    l->start = l->scanned = next;
    return 1;
}

static int lines_pull(coir_stream *s, void *elem, coir_stream **lender)
{
    struct lines *l = (struct lines *)s;
    for (;;) {
        char *newline = find_newline(l);
        size_t at = newline ? (size_t)(newline - l->buf) : l->end;
        bool too_long = at - l->start > l->bytes_max;
        if (!too_long && !l->skipping && (newline || (l->at_end && at > l->start)))
            return give(l, elem, lender, at, at + (newline != NULL));
        if (newline || too_long || l->skipping)
            l->start = l->scanned = at + (newline != NULL);
        bool was_skipping = l->skipping;
        l->skipping = (was_skipping || too_long) && !newline;
        if (too_long && !was_skipping)
            return -EMSGSIZE;
        if (newline)
            continue;
        if (l->at_end)
            return coir__stream_over(s, 0);
        int err = read_more(l);
        if (err < 0)
            return err;
    }
}

static void lines_lend(coir_stream *s)
{
    ((struct lines *)s)->leases = true;
}

static void lines_give_back(coir_stream *s, void *elem)
{
    (void)s;
    free(((coir_line *)elem)->text);
}

static void lines_end(coir_stream *s)
{
    free(((struct lines *)s)->buf);
}

static const struct coir__stream_kind lines_kind = {
    sizeof(struct lines), .pull = lines_pull,           .end = lines_end,
    .lend = lines_lend,   .give_back = lines_give_back,
};

coir_stream *coir_stream_lines(int fd, size_t line_bytes_max)
{
    struct lines *l = coir__stream_make(&lines_kind, 0, sizeof(coir_line), NULL);
    if (!l)
        return NULL;
    l->fd = fd;
    l->bytes_max = line_bytes_max ? line_bytes_max : LINE_BYTES_DEFAULT;
    if (l->bytes_max > PTRDIFF_MAX / 2)
        l->bytes_max = PTRDIFF_MAX / 2;
    l->cap = l->bytes_max < BUF_BYTES_MIN ? l->bytes_max + 2 : BUF_BYTES_MIN;
    l->buf = malloc(l->cap);
    if (!l->buf) {
        coir_stream_free(&l->s);
        return coir__stream_refuse(NULL, NULL, ENOMEM);
    }
    return &l->s;
}
