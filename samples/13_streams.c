/* 13_streams.c - numbers, doubled, some of them kept.   Try: build/samples/13_streams
 * SPDX-License-Identifier: MIT
 *
 * A stream is pulled: the generator runs only as far as somebody asks for more. Freeing the last
 * stream of the chain frees all of it. */
#include <coir.h>

#include <stdio.h>

static int count(coir_stream *out, void *arg)
{
    for (int i = 1, last = *(int *)arg; i <= last; i++)
        if (coir_stream_emit(out, &i) < 0)
            return -1;
    return 0;
}

static int twice(void *out, void *in, void *arg)
{
    (void)arg;
    *(int *)out = 2 * *(int *)in;
    return 0;
}

static int three_or_five(const void *elem, void *arg)
{
    int i = *(const int *)elem;
    (void)arg;
    return i % 3 == 0 || i % 5 == 0;
}

static int run(int argc, char **argv)
{
    int last = 10, i, more;
    (void)argc, (void)argv;
    coir_stream *s = coir_stream_new(sizeof(int), count, &last);
    s = coir_stream_map(s, sizeof(int), twice, NULL);
    s = coir_stream_filter(s, three_or_five, NULL);
    if (!s) {
        perror("13_streams");
        return 2;
    }
    while ((more = coir_stream_next(s, &i)) > 0)
        printf("the value is %d\n", i);
    coir_stream_free(s);
    return more < 0;
}

int main(int argc, char **argv)
{
    int status = coir_main(argc, argv, run);
    return status < 0 ? 2 : status;
}
