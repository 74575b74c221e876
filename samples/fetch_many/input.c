/* fetch_many/input.c - a socket with a buffer.
 * SPDX-License-Identifier: MIT */
#include "fetch.h"

#include <string.h>

void input_start(struct input *in, int fd)
{
    in->fd = fd;
    in->seen = false;
    in->at = in->end = 0;
}

ssize_t input_more(struct input *in)
{
    if (in->at > 0) {
        memmove(in->buf, in->buf + in->at, in->end - in->at);
        in->end -= in->at;
        in->at = 0;
    }
    if (in->end == sizeof in->buf) {
        errno = ENOBUFS;
        return -1;
    }
    ssize_t n = coir_recv(in->fd, in->buf + in->end, sizeof in->buf - in->end, 0);
    if (n > 0) {
        in->end += (size_t)n;
        in->seen = true;
    }
    return n;
}
