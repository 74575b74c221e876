/* 15_merge.c - letters and an endless counter, merged, throttled.   Try: build/samples/15_merge
 * SPDX-License-Identifier: MIT
 *
 * Twenty items are taken; then freeing the chain ends both generators, also the endless one. */
#include <coir.h>

#include <stdio.h>

struct text {
    char chars[24];
};

static int letters(coir_stream *out, void *arg)
{
    (void)arg;
    for (char c = 'a'; c <= 'j'; c++)
        if (coir_sleep(COIR_MS(c % 2 ? 100 : 300)) < 0 || coir_stream_emit(out, &c) < 0)
            return -1;
    return 0;
}

static int intervals(coir_stream *out, void *arg)
{
    (void)arg;
    for (int count = 1;; count++)
        if (coir_sleep(COIR_MS(1)) < 0 || coir_stream_emit(out, &count) < 0) {
            fprintf(stderr, "the counter ends\n");
            return -1;
        }
}

static int letter_text(void *out, void *in, void *arg)
{
    struct text *t = out;
    (void)arg;
    snprintf(t->chars, sizeof t->chars, "letter %c", *(char *)in);
    return 0;
}

static int interval_text(void *out, void *in, void *arg)
{
    struct text *t = out;
    (void)arg;
    snprintf(t->chars, sizeof t->chars, "interval %d", *(int *)in);
    return 0;
}

static int run(int argc, char **argv)
{
    struct text t;
    int more;
    (void)argc, (void)argv;
    coir_stream *a = coir_stream_new(sizeof(char), letters, NULL);
    coir_stream *b = coir_stream_new(sizeof(int), intervals, NULL);
    a = coir_stream_map(a, sizeof t, letter_text, NULL);
    b = coir_stream_throttle(coir_stream_map(b, sizeof t, interval_text, NULL), COIR_MS(100));
    coir_stream *s = coir_stream_take(coir_stream_merge(a, b), 20);
    if (!s) {
        perror("15_merge");
        return 2;
    }
    while ((more = coir_stream_next(s, &t)) > 0)
        puts(t.chars);
    coir_stream_free(s);
    puts("done");
    return more < 0;
}

int main(int argc, char **argv)
{
    int status = coir_main(argc, argv, run);
    return status < 0 ? 2 : status;
}
